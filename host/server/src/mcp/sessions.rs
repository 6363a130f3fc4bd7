//! Sessions of clients whose protocol version has them: bounded in number, and ended after a long
//! silence.
//!
//! rmcp keeps them; this knows whose each is, and counts them: to another tenant there is none. Above the limit one is ended: of the caller that has the most,
//! the one that was used longest ago. Its client gets 404 and starts again, as the protocol says. A
//! session with a running call counts as used. If every session has one, a new session is refused;
//! rmcp would report that as its own failure.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::future::Future;
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
use cofferdam_domain::caller::{Caller, Tenant};

/// The minimum of how long a session may be silent: agents wait for people.
const IDLE_MIN: Duration = Duration::from_secs(60 * 60);
/// How much longer than the longest run a silent session lives.
const IDLE_SLACK: Duration = Duration::from_secs(60);

/// The sessions of this host.
pub(super) struct Sessions {
    max: usize,
    kept: LocalSessionManager,
    used: Arc<Mutex<HashMap<SessionId, Use>>>,
    changes: Changes,
}

/// The use of a session.
#[derive(Clone, Debug)]
struct Use {
    /// Whose it is.
    tenant: Tenant,
    /// Who made it.
    caller: u64,
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
    #[error(transparent)]
    Full(#[from] SessionsFull),
}

/// There are as many sessions as there may be, and a call runs in each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {max} sessions of agents (mcp.sessions_max), and a call runs in each of them")]
pub struct SessionsFull {
    max: usize,
}

tokio::task_local! {
    /// The request under way.
    static ASKING: Asking;
}

/// Who asks, and why they were refused a session.
struct Asking {
    tenant: Tenant,
    caller: u64,
    refused: Cell<Option<SessionsFull>>,
}

/// The answer of `work`, which a caller asked for, unless a session was refused to it: whoever answers
/// knows only that there is none.
pub(super) async fn telling_of_refusal<T>(
    caller: &Caller,
    work: impl Future<Output = T>,
) -> Result<T, SessionsFull> {
    let work = async {
        let answer = work.await;
        match ASKING.with(|asking| asking.refused.take()) {
            None => Ok(answer),
            Some(full) => Err(full),
        }
    };
    let refused = Cell::new(None);
    let asking = Asking {
        tenant: caller.tenant().clone(),
        caller: caller.number(),
        refused,
    };
    ASKING.scope(asking, work).await
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
    /// No sessions yet, and at most `max`. `longest` is the longest time that a call may take; whoever
    /// listens is told of `changes`.
    pub(super) fn new(max: usize, longest: Duration, changes: Changes) -> Sessions {
        let mut config = SessionConfig::default();
        config.keep_alive = Some(IDLE_MIN.max(longest.saturating_add(IDLE_SLACK)));
        // A broken stream is not resumed: its call has ended.
        config.sse_retry = None;
        config.completed_cache_ttl = Duration::ZERO;
        let mut kept = LocalSessionManager::default();
        kept.session_config = config;
        Sessions {
            max,
            kept,
            used: Arc::default(),
            changes,
        }
    }

    /// Whether a session is of the tenant that asks. Outside of a request nobody asks, and it is.
    fn is_own(&self, id: &SessionId) -> bool {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of = |asking: &Asking| {
            let session = used.get(id);
            session.is_none_or(|session| session.tenant == asking.tenant)
        };
        ASKING.try_with(is_of).unwrap_or(true)
    }

    /// Whose a session is.
    fn tenant(&self, id: &SessionId) -> Tenant {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let session = used.get(id);
        session.map_or(Tenant::DEFAULT, |session| session.tenant.clone())
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

    /// Records a caller's new session and returns the one that must end for it. A session with a
    /// running call does not end.
    fn admit(
        &self,
        id: &SessionId,
        (tenant, caller): (Tenant, u64),
    ) -> Result<Option<SessionId>, SessionsFull> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = match used.len() >= self.max {
            false => None,
            true => {
                let mut counts: HashMap<u64, usize> = HashMap::from([(caller, 1)]);
                for session in used.values() {
                    *counts.entry(session.caller).or_default() += 1;
                }
                let count = |session: &Use| counts.get(&session.caller).copied().unwrap_or(0);
                let idle = used.iter().filter(|(_, session)| session.calls == 0);
                let oldest =
                    idle.min_by_key(|(_, session)| (Reverse(count(session)), session.last));
                Some(oldest.ok_or(SessionsFull { max: self.max })?.0.clone())
            }
        };
        if let Some(oldest) = &oldest {
            used.remove(oldest);
        }
        let session = Use {
            tenant,
            caller,
            last: Instant::now(),
            calls: 0,
            streams: 0,
        };
        used.insert(id.clone(), session);
        Ok(oldest)
    }
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let (id, transport) = self.kept.create_session().await?;
        // Outside of a request nobody asks.
        let asking = ASKING.try_with(|asking| (asking.tenant.clone(), asking.caller));
        match self.admit(&id, asking.unwrap_or_default()) {
            Ok(None) => {}
            Ok(Some(oldest)) => self.kept.close_session(&oldest).await?,
            Err(full) => {
                let _nobody_asks = ASKING.try_with(|asking| asking.refused.set(Some(full)));
                self.kept.close_session(&id).await?;
                return Err(full.into());
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
        Ok(self.is_own(id) && self.kept.has_session(id).await?)
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        if !self.is_own(id) {
            return Ok(());
        }
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
        let changes = self.changes.after_now(&self.tenant(id));
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
    use cofferdam::registry::NameChanges;
    use cofferdam_domain::caller::{Origin, Scopes};

    use super::*;

    fn sessions(max: usize) -> Sessions {
        let (_, changes) = tokio::sync::watch::channel(NameChanges::default());
        Sessions::new(max, Duration::ZERO, Changes::new(changes))
    }

    fn ours(caller: u64) -> (Tenant, u64) {
        (Tenant::DEFAULT, caller)
    }

    #[tokio::test]
    async fn a_session_is_its_tenants() {
        let sessions = sessions(9);
        let (id, _transport) = sessions.create_session().await.unwrap();
        let them = Tenant::parse("them").unwrap();
        let caller = |tenant: Tenant| Caller::new(tenant, Scopes::default(), Origin::Here);
        let asked_by = async |tenant: Tenant| {
            let has = sessions.has_session(&id);
            telling_of_refusal(&caller(tenant), has).await.unwrap()
        };
        assert!(asked_by(Tenant::DEFAULT).await.unwrap());
        assert!(!asked_by(them.clone()).await.unwrap());
        let closed = telling_of_refusal(&caller(them), sessions.close_session(&id)).await;
        closed.unwrap().unwrap();
        assert!(asked_by(Tenant::DEFAULT).await.unwrap());
        let own = caller(Tenant::DEFAULT);
        let closed = telling_of_refusal(&own, sessions.close_session(&id)).await;
        closed.unwrap().unwrap();
        assert!(!asked_by(Tenant::DEFAULT).await.unwrap());
    }

    #[test]
    fn changes_are_told_on_a_sessions_newest_stream() {
        let sessions = sessions(1);
        let id = SessionId::from("1");
        let unknown = sessions.listen(&id);
        sessions.admit(&id, ours(1)).unwrap();
        let first = sessions.listen(&id);
        assert!(first() && !unknown());
        let second = sessions.listen(&id);
        assert!(second() && !first());
    }

    #[test]
    fn the_session_used_longest_ago_gives_way() {
        const SESSIONS_MAX: usize = 100;
        let sessions = sessions(SESSIONS_MAX);
        let id = |n: usize| SessionId::from(n.to_string());
        let admit = |n: usize| sessions.admit(&id(n), ours(1)).unwrap();
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
        assert_eq!(
            sessions.admit(&id(1), ours(1)),
            Err(SessionsFull { max: SESSIONS_MAX })
        );
        drop(calls);
        assert_eq!(sessions.used.lock().unwrap().len(), SESSIONS_MAX);
    }

    #[test]
    fn the_sessions_of_a_crowd_give_way_before_anothers() {
        let sessions = sessions(4);
        let admit = |name: &str, caller| {
            let id = SessionId::from(name.to_owned());
            sessions.admit(&id, ours(caller))
        };
        assert_eq!(admit("other", 2), Ok(None));
        for name in ["a", "b", "c"] {
            assert_eq!(admit(name, 1), Ok(None));
        }
        assert_eq!(admit("d", 1), Ok(Some("a".to_owned().into())));
        // Two each, and then it is the one that was used longest ago.
        assert_eq!(admit("other too", 2), Ok(Some("b".to_owned().into())));
        assert_eq!(
            admit("other's third", 2),
            Ok(Some("other".to_owned().into()))
        );
    }
}
