//! Sessions of clients whose protocol version has them: bounded in number, and ended after a long
//! silence.
//!
//! rmcp keeps them; this counts them. Above the limit the one that was used longest ago is ended:
//! its client gets 404 and starts again, as the protocol says. A session with a running call counts
//! as used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::ServerSseMessage;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, SessionConfig,
};
use rmcp::transport::streamable_http_server::{SessionId, SessionManager};

use crate::mcp::changes::Changes;

/// Sessions at once.
const SESSIONS_MAX: usize = 1024;
/// The minimum of how long a session may be silent: agents wait for people.
const IDLE_MIN: Duration = Duration::from_secs(60 * 60);
/// How much longer than the longest run a silent session lives.
const IDLE_SLACK: Duration = Duration::from_secs(60);

/// The sessions of this host.
pub(super) struct Sessions {
    kept: LocalSessionManager,
    used: Arc<Mutex<HashMap<SessionId, Use>>>,
    changes: Changes,
}

/// The use of a session.
#[derive(Clone, Copy, Debug)]
struct Use {
    last: Instant,
    /// Calls in progress.
    calls: usize,
    /// The streams on which it listened so far.
    streams: u64,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionsError {
    /// The protocol's.
    #[error(transparent)]
    Kept(#[from] LocalSessionManagerError),
    /// Every session is busy.
    #[error("there are {SESSIONS_MAX} sessions, and a call runs in each of them")]
    Full,
}

/// A call in progress; its session does not count as unused.
struct Call {
    used: Arc<Mutex<HashMap<SessionId, Use>>>,
    session: SessionId,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = used.get_mut(&self.session) {
            session.calls = session.calls.saturating_sub(1);
            session.last = Instant::now();
        }
    }
}

impl Sessions {
    /// No sessions. `longest` is the longest time that a call may take; whoever listens is told of
    /// `changes`.
    pub(super) fn new(longest: Duration, changes: Changes) -> Sessions {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE_MIN.max(longest.saturating_add(IDLE_SLACK)));
        // A broken stream is not resumed: its call has ended.
        config.sse_retry = None;
        config.completed_cache_ttl = Duration::ZERO;
        let mut kept = LocalSessionManager::default();
        kept.session_config = config;
        Sessions {
            kept,
            used: Arc::default(),
            changes,
        }
    }

    /// Records that a session was used, if it exists.
    fn touch(&self, id: &SessionId) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = used.get_mut(id) {
            session.last = Instant::now();
        }
    }

    /// Records a call, which lasts until the answer is dropped.
    fn call(&self, id: &SessionId) -> Call {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = used.get_mut(id) {
            session.last = Instant::now();
            session.calls += 1;
        }
        Call {
            used: Arc::clone(&self.used),
            session: id.clone(),
        }
    }

    /// Notes a stream on which a session listens, and gives what says whether it is still its newest:
    /// a message is sent on one stream only.
    fn listen(&self, id: &SessionId) -> impl Fn() -> bool + Send + Sync + 'static {
        let (used, id) = (Arc::clone(&self.used), id.clone());
        let streams = move |add: u64| {
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            used.get_mut(&id).map(|session| {
                session.streams += add;
                session.streams
            })
        };
        let own = streams(1);
        move || own.is_some() && streams(0) == own
    }

    /// Notes a new session and names the one that must give way to it. One in which a call runs
    /// does not.
    fn admit(&self, id: &SessionId) -> Result<Option<SessionId>, SessionsError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = match used.len() >= SESSIONS_MAX {
            false => None,
            true => {
                let idle = used.iter().filter(|(_, session)| session.calls == 0);
                let oldest = idle.min_by_key(|(_, session)| session.last);
                Some(oldest.ok_or(SessionsError::Full)?.0.clone())
            }
        };
        if let Some(oldest) = &oldest {
            used.remove(oldest);
        }
        let new = Use {
            last: Instant::now(),
            calls: 0,
            streams: 0,
        };
        used.insert(id.clone(), new);
        Ok(oldest)
    }
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.kept.create_session().await?;
        match self.admit(&id) {
            Ok(None) => {}
            Ok(Some(oldest)) => self.kept.close_session(&oldest).await?,
            Err(full) => {
                self.kept.close_session(&id).await?;
                return Err(full);
            }
        }
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        Ok(self.kept.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        Ok(self.kept.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        Ok(self.kept.close_session(id).await?)
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let call = self.call(id);
        let stream = self.kept.create_stream(id, message).await?;
        Ok(stream.map(move |message| {
            let _runs = &call;
            message
        }))
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.touch(id);
        Ok(self.kept.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        let changes = self.changes.after_now();
        let stream = self.kept.create_standalone_stream(id).await?;
        Ok(changes.told_on(stream, self.listen(id)))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.touch(id);
        Ok(self.kept.resume(id, last_event_id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        let (_, changes) = tokio::sync::watch::channel(0);
        Sessions::new(Duration::ZERO, Changes::new(changes))
    }

    #[test]
    fn changes_are_told_on_a_sessions_newest_stream() {
        let sessions = sessions();
        let id = SessionId::from("1");
        let unknown = sessions.listen(&id);
        sessions.admit(&id).unwrap();
        let first = sessions.listen(&id);
        assert!(first() && !unknown());
        let second = sessions.listen(&id);
        assert!(second() && !first());
    }

    #[test]
    fn the_session_used_longest_ago_gives_way() {
        let sessions = sessions();
        let id = |n: usize| SessionId::from(n.to_string());
        let admit = |n: usize| sessions.admit(&id(n)).unwrap();
        for n in 0..SESSIONS_MAX {
            assert_eq!(admit(n), None);
        }
        sessions.touch(&id(0));
        assert_eq!(admit(SESSIONS_MAX), Some(id(1)));
        sessions.touch(&id(1));
        let call = sessions.call(&id(2));
        assert_eq!(admit(SESSIONS_MAX + 1), Some(id(3)));
        drop(call);
        assert_eq!(admit(SESSIONS_MAX + 2), Some(id(4)));
        let calls: Vec<Call> = (0..SESSIONS_MAX + 3)
            .map(|n| sessions.call(&id(n)))
            .collect();
        assert!(matches!(sessions.admit(&id(1)), Err(SessionsError::Full)));
        drop(calls);
        assert_eq!(sessions.used.lock().unwrap().len(), SESSIONS_MAX);
    }
}
