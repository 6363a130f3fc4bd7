//! The other hosts, as far as the tasks that they run concern those who watch here.

use std::collections::HashSet;
use std::time::Duration;

use crate::queue::elsewhere::taps::Tapped;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Task, TaskId};

/// How long the end of a watched task waits for the last that its guest wrote.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The other hosts.
pub(crate) struct Others {
    own: WorkerId,
    tapped: Option<Tapped>,
}

impl Others {
    /// All hosts but `own`, of whose guests' output what is `tapped` is heard.
    pub(crate) fn than(own: WorkerId, tapped: Option<Tapped>) -> Others {
        Others { own, tapped }
    }

    /// The other host that runs a task, or ran it last.
    pub(super) fn host_of(&self, task: &Task) -> Option<WorkerId> {
        task.worker.filter(|worker| *worker != self.own)
    }

    /// Whether a watcher is told the state that storage has before it is reported here.
    pub(crate) fn tells_later(&self, task: &Task) -> bool {
        let may_begin_here = task.state == TaskState::Running && self.host_of(task).is_none();
        !task.state.is_final() && !may_begin_here
    }

    /// Hears from now on what a task's guest writes.
    pub(super) fn hear(&self, task: &Task) {
        if let (Some(worker), Some(tapped)) = (self.host_of(task), &self.tapped) {
            let _goes_on = tapped.tap(task, worker);
        }
    }

    /// Waits until what the guest of a final task wrote elsewhere has arrived, but not for long.
    pub(crate) async fn hear_last_words(&self, task: &Task) {
        if let (Some(worker), Some(tapped)) = (self.host_of(task), &self.tapped) {
            let ended = tapped.tap(task, worker);
            let _arrived_or_too_late = tokio::time::timeout(LAST_WORDS, ended).await;
        }
    }

    /// Hears nothing any more of tasks but these.
    pub(super) fn hear_only(&self, watched: &HashSet<TaskId>) {
        if let Some(tapped) = &self.tapped {
            tapped.keep_only(watched);
        }
    }
}
