//! Code in a session: an interpreter that is kept, and called as often as its caller likes.
//!
//! The layer above decides how many may be kept, and for how long.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::interpreters::answer::Verdict;
use crate::interpreters::request::{Prepared, SessionSetup};
use crate::interpreters::{self, Interpreter, Interpreters};
use crate::runner::cpu::CpuBook;
use crate::runner::party;
use crate::runner::work::{Work, written};
use crate::runner::{Executed, RunError, Runner, Watcher};
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Failure, Stream};
use cofferdam_domain::caller::{Caller, Tenant};
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::{LimitRequest, Limits};
use cofferdam_domain::module::Language;
use cofferdam_sandbox::control::{Control, Observer};
use cofferdam_sandbox::session::{After, Session, Turn};
use cofferdam_sandbox::{OutputFiles, Patience};

/// A request for an interpreter to keep.
pub struct SessionRequest {
    /// Its language.
    pub language: Language,
    /// Files and packages.
    pub setup: SessionSetup,
    /// Its limits.
    pub limits: Limits,
    /// The grants it asks for.
    pub grants: Grants,
    /// The isolation it asks for.
    pub isolation: Option<Isolation>,
    /// Ends it while it waits for room.
    pub kill: CancellationToken,
}

/// The interpreter. Dropping it ends it and removes its files.
pub struct Kept {
    session: Box<Session>,
    interpreters: Arc<Interpreters>,
    ear: Arc<Ear>,
    language: Language,
    metrics: Arc<Metrics>,
    /// Whose it is, and where what they use is counted.
    tenant: Tenant,
    cpu: CpuBook,
}

/// Code for a session.
pub struct CodeTurn {
    /// The request.
    pub prepared: Prepared,
    /// Its wall-clock limit.
    pub timeout: Duration,
    /// When its time is over, however late it started.
    pub end_by: Option<Instant>,
    /// Its CPU limit.
    pub cpu: Duration,
    /// Gets its output while it runs.
    pub watch: Option<Watcher>,
    /// Ends it, and the session with it.
    pub kill: CancellationToken,
}

/// The state after a call.
pub enum Left {
    /// The interpreter, ready for the next call.
    Live(Kept),
    /// The interpreter was ended; its files are still there.
    Ended(Option<OutputFiles>),
}

/// A sandbox has one observer for its life, but each call has its own listener.
#[derive(Default)]
struct Ear(Mutex<Option<Watcher>>);

impl Ear {
    fn listen(&self, watch: Option<Watcher>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }
}

impl Observer for Ear {
    fn progress(&self, _fraction: f64, _note: &str) {}

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        let watch = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = &*watch {
            watch(stream, bytes);
        }
    }
}

impl Runner {
    /// Makes an interpreter that is kept. It waits for room as long as any run does. The inner
    /// error is the sandbox's refusal of its files.
    pub async fn open_session(
        &self,
        caller: &Caller,
        request: SessionRequest,
    ) -> Result<Result<Kept, Failure>, RunError> {
        let _entered = self.enter(caller)?;
        let Interpreter { info, module } = self.interpreters.get(request.language)?;
        let ear = Arc::new(Ear::default());
        let control = Control {
            kill: request.kill,
            observer: Some(Arc::clone(&ear) as Arc<dyn Observer>),
            ..Control::default()
        };
        let isolation = self.isolation_of_code(request.isolation, info.kind, &request.limits);
        let opening = request.setup.opening();
        let mut work = Work::new(module, opening, request.limits, isolation, control);
        work.dirs
            .extend(self.admission.mounts(caller.rules(), &request.grants)?);
        let outward = self
            .admission
            .way_out(caller.rules(), caller.tenant(), &request.grants);
        work.reach(outward.await?);
        work.patience = Patience {
            begin_by: Instant::now().checked_add(self.sandbox.queue_timeout()),
            end_by: None,
            party: party(caller.number(), info.digest),
        };
        let (module, run) = work.into_run();
        let session = self.sandbox.open_session(module, run).await?;
        Ok(session.map(|session| Kept {
            session,
            interpreters: Arc::clone(&self.interpreters),
            ear,
            language: request.language,
            metrics: Arc::clone(&self.metrics),
            tenant: caller.tenant().clone(),
            cpu: self.admission.cpu().clone(),
        }))
    }

    /// When a call that arrives at this moment and may take `timeout` stops waiting.
    pub fn begins_by(&self, came: Instant, timeout: Duration) -> Instant {
        came + timeout.min(self.sandbox.queue_timeout())
    }

    /// The limits of one call of a session whose own limits are `session`.
    pub fn turn_limits(
        &self,
        caller: &Caller,
        session: &Limits,
        asked: &LimitRequest,
    ) -> Result<(Duration, Duration), RunError> {
        self.admission.cpu().check(caller)?;
        let checked = self.admission.check(caller, asked, &Grants::none())?;
        let timeout = asked.timeout.map_or(session.timeout, |_| checked.timeout);
        Ok((timeout, asked.cpu.map_or(session.cpu, |_| checked.cpu)))
    }
}

impl Kept {
    /// The turns to wait for.
    pub fn interpreters(&self) -> &Arc<Interpreters> {
        &self.interpreters
    }

    /// Runs code in it. Dropping the future ends the session.
    pub async fn execute(self, code: CodeTurn, turn: interpreters::Turn) -> (Executed, Left) {
        let Kept {
            session,
            interpreters,
            ear,
            language,
            metrics,
            tenant,
            cpu,
        } = self;
        ear.listen(code.watch);
        let call = session.call(Turn {
            input: code.prepared.payload,
            stdin: code.prepared.stdin.unwrap_or_default(),
            timeout: code.timeout,
            end_by: code.end_by,
            cpu: code.cpu,
            kill: code.kill,
        });
        let (report, after) = turn.drive(call).await;
        ear.listen(None);
        cpu.charge(&tenant, report.usage.cpu);
        let left = match after {
            After::Live(session) => Left::Live(Kept {
                session,
                interpreters,
                ear,
                language,
                metrics: Arc::clone(&metrics),
                tenant,
                cpu,
            }),
            After::Ended(files) => Left::Ended(written(files, Vec::new()).await),
        };
        let files = left.files().await;
        let executed = Executed {
            cache: None,
            verdict: Verdict::of(report.outcome),
            usage: report.usage,
            streams: report.streams,
            files,
        };
        executed.count(&metrics, language);
        (executed, left)
    }
}

impl Left {
    /// The files in the working directory.
    pub fn files(&self) -> impl Future<Output = Option<OutputFiles>> + Send + use<> {
        let (live, ended) = match self {
            Left::Live(kept) => (Some(kept.session.files()), None),
            Left::Ended(files) => (None, files.clone()),
        };
        async {
            match live {
                Some(files) => written(files.await, Vec::new()).await,
                None => ended,
            }
        }
    }
}
