//! Follows tasks that run at other hosts, for those who watch them or wait for them here.
//!
//! Other hosts signal ends and changes by hand and nothing else: a signal for each claim and each report
//! of progress would cost more than the tasks do. So this service reads, once for all who are here, the
//! tasks that somebody watches or waits for and that do not run here, as often as a watcher is to notice.
//! What a guest writes is in no storage before its attempt has ended; `taps` hear it from the host that
//! runs it. A host that shares its storage with nobody has none of this.

pub(crate) mod others;
pub(crate) mod taps;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::queue::elsewhere::others::Others;
use crate::queue::shared::Shared;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Task, TaskId};

pub use crate::queue::elsewhere::taps::{Taps, Told};

/// How often storage is asked.
const PACE: Duration = Duration::from_millis(400);
/// The most tasks in one question.
const TASKS_MAX: usize = 500;

/// What was last reported of each task's progress.
type Reported = HashMap<TaskId, (f64, String)>;

/// Looks until everything is settled.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let Some(others) = &shared.others else {
        return;
    };
    let mut reported = Reported::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(PACE) => {}
            () = shared.settled.cancelled() => break,
        }
        let watched = shared.events.sought();
        others.hear_only(&watched);
        reported.retain(|id, _| watched.contains(id));
        let mut sought = watched;
        sought.extend(shared.waiters.sought());
        sought.retain(|id| !shared.running.holds(*id));
        let sought: Vec<TaskId> = sought.into_iter().collect();
        for some in sought.chunks(TASKS_MAX) {
            match shared.reads.some_tasks(some.to_vec()).await {
                Ok(tasks) => {
                    for task in tasks {
                        pass_on(&shared, others, &task, &mut reported);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "tasks of other hosts could not be read");
                    break;
                }
            }
        }
    }
    others.hear_only(&HashSet::new());
}

/// Tells those who watch a task here, or wait for it, how far it is.
fn pass_on(shared: &Shared, others: &Others, task: &Task, reported: &mut Reported) {
    shared.events.stands(task.id, task.state, task.attempt);
    if task.state.is_final() {
        shared.waiters.wake(task.id);
        return;
    }
    if others.host_of(task).is_none() || !shared.events.is_sought(task.id) {
        return;
    }
    let progress = (task.progress, task.progress_note.clone());
    let before = reported.insert(task.id, progress.clone());
    if before.unwrap_or_default() != progress {
        shared.events.progress(task.id, progress.0, &progress.1);
    }
    if task.state == TaskState::Running {
        others.hear(task);
    }
}
