//! Code in a session: an interpreter that is kept, called by a caller as often as he likes.
//!
//! Who may keep how many, and for how long, is decided above.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::interpreters::Interpreters;
use crate::interpreters::answer::Verdict;
use crate::interpreters::request::{Prepared, SessionSetup};
use crate::runner::code::{Work, written};
use crate::runner::{Executed, RunError, Runner, Watcher};
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{Failure, Stream};
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::{LimitRequest, Limits};
use cofferdam_domain::module::Language;
use cofferdam_sandbox::OutputFiles;
use cofferdam_sandbox::control::{Control, Observer};
use cofferdam_sandbox::session::{After, Session, Turn};

/// An interpreter that somebody wants to keep.
pub struct SessionRequest {
    /// Its language.
    pub language: Language,
    /// Files and packages.
    pub setup: SessionSetup,
    /// What it may use.
    pub limits: Limits,
    /// What it asks to touch.
    pub grants: Grants,
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
}

/// Code for a session.
pub struct CodeTurn {
    /// The request.
    pub prepared: Prepared,
    /// Its wall-clock limit.
    pub timeout: Duration,
    /// Its CPU limit.
    pub cpu: Duration,
    /// Who hears what it writes while it runs.
    pub watch: Option<Watcher>,
    /// Ends it, and the session with it.
    pub kill: CancellationToken,
}

/// What a call leaves behind.
pub enum Left {
    /// The interpreter, ready for the next call.
    Live(Kept),
    /// The interpreter was ended; its files are still there.
    Ended(Option<OutputFiles>),
}

/// A sandbox has one observer for its life; who listens changes from call to call.
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
    /// Makes an interpreter that is kept. Waits while there is no room. The inner error is the
    /// sandbox's word on what it was given.
    pub async fn open_session(
        &self,
        request: SessionRequest,
    ) -> Result<Result<Kept, Failure>, RunError> {
        let module = self.interpreters.get(request.language)?.module;
        let ear = Arc::new(Ear::default());
        let control = Control {
            kill: request.kill,
            observer: Some(Arc::clone(&ear) as Arc<dyn Observer>),
            ..Control::default()
        };
        let mut work = Work::new(module, request.setup.opening(), request.limits, control);
        work.dirs.extend(self.admission.mounts(&request.grants)?);
        let (module, run) = work.into_run();
        let session = self.sandbox.open_session(module, run).await;
        Ok(session.map(|session| Kept {
            session,
            interpreters: Arc::clone(&self.interpreters),
            ear,
            language: request.language,
            metrics: Arc::clone(&self.metrics),
        }))
    }

    /// The limits of one call of a session that was given `session`.
    pub fn turn_limits(
        &self,
        session: &Limits,
        asked: &LimitRequest,
    ) -> Result<(Duration, Duration), RunError> {
        let checked = self.admission.check(asked, &Grants::none())?;
        let timeout = asked.timeout.map_or(session.timeout, |_| checked.timeout);
        Ok((timeout, asked.cpu.map_or(session.cpu, |_| checked.cpu)))
    }
}

impl Kept {
    /// Runs code in it. Dropping the future ends the session.
    pub async fn execute(self, turn: CodeTurn) -> (Executed, Left) {
        let Kept {
            session,
            interpreters,
            ear,
            language,
            metrics,
        } = self;
        ear.listen(turn.watch);
        let call = session.call(Turn {
            input: turn.prepared.payload,
            stdin: turn.prepared.stdin.unwrap_or_default(),
            timeout: turn.timeout,
            cpu: turn.cpu,
            kill: turn.kill,
        });
        let (report, after) = interpreters.turns().take(call).await;
        ear.listen(None);
        let left = match after {
            After::Live(session) => Left::Live(Kept {
                session,
                interpreters,
                ear,
                language,
                metrics: Arc::clone(&metrics),
            }),
            After::Ended(files) => Left::Ended(written(files, Vec::new()).await),
        };
        let files = left.files().await;
        let executed = Executed {
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
