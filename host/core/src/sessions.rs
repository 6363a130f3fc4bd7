//! Sessions: interpreters that callers keep between calls, for as long as each is used.
//!
//! A session exists in this process only and ends with it; only snapshots of its files are durable.
//! Each is one task on the guest threads that owns the interpreter and takes calls one after the
//! other, so there is no lock around a guest and nothing else polls it.

mod id;
mod keeper;
pub mod settings;
mod shed;

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::interpreters::request::{Request, SessionSetup};
use crate::runner::session::{CodeTurn, SessionRequest};
use crate::runner::{Executed, RunError, Runner, Watcher};
use crate::sessions::keeper::{Call, Command, Keeper, Start};
use crate::sessions::settings::SessionsConfig;
use crate::shutdown::Shutdown;
use cofferdam_domain::attempt::{Failure, WorkerId};
use cofferdam_domain::caller::quota::{OverQuota, QuotaName};
use cofferdam_domain::caller::{Caller, Forbidden, Scope, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::{LimitRequest, Limits};
use cofferdam_domain::module::Language;
use cofferdam_domain::time::Timestamp;
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_sandbox::{NoRoom, OutputFiles, Party, Patience};

pub use crate::sessions::id::SessionId;

/// Calls that may wait for a session's earlier ones.
const WAITING_MAX: usize = 16;

/// All sessions of this host.
pub struct Sessions {
    runner: Arc<Runner>,
    threads: GuestThreadsHandle,
    config: SessionsConfig,
    worker: WorkerId,
    max: usize,
    /// The sum of the memory limits of all sessions: half of what guests may have.
    memory_max_bytes: u64,
    clock: Clock,
    shutdown: Shutdown,
    kept: Arc<Mutex<HashMap<SessionId, Entry>>>,
}

/// The request for a new session.
pub struct NewSession {
    /// Its language.
    pub language: Language,
    /// Files and packages.
    pub setup: SessionSetup,
    /// Its limits; the times apply to each call.
    pub limits: LimitRequest,
    /// Its grants.
    pub grants: Grants,
    /// The isolation it asks for.
    pub isolation: Option<Isolation>,
    /// How long it is kept while nobody calls it.
    pub idle_timeout: Option<Duration>,
}

/// The facts about a session.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// Its name.
    pub id: SessionId,
    /// Its language.
    pub language: Language,
    /// Its limits; the times apply to each call.
    pub limits: Limits,
    /// How long it is kept while nobody calls it.
    pub idle_timeout: Duration,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends if nobody calls it.
    pub expires_at: Timestamp,
    /// Calls that have ended.
    pub calls: u64,
    /// Its activity.
    pub state: SessionState,
}

/// The activity of a session.
#[derive(Clone, Debug)]
pub enum SessionState {
    /// It waits for a call.
    Idle,
    /// It runs code.
    Running,
    /// Its interpreter was ended, for this reason; its files can still be read.
    Ended(Failure),
}

struct Entry {
    /// Whose it is: for others it is as if there were none.
    tenant: Tenant,
    commands: mpsc::Sender<Command>,
    kill: CancellationToken,
    members: Arc<[u8]>,
    info: Arc<Mutex<SessionInfo>>,
}

/// Why a session could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The caller has no right to sessions.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The operator allows none.
    #[error("this host keeps no sessions: sessions.max is 0")]
    Disabled,
    /// The most sessions allowed exist.
    #[error("{0}; delete a session or wait until one has expired")]
    Full(String),
    /// The tenant has as many as it may.
    #[error(transparent)]
    OverQuota(#[from] OverQuota),
    /// The time-out that was asked for.
    #[error("idle_timeout_ms is {asked_ms}; it must be from 1000 to {max_ms}")]
    IdleTimeout {
        /// What was asked for.
        asked_ms: u64,
        /// The longest allowed.
        max_ms: u64,
    },
    /// No session has that name, or it has ended.
    #[error("there is no session {0}, or it has ended")]
    Unknown(String),
    /// Its interpreter was ended.
    #[error("the session's interpreter was ended: {}; its files can still be fetched", .0.message)]
    Ended(Failure),
    /// Too many calls already wait.
    #[error("{WAITING_MAX} calls already wait for this session")]
    Busy,
    /// A call has run in it for longer than others wait.
    #[error("a call is running in this session; its files can be read between two calls")]
    Running,
    /// Its interpreter could not be made.
    #[error("{}", .0.message)]
    NotBegun(Failure),
    /// The request asks for more than is allowed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl Sessions {
    /// An empty set of at most `max` sessions of the process `worker`.
    pub fn new(
        worker: WorkerId,
        runner: Arc<Runner>,
        threads: GuestThreadsHandle,
        config: SessionsConfig,
        max: usize,
        clock: Clock,
        shutdown: Shutdown,
    ) -> Sessions {
        Sessions {
            memory_max_bytes: runner.memory_most_bytes() / 2,
            runner,
            threads,
            config,
            worker,
            max,
            clock,
            shutdown,
            kept: Arc::default(),
        }
    }

    /// Makes a session.
    pub async fn create(
        &self,
        caller: &Caller,
        new: NewSession,
    ) -> Result<SessionInfo, SessionError> {
        caller.may(Scope::Run)?;
        if self.max == 0 {
            return Err(SessionError::Disabled);
        }
        let idle_timeout = self.idle_timeout(new.idle_timeout)?;
        let limits = self.runner.check(caller, &new.limits, &new.grants)?;
        let kill = CancellationToken::new();
        let members: Arc<[u8]> = new.setup.members(&new.grants).into();
        let request = SessionRequest {
            language: new.language,
            setup: new.setup,
            limits,
            grants: new.grants,
            isolation: new.isolation,
            kill: kill.clone(),
        };
        let terms = Terms {
            language: new.language,
            limits,
            idle_timeout,
        };
        let (place, inbox) = self.reserve(caller, terms, members, &kill)?;
        let kept = match self.runner.open_session(caller, request).await {
            Err(RunError::NoRoom(no_room)) => return Err(SessionError::Full(no_room.to_string())),
            opened => opened?,
        };
        let kept = kept.map_err(SessionError::NotBegun)?;
        let made = place.info();
        let keeper = Keeper {
            place,
            inbox,
            kill,
            clock: self.clock.clone(),
            stop: self.shutdown.clone(),
            lifetime: self.config.lifetime,
        };
        let runtime = self.threads.runtime();
        self.shutdown
            .spawn_on(runtime, "session", keeper.keep(kept));
        Ok(made)
    }

    /// Runs code in a session and returns its result. The code goes on if the future is dropped;
    /// only [`Sessions::delete`] and limits end it.
    pub async fn execute(
        &self,
        caller: &Caller,
        id: SessionId,
        request: &Request<'_>,
        limits: &LimitRequest,
        watch: Option<Watcher>,
    ) -> Result<Executed, SessionError> {
        caller.may(Scope::Run)?;
        if self.shutdown.is_requested() {
            return Err(RunError::Draining.into());
        }
        let came = Instant::now();
        let (commands, kill, members, own, language) = self.entry(caller, id, |entry| {
            let (commands, kill) = (entry.commands.clone(), entry.kill.clone());
            let info = lock(&entry.info);
            let members = Arc::clone(&entry.members);
            (commands, kill, members, info.limits, info.language)
        })?;
        let (timeout, cpu) = self.runner.turn_limits(caller, &own, limits)?;
        let begin_by = self.runner.begins_by(came, timeout);
        let turn = CodeTurn {
            prepared: request
                .prepare_turn(language, &members)
                .map_err(RunError::from)?,
            timeout,
            end_by: came.checked_add(timeout),
            cpu,
            watch,
            kill,
        };
        let (reply, mut answer) = oneshot::channel();
        let start = Arc::new(Start::default());
        let call = Call {
            turn,
            patience: Patience {
                begin_by: Some(begin_by),
                end_by: None,
                party: Party {
                    caller: caller.number(),
                    module: 0,
                },
            },
            start: Arc::clone(&start),
            reply,
        };
        send(&commands, Command::Execute(Box::new(call)), id)?;
        let answered = tokio::select! {
            biased;
            answered = &mut answer => answered,
            () = tokio::time::sleep_until(begin_by.into()) => match start.decide() {
                true => return Err(RunError::NoRoom(NoRoom::Waited(came.elapsed())).into()),
                false => answer.await,
            },
        };
        answered
            .map_err(|_gone| unknown(id))?
            .map(|executed| *executed)
    }

    /// Calls `look` with a session's files, between two calls. It may block.
    pub async fn with_files<T: Send + 'static>(
        &self,
        caller: &Caller,
        id: SessionId,
        look: impl FnOnce(Option<&OutputFiles>) -> T + Send + 'static,
    ) -> Result<T, SessionError> {
        let commands = self.entry(caller, id, |entry| entry.commands.clone())?;
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |files: Option<&OutputFiles>| {
            // The caller may have gone away.
            let _unheard = reply.send(look(files));
        });
        send(&commands, Command::Look(look), id)?;
        // This waits for a running call, but not for ever.
        let by = self.runner.begins_by(Instant::now(), Duration::MAX);
        let answered = tokio::time::timeout_at(by.into(), answer).await;
        let answered = answered.map_err(|_elapsed| SessionError::Running)?;
        answered.map_err(|_gone| unknown(id))
    }

    /// The facts about a session.
    pub fn get(&self, caller: &Caller, id: SessionId) -> Result<SessionInfo, SessionError> {
        self.entry(caller, id, |entry| lock(&entry.info).clone())
    }

    /// How many there are, of all tenants.
    pub fn count(&self) -> u64 {
        lock(&self.kept).len() as u64
    }

    /// All sessions of the caller's tenant, the oldest first.
    pub fn list(&self, caller: &Caller) -> Vec<SessionInfo> {
        let kept = lock(&self.kept);
        let mut all: Vec<_> = kept
            .values()
            .filter(|entry| entry.tenant == *caller.tenant())
            .map(|entry| lock(&entry.info).clone())
            .collect();
        all.sort_by_key(|info| (info.created_at, info.id.own()));
        all
    }

    /// Ends a session and the code that runs in it.
    pub fn delete(&self, caller: &Caller, id: SessionId) -> Result<(), SessionError> {
        caller.may(Scope::Run)?;
        let mut kept = lock(&self.kept);
        match kept.entry(id) {
            MapEntry::Occupied(found) if found.get().tenant == *caller.tenant() => {
                found.remove().kill.cancel();
                Ok(())
            }
            MapEntry::Occupied(_) | MapEntry::Vacant(_) => Err(unknown(id)),
        }
    }

    /// Ends those that `keeps` does not keep, by their tenant and when they were made.
    pub fn keep_those(&self, keeps: impl Fn(&Tenant, Timestamp) -> bool) {
        lock(&self.kept).retain(|_, entry| {
            let stays = keeps(&entry.tenant, lock(&entry.info).created_at);
            if !stays {
                entry.kill.cancel();
            }
            stays
        });
    }

    fn idle_timeout(&self, asked: Option<Duration>) -> Result<Duration, SessionError> {
        let max = self.config.idle_timeout_max;
        match asked {
            None => Ok(self.config.idle_timeout.min(max)),
            Some(asked) if asked >= Duration::from_secs(1) && asked <= max => Ok(asked),
            Some(asked) => Err(SessionError::IdleTimeout {
                asked_ms: millis(asked),
                max_ms: millis(max),
            }),
        }
    }

    /// Takes a place among the sessions.
    fn reserve(
        &self,
        caller: &Caller,
        terms: Terms,
        members: Arc<[u8]>,
        kill: &CancellationToken,
    ) -> Result<(Place, mpsc::Receiver<Command>), SessionError> {
        let Terms {
            language,
            limits,
            idle_timeout,
        } = terms;
        let mut kept = lock(&self.kept);
        if let Some(most) = caller.rules().and_then(|rules| rules.sessions_max) {
            let own = kept.values().filter(|one| one.tenant == *caller.tenant());
            let (own, most) = (own.count() as u64, u64::from(most));
            if own >= most {
                return Err(OverQuota::of(QuotaName::Sessions, most, own).into());
            }
        }
        if kept.len() >= self.max {
            let max = self.max;
            return Err(SessionError::Full(format!("there are {max} sessions")));
        }
        let memory = |entry: &Entry| lock(&entry.info).limits.memory_bytes;
        let used: u64 = kept.values().map(memory).sum();
        if used.saturating_add(limits.memory_bytes) > self.memory_max_bytes {
            return Err(SessionError::Full(format!(
                "the memory limits of all sessions may add up to {} bytes; {used} are in use",
                self.memory_max_bytes
            )));
        }
        let now = self.clock.now();
        let id = SessionId::new(now.uuid(&rand::random()), self.worker);
        let info = Arc::new(Mutex::new(SessionInfo {
            id,
            language,
            limits,
            idle_timeout,
            created_at: now,
            expires_at: now.plus(idle_timeout),
            calls: 0,
            state: SessionState::Idle,
        }));
        let (commands, inbox) = mpsc::channel(WAITING_MAX);
        let entry = Entry {
            tenant: caller.tenant().clone(),
            commands,
            kill: kill.clone(),
            members,
            info: Arc::clone(&info),
        };
        kept.insert(id, entry);
        let place = Place {
            kept: Arc::clone(&self.kept),
            id,
            info,
        };
        Ok((place, inbox))
    }

    /// Applies `of` to a session of the caller's tenant.
    fn entry<T>(
        &self,
        caller: &Caller,
        id: SessionId,
        of: impl FnOnce(&Entry) -> T,
    ) -> Result<T, SessionError> {
        let kept = lock(&self.kept);
        let found = kept.get(&id);
        let own = found.filter(|entry| entry.tenant == *caller.tenant());
        own.map(of).ok_or_else(|| unknown(id))
    }
}

/// What was decided about a session before there is one.
struct Terms {
    language: Language,
    limits: Limits,
    idle_timeout: Duration,
}

/// A place among the sessions, free again when this is dropped.
struct Place {
    kept: Arc<Mutex<HashMap<SessionId, Entry>>>,
    id: SessionId,
    info: Arc<Mutex<SessionInfo>>,
}

impl Place {
    fn info(&self) -> SessionInfo {
        lock(&self.info).clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.kept).remove(&self.id);
    }
}

fn send(
    entry: &mpsc::Sender<Command>,
    command: Command,
    id: SessionId,
) -> Result<(), SessionError> {
    entry.try_send(command).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => SessionError::Busy,
        mpsc::error::TrySendError::Closed(_) => unknown(id),
    })
}

fn unknown(id: SessionId) -> SessionError {
    SessionError::Unknown(id.to_string())
}

/// Nothing panics while it holds one of these locks; even after a panic the guarded data is
/// consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
