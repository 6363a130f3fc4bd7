//! What the model knows of one task, and how it moves from state to state.

use cofferdam_domain::attempt::{FailureKind, Fence, WorkerId};
use cofferdam_domain::claim::{AttemptEnd, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Priority, Task};
use cofferdam_domain::time::Timestamp;

use super::super::fixture::at;

pub(super) const ATTEMPTS: u32 = 3;
pub(super) const MAX_LOST: u32 = 2;

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) seen: Seen,
    pub(super) priority: Priority,
    pub(super) fingerprint: [u8; 16],
    pub(super) key: Option<String>,
    pub(super) run_at: i64,
    pub(super) holder: Option<(WorkerId, Fence)>,
    pub(super) note: String,
    pub(super) finished_at: Option<i64>,
    /// How many were stored before it.
    pub(super) age: usize,
    /// Its recorded attempts, and why each failed.
    pub(super) recorded: Vec<(u32, Option<FailureKind>)>,
}

/// What storage tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) state: TaskState,
    pub(super) attempt: u32,
    pub(super) max_attempts: u32,
    pub(super) lost: u32,
    pub(super) cancel_requested: bool,
}

impl Seen {
    pub(super) fn of(task: &Task) -> Seen {
        Seen {
            state: task.state,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            lost: task.lost,
            cancel_requested: task.cancel_requested,
        }
    }
}

impl Known {
    pub(super) fn is_pending(&self) -> bool {
        self.seen.state == TaskState::Pending
    }

    pub(super) fn is_due(&self, now: i64) -> bool {
        self.is_pending() && self.run_at <= now
    }

    /// What [`Seen`] leaves out, as far as the state says what it is.
    pub(super) fn compare(&self, task: &Task, place: &str) {
        let finished_at = self.finished_at.map(at);
        assert_eq!(task.finished_at, finished_at, "{task:?} in {place}");
        assert_eq!(task.priority, self.priority);
        if self.is_pending() {
            assert_eq!(task.run_at, at(self.run_at), "{task:?} in {place}");
        }
        if let Some((worker, _)) = self.holder {
            assert_eq!(task.worker, Some(worker), "{task:?} in {place}");
            assert_eq!(task.progress_note, self.note, "{task:?} in {place}");
        }
    }

    /// Why its newest attempt failed that has ended.
    pub(super) fn error(&self) -> Option<FailureKind> {
        self.recorded.last().and_then(|(_, kind)| *kind)
    }

    pub(super) fn begin(&mut self, worker: WorkerId, fence: Fence) {
        self.seen.state = TaskState::Running;
        self.seen.attempt += 1;
        self.holder = Some((worker, fence));
        self.note = String::new();
    }

    /// Its holder says how the attempt ended.
    pub(super) fn end(&mut self, end: &AttemptEnd, now: i64) -> TaskState {
        let kind = end.outcome.failure_kind();
        let lost = kind == Some(FailureKind::Lost);
        let asked = self.seen.cancel_requested;
        let state = match end.next {
            Next::GiveBack | Next::Postpone(_) if asked => {
                self.record(Some(FailureKind::Cancelled));
                TaskState::Cancelled
            }
            Next::GiveBack => {
                self.seen.attempt -= 1;
                TaskState::Pending
            }
            Next::Postpone(until) => {
                self.seen.attempt -= 1;
                self.run_at = self.run_at.max(seconds(until));
                TaskState::Pending
            }
            Next::RetryAt(again) if lost => {
                let state = self.lose();
                if state == TaskState::Pending {
                    self.run_at = seconds(again);
                }
                state
            }
            Next::Complete | Next::Fail | Next::Cancel | Next::RetryAt(_) => {
                self.record(kind);
                self.seen.lost += u32::from(lost && asked);
                self.after(end.next, asked)
            }
        };
        self.leave_worker(state, now);
        state
    }

    /// What follows an attempt that was recorded and is no loss.
    fn after(&mut self, next: Next, asked: bool) -> TaskState {
        match next {
            Next::Complete | Next::Fail | Next::Cancel | Next::RetryAt(_) if asked => {
                TaskState::Cancelled
            }
            Next::Complete => TaskState::Completed,
            Next::Fail => TaskState::Failed,
            Next::Cancel => TaskState::Cancelled,
            Next::RetryAt(again) if self.seen.attempt < self.seen.max_attempts => {
                self.run_at = seconds(again);
                TaskState::Pending
            }
            Next::RetryAt(_) => TaskState::Failed,
            Next::GiveBack | Next::Postpone(_) => unreachable!("such an attempt is not recorded"),
        }
    }

    /// Its holder went away. Gives the state that follows.
    pub(super) fn lose(&mut self) -> TaskState {
        self.record(Some(FailureKind::Lost));
        self.seen.lost += 1;
        if self.seen.cancel_requested {
            TaskState::Cancelled
        } else if self.seen.lost > MAX_LOST {
            TaskState::Failed
        } else {
            self.seen.max_attempts += 1;
            TaskState::Pending
        }
    }

    pub(super) fn leave_worker(&mut self, state: TaskState, now: i64) {
        self.seen.state = state;
        self.seen.cancel_requested = false;
        self.holder = None;
        self.finished_at = state.is_final().then_some(now);
    }

    fn record(&mut self, kind: Option<FailureKind>) {
        self.recorded.push((self.seen.attempt, kind));
    }
}

/// An instant in the model's time.
fn seconds(instant: Timestamp) -> i64 {
    (instant.as_millis() - at(0).as_millis()) / 1000
}
