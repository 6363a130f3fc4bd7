//! Sessions of clients that speak a version of the protocol which has them: bounded in number, and
//! ended when nothing was heard in them for long.
//!
//! rmcp keeps them; this counts them. Beyond the limit the one that was used longest ago gives
//! way: its client gets 404 and begins anew, as the protocol says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, SessionConfig,
};
use rmcp::transport::streamable_http_server::{SessionId, SessionManager};

/// Sessions at once.
const SESSIONS_MAX: usize = 1024;
/// How long a session may be silent, at least: agents wait for people.
const IDLE_MIN: Duration = Duration::from_secs(60 * 60);
/// How much longer than the longest run a session lives, which is silent meanwhile.
const IDLE_SLACK: Duration = Duration::from_secs(60);

/// The sessions of this host.
pub(super) struct Sessions {
    kept: LocalSessionManager,
    used: Mutex<HashMap<SessionId, Instant>>,
}

impl Sessions {
    /// No sessions. `longest` is the longest time that a call may take.
    pub(super) fn new(longest: Duration) -> Sessions {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE_MIN.max(longest.saturating_add(IDLE_SLACK)));
        // A stream that broke is not resumed: its call has ended.
        config.sse_retry = None;
        config.completed_cache_ttl = Duration::ZERO;
        let mut kept = LocalSessionManager::default();
        kept.session_config = config;
        Sessions {
            kept,
            used: Mutex::default(),
        }
    }

    /// Notes that a session was used, if it exists.
    fn touch(&self, id: &SessionId) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = used.get_mut(id) {
            *last = Instant::now();
        }
    }

    /// Notes a new session and names the one that must give way to it.
    fn admit(&self, id: &SessionId) -> Option<SessionId> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = match used.len() >= SESSIONS_MAX {
            true => used.iter().min_by_key(|(_, last)| **last),
            false => None,
        };
        let oldest = oldest.map(|(id, _)| id.clone());
        if let Some(oldest) = &oldest {
            used.remove(oldest);
        }
        used.insert(id.clone(), Instant::now());
        oldest
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.kept.create_session().await?;
        if let Some(oldest) = self.admit(&id) {
            self.kept.close_session(&oldest).await?;
        }
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.kept.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.kept.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        self.kept.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        self.kept.create_stream(id, message).await
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.touch(id);
        self.kept.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        self.kept.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        self.kept.resume(id, last_event_id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_used_longest_ago_gives_way() {
        let sessions = Sessions::new(Duration::ZERO);
        let id = |n: usize| SessionId::from(n.to_string());
        for n in 0..SESSIONS_MAX {
            assert_eq!(sessions.admit(&id(n)), None);
        }
        sessions.touch(&id(0));
        assert_eq!(sessions.admit(&id(SESSIONS_MAX)), Some(id(1)));
        sessions.touch(&id(1));
        assert_eq!(sessions.admit(&id(SESSIONS_MAX + 1)), Some(id(2)));
        assert_eq!(sessions.used.lock().unwrap().len(), SESSIONS_MAX);
    }
}
