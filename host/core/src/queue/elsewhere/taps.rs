//! Taps: what guests write at other hosts, for watchers here.
//!
//! However many watch a task here, its host is asked once. A tap lasts until the host says that nothing
//! follows, until nobody watches here, or until the task runs elsewhere. One that broke, or ended before
//! the task did, is made anew after a while, from the piece on that came last.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::queue::events::{Hub, Piece};
use crate::shutdown::Shutdown;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{Task, TaskId};

/// How long a tap that ended is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Hears what other hosts tell of the tasks that run there.
pub trait Taps: Send + Sync + 'static {
    /// What the guest of a tenant's task writes, as `worker` tells it, after the piece of number `seen`.
    /// The stream ends if nothing follows, if it breaks, and at once if that host cannot be reached.
    fn open(
        &self,
        worker: WorkerId,
        tenant: Tenant,
        task: TaskId,
        seen: u64,
    ) -> BoxStream<'static, Told>;
}

/// A piece that a guest wrote at another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// That host's number of the event.
    pub number: u64,
    /// What was written.
    pub piece: Piece,
}

/// The taps of this host, by task.
pub(crate) struct Tapped {
    taps: Arc<dyn Taps>,
    events: Hub,
    shutdown: Shutdown,
    /// Ends every tap.
    settled: CancellationToken,
    open: Mutex<HashMap<TaskId, Tap>>,
}

struct Tap {
    worker: WorkerId,
    /// Cancelled when nothing follows from it.
    ended: CancellationToken,
    ended_at: Arc<Mutex<Option<Instant>>>,
    _listener: DropGuard,
}

impl Tapped {
    /// No taps yet. What they hear is told by `events`, until everything is `settled`.
    pub(crate) fn new(
        taps: Arc<dyn Taps>,
        events: Hub,
        shutdown: Shutdown,
        settled: CancellationToken,
    ) -> Tapped {
        Tapped {
            taps,
            events,
            shutdown,
            settled,
            open: Mutex::default(),
        }
    }

    /// Hears what `worker` tells of a task from now on; ready once nothing follows.
    pub(super) fn tap(
        &self,
        task: &Task,
        worker: WorkerId,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut open = self.lock();
        let is_of_use = |tap: &Tap| tap.worker == worker && !tap.is_due_again();
        let ended = match open.get(&task.id).filter(|tap| is_of_use(tap)) {
            Some(tap) => tap.ended.clone(),
            None => {
                let tap = self.begin(task, worker);
                let ended = tap.ended.clone();
                open.insert(task.id, tap);
                ended
            }
        };
        async move { ended.cancelled().await }
    }

    /// Ends every tap but those of these tasks.
    pub(super) fn keep_only(&self, watched: &HashSet<TaskId>) {
        self.lock().retain(|id, _| watched.contains(id));
    }

    fn begin(&self, task: &Task, worker: WorkerId) -> Tap {
        let id = task.id;
        let (ended, listener) = (CancellationToken::new(), CancellationToken::new());
        let ended_at = Arc::new(Mutex::new(None));
        let seen = self.events.heard_from(id, worker);
        let mut told = self.taps.open(worker, task.tenant.clone(), id, seen);
        let tap = Tap {
            worker,
            ended: ended.clone(),
            ended_at: Arc::clone(&ended_at),
            _listener: listener.clone().drop_guard(),
        };
        let (events, settled) = (self.events.clone(), self.settled.clone());
        self.shutdown.spawn("tap", async move {
            let _ended = ended.drop_guard();
            let listening = async {
                while let Some(Told { number, piece }) = told.next().await {
                    events.wrote_at(id, worker, number, &piece);
                }
                *ended_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            };
            tokio::select! {
                () = listening => {}
                () = listener.cancelled() => {}
                () = settled.cancelled() => {}
            }
        });
        tap
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Tap>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    /// Whether it ended so long ago that another may be tried.
    fn is_due_again(&self) -> bool {
        let ended_at = self.ended_at.lock().unwrap_or_else(PoisonError::into_inner);
        ended_at.is_some_and(|at| at.elapsed() >= PAUSE)
    }
}
