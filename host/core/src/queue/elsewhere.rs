//! Follows tasks that run at other hosts, for those who watch them or wait for them here.
//!
//! Other hosts signal ends and changes by hand and nothing else: a signal for each claim and each report
//! of progress would cost more than the tasks do. So this service reads, once for all who are here, the
//! tasks that somebody watches or waits for and that do not run here, as often as a watcher is to notice.
//! What a guest writes is in no storage before its attempt has ended; `Taps` hear it from the host that
//! runs it (`taps`). A host that shares its storage with nobody has none of this.

pub(crate) mod taps;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::queue::elsewhere::taps::Tapped;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Task, TaskId};

pub use crate::queue::elsewhere::taps::{Taps, Told};

/// How often storage is asked.
const PACE: Duration = Duration::from_millis(400);
/// The most tasks in one question.
const TASKS_MAX: usize = 500;
/// How long the end of a watched task waits for the last that its guest wrote.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What this host hears of other hosts' tasks.
pub(crate) struct Elsewhere {
    worker: WorkerId,
    tapped: Option<Tapped>,
}

impl Elsewhere {
    pub(crate) fn new(worker: WorkerId, taps: Option<Arc<dyn Taps>>) -> Elsewhere {
        Elsewhere {
            worker,
            tapped: taps.map(Tapped::new),
        }
    }

    /// The other host that runs a task, or ran it last.
    fn host_of(&self, task: &Task) -> Option<WorkerId> {
        task.worker.filter(|worker| *worker != self.worker)
    }

    /// Whether a watcher is told the state that storage has before it is reported here.
    pub(crate) fn tells_later(&self, task: &Task) -> bool {
        let may_begin_here = task.state == TaskState::Running && self.host_of(task).is_none();
        !task.state.is_final() && !may_begin_here
    }
}

impl Shared {
    /// Waits until what the guest of a final task wrote elsewhere has arrived, but not for long.
    pub(crate) async fn hear_last_words(self: &Arc<Shared>, task: &Task) {
        let Some(elsewhere) = &self.elsewhere else {
            return;
        };
        if let (Some(worker), Some(tapped)) = (elsewhere.host_of(task), &elsewhere.tapped) {
            let ended = tapped.tap(self, task.id, worker);
            let _arrived_or_too_late = tokio::time::timeout(LAST_WORDS, ended).await;
        }
    }
}

/// Looks until everything is settled.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let Some(elsewhere) = &shared.elsewhere else {
        return;
    };
    let mut reported = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = shared.settled.cancelled() => break,
        }
        let watched = shared.events.sought();
        if let Some(tapped) = &elsewhere.tapped {
            tapped.keep_only(&watched);
        }
        reported.retain(|id, _| watched.contains(id));
        let mut sought: Vec<TaskId> = watched;
        sought.extend(shared.waiters.sought());
        sought.retain(|id| !shared.running.holds(*id));
        sought.sort_unstable();
        sought.dedup();
        for some in sought.chunks(TASKS_MAX) {
            match shared.reads.some_tasks(some.to_vec()).await {
                Ok(tasks) => {
                    for task in tasks {
                        pass_on(&shared, elsewhere, &task, &mut reported);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "tasks of other hosts could not be read");
                    break;
                }
            }
        }
    }
    if let Some(tapped) = &elsewhere.tapped {
        tapped.keep_only(&[]);
    }
}

/// Tells those who watch a task here, or wait for it, how far it is.
fn pass_on(
    shared: &Arc<Shared>,
    elsewhere: &Elsewhere,
    task: &Task,
    reported: &mut HashMap<TaskId, (f64, String)>,
) {
    shared.events.stands(task.id, task.state, task.attempt);
    if task.state.is_final() {
        shared.waiters.wake(task.id);
        return;
    }
    let Some(worker) = elsewhere.host_of(task) else {
        return;
    };
    if !shared.events.is_sought(task.id) {
        return;
    }
    let progress = (task.progress, task.progress_note.clone());
    let before = reported.insert(task.id, progress.clone());
    if before.unwrap_or_default() != progress {
        shared.events.progress(task.id, progress.0, &progress.1);
    }
    if let (TaskState::Running, Some(tapped)) = (task.state, &elsewhere.tapped) {
        let _goes_on = tapped.tap(shared, task.id, worker);
    }
}
