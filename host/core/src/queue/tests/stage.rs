//! A queue over a fresh database, and guests that the test controls.

mod bin;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub(super) use self::bin::Bin;
use crate::nodes::Given;
use crate::queue::ends::Ended;
use crate::queue::events::EventKind;
use crate::queue::executor::{Attempts, never_began};
use crate::queue::hands::Taken;
use crate::queue::pruner::Attic;
use crate::queue::settings::QueueConfig;
use crate::queue::watch::{Reach, Watch};
use crate::queue::{Parts, Queue, QueueError, Submission, Submitted};
use crate::registry::schema::{Bounds, Schemas};
use crate::registry::{Loader, Registry};
use crate::runner::admission::Admission;
use crate::runner::{NotYet, Spool};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::{
    Artifact, Failure, FailureKind, Outcome, Payload, Streams, Usage, WorkerId,
};
use cofferdam_domain::caller::{Caller, Tenant};
use cofferdam_domain::claim::{Claim, Next};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::limits::LimitPolicy;
use cofferdam_domain::module::{Descriptor, Digest, ModuleInfo, ModuleKind, ModuleName, ModuleRef};
use cofferdam_domain::pressure::Pressure;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Input, Task, TaskId};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::worker::{Beat, Capability, Profile, WorkerName, WorkerState};
use cofferdam_sandbox::compile::Compiled;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::threads::GuestThreads;
use cofferdam_sandbox::{CompileError, EngineClass, LoadedModule, OutputFiles, Report};
use cofferdam_storage::settings::StorageConfig;
use cofferdam_storage::signals::Signals;
use cofferdam_storage::{Opened, Reads, Tasks};

/// Every signal comes sooner, however busy the machine is.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// An attempt that began and waits for the test to say how it ends.
pub(super) struct Guest {
    pub(super) claim: Claim,
    pub(super) control: Control,
    end: oneshot::Sender<Result<Outcome, NotYet>>,
}

impl Guest {
    pub(super) fn completes(self) {
        self.returns(Bytes::from_static(b"done"));
    }

    pub(super) fn returns(self, body: Bytes) {
        let payload = Payload {
            content_type: "text/plain".into(),
            body,
        };
        let _ = self.end.send(Ok(Outcome::Completed(payload)));
    }

    pub(super) fn fails(self, kind: FailureKind, transient: bool) {
        let failure = Failure {
            transient,
            ..Failure::new(kind, "as the test says")
        };
        let _ = self.end.send(Ok(Outcome::Failed(failure)));
    }

    /// The host finds that it cannot begin the attempt yet.
    pub(super) fn expect_not_begun(self) {
        let _ = self.end.send(Err(NotYet::because("as the test says")));
    }

    pub(super) fn id(&self) -> TaskId {
        self.claim.task_id
    }
}

/// Passes attempts to the test, or completes them at once.
struct Stagehand {
    guests: Option<mpsc::UnboundedSender<Guest>>,
}

impl Attempts for Stagehand {
    async fn run(
        &self,
        claim: &Claim,
        _given: Option<Box<Given>>,
        control: Control,
    ) -> Result<Report, NotYet> {
        assert_ne!(claim.spec.args, ["panic"], "as the test wants");
        let outcome = match &self.guests {
            None => Ok(Outcome::Completed(Payload {
                content_type: "".into(),
                body: Bytes::new(),
            })),
            Some(guests) => {
                let (end, ended) = oneshot::channel();
                let guest = Guest {
                    claim: claim.clone(),
                    control: control.clone(),
                    end,
                };
                guests.send(guest).unwrap();
                tokio::select! {
                    outcome = ended => outcome.unwrap(),
                    () = control.kill.cancelled() => {
                        Ok(Outcome::Failed(Failure::new(FailureKind::Cancelled, "killed")))
                    }
                }
            }
        };
        Ok(Report {
            outcome: outcome?,
            usage: Usage::default(),
            streams: Streams::default(),
            files: None,
            isolation: None,
        })
    }

    async fn keep(
        &self,
        _task_id: TaskId,
        _attempt: u32,
        files: OutputFiles,
    ) -> Result<Vec<Artifact>, String> {
        drop(files);
        Ok(Vec::new())
    }
}

/// Modules here are never loaded.
struct NoLoader;

#[async_trait]
impl Loader for NoLoader {
    async fn compile(
        &self,
        _wasm: Bytes,
        _class: EngineClass,
        _caller: u64,
    ) -> Result<Compiled, CompileError> {
        Err(CompileError::Busy)
    }

    async fn open(
        &self,
        _digest: &Digest,
        _class: EngineClass,
        _kind: ModuleKind,
    ) -> Result<Option<Arc<LoadedModule>>, CompileError> {
        Ok(None)
    }

    async fn describe(
        &self,
        _module: Arc<LoadedModule>,
    ) -> Result<Option<Descriptor>, CompileError> {
        Ok(None)
    }
}

/// The stage.
pub(super) struct Stage {
    pub(super) queue: Arc<Queue>,
    pub(super) storage: Arc<dyn Tasks>,
    pub(super) reads: Arc<dyn Reads>,
    pub(super) signals: Arc<dyn Signals>,
    pub(super) clock: Clock,
    pub(super) shutdown: Shutdown,
    pub(super) bin: Arc<Bin>,
    guests: mpsc::UnboundedReceiver<Guest>,
    threads: Option<GuestThreads>,
    _data: TempDir,
}

/// The time at which every stage begins.
pub(super) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// One slot, no patience at the end, and other times so long that a test waits for them only if it
/// sets them itself.
pub(super) fn one_slot() -> QueueConfig {
    QueueConfig {
        slots: 1,
        poll_interval: Duration::from_secs(60),
        drain_timeout: Duration::from_millis(10),
        ..QueueConfig::default()
    }
}

/// The same with heartbeats that a test can wait for.
pub(super) fn quick_heartbeat() -> QueueConfig {
    QueueConfig {
        heartbeat_interval: Duration::from_millis(50),
        ..one_slot()
    }
}

/// A database with a module in it, before any host opened it.
pub(super) async fn database() -> (TempDir, Opened) {
    let data = TempDir::new().unwrap();
    let settings = StorageConfig {
        data: data.path().to_owned(),
        ..StorageConfig::default()
    };
    let (random, clock) = (StdRng::seed_from_u64(1), Clock::system());
    let storage = cofferdam_storage::open(&settings, random, &clock).unwrap();
    let info = ModuleInfo {
        digest: Digest::from_bytes([7; 32]),
        kind: ModuleKind::Task,
        size_bytes: 4,
        imports: Vec::new(),
        needs: Vec::new(),
        descriptor: Some(Descriptor {
            summary: String::new(),
            input_schema: Some(r#"{"properties": {"n": {"type": "integer"}}}"#.to_owned()),
            output_schema: None,
        }),
        compiled_ms: 1,
    };
    let name = ModuleName::parse("echo").unwrap();
    let (tenant, wasm) = (&Tenant::DEFAULT, Bytes::from_static(b"wasm"));
    let modules = &storage.modules;
    let put = modules.put_module(tenant, &name, &info, wasm, None, START);
    put.await.unwrap();
    (data, storage)
}

/// What the host of a stage tells of itself.
pub(super) fn profile() -> Profile {
    Profile {
        name: WorkerName::of_machine("stage"),
        address: None,
        capabilities: Capability::of_every_worker(),
        version: "0".to_owned(),
        started_at: START,
    }
}

/// What a worker without tasks tells of itself.
pub(super) fn beat(worker: WorkerId) -> Beat {
    Beat {
        worker,
        profile: Arc::new(profile()),
        slots: 1,
        load: 0,
        state: WorkerState::Idle,
    }
}

/// What a queue over this storage is made of: the only host there is, the first of its kind.
pub(super) fn parts(
    storage: &Opened,
    threads: &GuestThreads,
    clock: Clock,
    config: QueueConfig,
) -> Parts {
    let metrics = Arc::new(Metrics::new());
    let bounds = Bounds {
        timeout: PATIENCE,
        memory_bytes: 1 << 20,
    };
    let registry = Registry::new(
        Arc::clone(&storage.modules),
        Arc::new(NoLoader),
        1,
        Schemas::new(threads.handle(), 1, bounds),
        clock.clone(),
        Arc::clone(&metrics),
    );
    Parts {
        storage: Arc::clone(&storage.tasks),
        reads: Arc::clone(&storage.reads),
        workflows: Arc::clone(&storage.workflows),
        signals: Arc::clone(&storage.signals),
        registry: Arc::new(registry),
        admission: Admission::new(
            LimitPolicy::default(),
            Default::default(),
            Default::default(),
        ),
        config,
        clock,
        worker: WorkerId(Uuid::from_u128(1)),
        profile: profile(),
        seed: 1,
        threads: threads.handle(),
        shutdown: Shutdown::new(),
        metrics,
        pressure: Pressure::default(),
        taps: None,
        sole_owner: true,
    }
}

impl Stage {
    pub(super) async fn set(config: QueueConfig) -> Stage {
        Stage::over(database().await, config, true).await
    }

    /// A stage whose guests complete by themselves.
    pub(super) async fn set_automatic(config: QueueConfig) -> Stage {
        Stage::over(database().await, config, false).await
    }

    pub(super) async fn over(
        (data, storage): (TempDir, Opened),
        config: QueueConfig,
        played: bool,
    ) -> Stage {
        let clock = Clock::manual(START);
        let threads = GuestThreads::start(2).unwrap();
        let shutdown = Shutdown::new();
        let mut parts = parts(&storage, &threads, clock.clone(), config);
        parts.shutdown = shutdown.clone();
        let (sender, guests) = mpsc::unbounded_channel();
        let stagehand = Stagehand {
            guests: played.then_some(sender),
        };
        let bin = Arc::new(Bin::default());
        let attic: Arc<dyn Attic> = Arc::<Bin>::clone(&bin);
        let spool: Arc<dyn Spool> = Arc::<Bin>::clone(&bin);
        let queue = Queue::start_with(parts, Arc::new(stagehand), attic, spool)
            .await
            .unwrap();
        let threads = Some(threads);
        Stage {
            queue,
            storage: storage.tasks,
            reads: storage.reads,
            signals: storage.signals,
            clock,
            shutdown,
            bin,
            guests,
            threads,
            _data: data,
        }
    }

    /// The next attempt that begins.
    pub(super) async fn guest(&mut self) -> Guest {
        let guest = tokio::time::timeout(PATIENCE, self.guests.recv()).await;
        guest.expect("an attempt begins in time").unwrap()
    }

    /// Whether the test has seen every attempt that began.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.guests.try_recv().is_err()
    }

    /// Submits tasks as the host itself would.
    pub(super) async fn offer(&self, tasks: Vec<Submission>) -> Result<Vec<Submitted>, QueueError> {
        self.queue.submit(&Caller::local(), tasks).await
    }

    pub(super) async fn submit(&self, task: Submission) -> TaskId {
        match self.offer(vec![task]).await.unwrap()[..] {
            [Submitted::New(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    /// Watches a task from its first event on.
    pub(super) async fn watch(&self, id: TaskId) -> Watch {
        let watched = self
            .queue
            .watch(&Caller::local(), id, 0, Reach::AllHosts)
            .await;
        watched.unwrap().unwrap().1
    }

    /// The task once it is final.
    pub(super) async fn finished(&self, id: TaskId) -> Task {
        let task = self
            .queue
            .wait(&Caller::local(), id, PATIENCE)
            .await
            .unwrap()
            .unwrap();
        assert!(task.state.is_final(), "{task:?}");
        task
    }

    /// Waits until this host holds all of these and runs none of them yet. Storage reports a moment
    /// earlier that they run.
    pub(super) async fn ready(&self, ids: &[TaskId]) {
        let held = async {
            while !ids.iter().all(|id| self.queue.shared.ready.holds(*id)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let held = tokio::time::timeout(PATIENCE, held).await;
        held.expect("they are claimed in time");
    }

    pub(super) async fn task(&self, id: TaskId) -> Task {
        self.reads.task(&Whose::All, id).await.unwrap().unwrap()
    }

    /// Moves the clock to `after` past the start and lets the dispatcher look at it.
    pub(super) fn advance_to(&self, after: Duration) {
        self.clock.set(START.plus(after));
        self.queue.shared.work.notify_one();
    }

    pub(super) async fn end(mut self) {
        self.shutdown.request();
        assert!(self.shutdown.drained(PATIENCE).await, "the services end");
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
    }
}

/// A task without any options.
pub(super) fn plain() -> Submission {
    let module = ModuleRef::parse("echo").unwrap();
    let retry = RetryPolicy {
        jitter: false,
        ..RetryPolicy::default()
    };
    Submission {
        retry,
        ..Submission::new(module, Input::empty())
    }
}

/// The end of a claim whose guest completed.
pub(super) fn completed(taken: Taken, now: Timestamp) -> Ended {
    let mut ended = never_began(taken, Next::Complete, FailureKind::Lost, now);
    ended.end.outcome = Outcome::Completed(Payload {
        content_type: "text/plain".into(),
        body: Bytes::from_static(b"done"),
    });
    ended
}

/// Waits until something is so.
pub(super) async fn becomes(mut so: impl AsyncFnMut() -> bool) {
    let is_so = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, is_so).await;
    in_time.expect("it becomes so in time");
}

/// Waits until the task is reported in `state` after this many attempts.
pub(super) async fn until(watch: &mut Watch, state: TaskState, attempt: u32) {
    let wanted = EventKind::Status { state, attempt };
    let told = async {
        while let Some(event) = watch.next().await {
            if event.kind == wanted {
                return;
            }
        }
        panic!("the events ended without {wanted:?}");
    };
    tokio::time::timeout(PATIENCE, told)
        .await
        .expect("it is reported in time");
}
