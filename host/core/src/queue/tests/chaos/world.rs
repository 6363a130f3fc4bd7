//! A storage that outlives its hosts, the host of the hour, and the clients of all tasks.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::actors::{Actors, Log, Part};
use super::client::{Client, There};
use crate::queue::events::EventKind;
use crate::queue::settings::QueueConfig;
use crate::queue::tests::faulty::{Faulty, Plan, Planned};
use crate::queue::tests::stage::{Bin, START, database, parts};
use crate::queue::watch::{Reach, Watch};
use crate::queue::{Queue, QueueError};
use crate::shutdown::Shutdown;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Task;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_sandbox::threads::GuestThreads;
use cofferdam_storage::{Opened, Reads, Tasks};

/// Nothing takes this long, whatever storage did.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const SLOTS: u32 = 2;

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Round {
    /// Clients call, all at once.
    Calls(Vec<Op>),
    /// So many milliseconds in which the host gets on.
    Rest(u64),
    /// So many milliseconds by the clock, which stands still otherwise.
    Later(i64),
    /// The host ends in order, and another begins.
    Restart,
    /// The host dies, and another begins.
    Crash,
    /// Another host takes this one for dead.
    TakenForDead,
}

/// A call. Tasks are named by a number, modulo how many there are.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Submit(Vec<Part>, u64),
    Repeat(usize),
    Cancel(usize),
    CancelElsewhere(usize),
    Retry(usize),
    Purge(usize),
    Watch(usize),
    Wait(usize),
}

/// What somebody who listened was told.
#[derive(Debug)]
pub(super) enum Heard {
    /// A watcher: where the task stood, and which states followed.
    Watched(usize, TaskState, Vec<(TaskState, u32)>),
    /// A waiter, and whether it waited for a task that it knew was there.
    Waited(usize, bool, Box<Result<Option<Task>, QueueError>>),
}

pub(super) struct Host {
    pub(super) queue: Arc<Queue>,
    pub(super) storage: Arc<Faulty>,
    shutdown: Shutdown,
    pub(super) listeners: std::sync::Mutex<JoinSet<Heard>>,
}

pub(super) struct World {
    pub(super) opened: Opened,
    pub(super) plan: Arc<Plan>,
    pub(super) log: Arc<Log>,
    pub(super) clients: Vec<Mutex<Client>>,
    /// Whether a host was ever taken for dead that was not: then a claim may begin that storage
    /// has given to somebody else.
    pub(super) was_misjudged: bool,
    clock: Clock,
    threads: Option<GuestThreads>,
    host: Option<Host>,
    hosts: u128,
    dead: JoinSet<bool>,
    _data: TempDir,
}

fn config() -> QueueConfig {
    QueueConfig {
        slots: SLOTS,
        poll_interval: Duration::from_millis(50),
        heartbeat_interval: Duration::from_millis(20),
        cancel_grace: Duration::from_millis(10),
        drain_timeout: Duration::from_millis(20),
        dead_after: Duration::from_secs(3600),
        ..QueueConfig::default()
    }
}

impl World {
    pub(super) async fn new(faults: Vec<Planned>) -> World {
        let (data, opened) = database().await;
        let mut world = World {
            opened,
            plan: Plan::of(faults),
            log: Arc::default(),
            clients: Vec::new(),
            was_misjudged: false,
            clock: Clock::manual(START),
            threads: Some(GuestThreads::start(2).unwrap()),
            host: None,
            hosts: 0,
            dead: JoinSet::new(),
            _data: data,
        };
        world.begin_host().await;
        world
    }

    pub(super) fn host(&self) -> &Host {
        self.host.as_ref().expect("there is a host between rounds")
    }

    pub(super) fn later(&self, millis: i64) {
        let now = self.clock.now().as_millis();
        self.clock.set(Timestamp::from_millis(now + millis));
        self.host().queue.shared.work.notify_one();
    }

    async fn begin_host(&mut self) {
        self.hosts += 1;
        let worker = WorkerId(Uuid::from_u128(self.hosts));
        let storage = Faulty::over(&self.plan, &self.opened.tasks, &self.opened.reads);
        let storage = Arc::new(storage);
        // As an operator starts it again when it did not start.
        loop {
            let threads = self.threads.as_ref().expect("they stop at the end");
            let mut parts = parts(&self.opened, threads, self.clock.clone(), config());
            parts.worker = worker;
            parts.seed = 7 + u64::try_from(self.hosts).unwrap();
            parts.storage = Arc::<Faulty>::clone(&storage) as Arc<dyn Tasks>;
            parts.reads = Arc::<Faulty>::clone(&storage) as Arc<dyn Reads>;
            let shutdown = parts.shutdown.clone();
            let actors = Actors {
                log: Arc::clone(&self.log),
                host: Arc::clone(&storage),
            };
            let bin = Arc::new(Bin::default());
            let attic = Arc::<Bin>::clone(&bin);
            let begun = Queue::start_with(parts, Arc::new(actors), attic, bin);
            if let Ok(queue) = begun.await {
                self.host = Some(Host {
                    queue,
                    storage,
                    shutdown,
                    listeners: std::sync::Mutex::default(),
                });
                return;
            }
        }
    }

    pub(super) async fn play(&mut self, round: &Round) {
        match round {
            Round::Calls(ops) => self.call(ops).await,
            Round::Rest(millis) => tokio::time::sleep(Duration::from_millis(*millis)).await,
            Round::Later(millis) => self.later(*millis),
            Round::Restart => {
                let host = self.host.take().expect("there is a host between rounds");
                host.shutdown.request();
                assert!(host.shutdown.drained(PATIENCE).await, "the host ends");
                self.begin_host().await;
                // Whoever listened to the old host goes on listening.
                self.host.as_mut().expect("it began").listeners = host.listeners;
            }
            Round::Crash => {
                let host = self.host.take().expect("there is a host between rounds");
                host.storage.cut();
                host.listeners.lock().unwrap().abort_all();
                host.shutdown.request();
                let shutdown = host.shutdown;
                self.dead
                    .spawn(async move { shutdown.drained(PATIENCE).await });
                self.begin_host().await;
            }
            Round::TakenForDead => {
                self.was_misjudged = true;
                let other = WorkerId(Uuid::from_u128(u128::MAX));
                let forever = Timestamp::from_millis(i64::MAX);
                let now = self.clock.now();
                let rescued = self.opened.tasks.rescue(other, forever, 100, now);
                rescued.await.unwrap();
            }
        }
    }

    async fn call(&mut self, ops: &[Op]) {
        let mut submits = Vec::new();
        for op in ops {
            if let Op::Submit(parts, delay) = op {
                let first = self.clients.len();
                let new = parts.iter().enumerate().map(|(place, part)| {
                    let delay = Duration::from_millis(*delay);
                    Mutex::new(Client::new(first + place, *part, delay))
                });
                self.clients.extend(new);
                submits.push(first..self.clients.len());
            }
        }
        let mut submits = submits.into_iter();
        let calls = ops.iter().map(|op| {
            let is_new = matches!(op, Op::Submit(..));
            let submit = if is_new { submits.next() } else { None };
            self.one_call(op, submit)
        });
        join_all(calls.collect::<Vec<_>>()).await;
    }

    async fn one_call(&self, op: &Op, submit: Option<Range<usize>>) {
        if let Some(submit) = submit {
            return self.submit(submit).await;
        }
        let queue = &self.host().queue;
        let begun = || self.log.len();
        let (Op::Repeat(number)
        | Op::Cancel(number)
        | Op::CancelElsewhere(number)
        | Op::Retry(number)
        | Op::Purge(number)
        | Op::Watch(number)
        | Op::Wait(number)) = op
        else {
            return;
        };
        let Some(number) = number.checked_rem(self.clients.len()) else {
            return;
        };
        if let Op::Repeat(_) = op {
            return self.submit(number..number + 1).await;
        }
        let mut client = self.clients[number].lock().await;
        match op {
            Op::Submit(..) | Op::Repeat(_) => {}
            Op::Cancel(_) => client.cancel(queue, begun).await,
            Op::CancelElsewhere(_) => {
                let (id, now) = (client.id, self.clock.now());
                // Nobody was promised anything.
                let _answer = self
                    .opened
                    .tasks
                    .cancel(&Whose::All, id, now)
                    .await
                    .unwrap();
            }
            Op::Retry(_) => client.retry(queue).await,
            Op::Purge(_) => client.purge(queue, begun).await,
            Op::Watch(_) => {
                if let Ok(Some((task, watch))) = queue
                    .watch(&Caller::local(), client.id, 0, Reach::AllHosts)
                    .await
                {
                    let watching = watched(number, task.state, watch);
                    self.host().listeners.lock().unwrap().spawn(watching);
                }
            }
            Op::Wait(_) => {
                let (queue, id) = (Arc::clone(queue), client.id);
                let was_there = client.there == There::Yes;
                let waiting = async move {
                    let waited = queue.wait(&Caller::local(), id, 2 * PATIENCE).await;
                    Heard::Waited(number, was_there, Box::new(waited))
                };
                self.host().listeners.lock().unwrap().spawn(waiting);
            }
        }
    }

    /// Submits as one batch, and once more if it was not answered.
    pub(super) async fn submit(&self, numbers: Range<usize>) {
        let mut clients = Vec::new();
        for client in &self.clients[numbers] {
            clients.push(client.lock().await);
        }
        for _ in 0..2 {
            let batch = clients.iter().map(|client| client.submission()).collect();
            match self.host().queue.submit(&Caller::local(), batch).await {
                Ok(submitted) => {
                    for (client, submitted) in clients.iter_mut().zip(submitted) {
                        client.was_taken(submitted);
                    }
                    return;
                }
                Err(QueueError::Storage(_)) => {
                    for client in &mut clients {
                        // It may have been taken, also one that was removed before.
                        if client.there != There::Yes {
                            client.there = There::Unknown;
                        }
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The host and all that died before it are gone.
    pub(super) async fn end(mut self) {
        let host = self.host.take().expect("there is a host between rounds");
        host.shutdown.request();
        assert!(host.shutdown.drained(PATIENCE).await, "the host ends");
        while let Some(drained) = self.dead.join_next().await {
            assert!(drained.unwrap(), "a dead host ends");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.stop();
        }
    }
}

/// Hears of a task until its events end.
async fn watched(number: usize, stood: TaskState, mut watch: Watch) -> Heard {
    let mut states = Vec::new();
    while let Some(event) = watch.next().await {
        if let EventKind::Status { state, attempt } = event.kind {
            states.push((state, attempt));
        }
    }
    Heard::Watched(number, stood, states)
}
