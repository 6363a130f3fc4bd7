//! What a client of one task asks for, and what it was promised.

use uuid::Uuid;

use super::actors::Part;
use crate::queue::tests::stage::plain;
use crate::queue::{Queue, QueueError, Submission, Submitted};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_storage::{Cancelled, Purged, Retried, StorageError};
use std::time::Duration;

/// One client of one task. It makes one call at a time.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: TaskId,
    pub(super) part: Part,
    pub(super) delay: Duration,
    pub(super) there: There,
    /// It was told that the task is cancelled and has not begun, when so many attempts had begun.
    pub(super) cancelled_since: Option<usize>,
    /// It was told that the task ends cancelled, if it has not ended so already.
    pub(super) ends_cancelled: bool,
    /// Whether it ever asked for the task to be run again or to be removed.
    pub(super) changed_its_mind: bool,
    /// Whether it ever asked for the task to be removed.
    pub(super) purged: bool,
}

/// Whether the task is there, as far as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    Yes,
    Unknown,
    /// It was removed when so many attempts had begun.
    Gone(usize),
}

/// Whether a call that failed may have taken effect all the same.
fn is_unknown(error: &QueueError) -> bool {
    matches!(error, QueueError::Storage(StorageError::Unknown(_)))
}

impl Client {
    pub(super) fn new(number: usize, part: Part, delay: Duration) -> Client {
        Client {
            id: TaskId(Uuid::from_u128(1000 + number as u128)),
            part,
            delay,
            there: There::Unknown,
            cancelled_since: None,
            ends_cancelled: false,
            changed_its_mind: false,
            purged: false,
        }
    }

    pub(super) fn submission(&self) -> Submission {
        Submission {
            task_id: Some(self.id),
            args: vec![self.part.word()],
            delay: self.delay,
            retry: RetryPolicy {
                max_attempts: 2,
                jitter: false,
                ..RetryPolicy::default()
            },
            ..plain()
        }
    }

    /// What it may rely on once its task was taken.
    pub(super) fn was_taken(&mut self, submitted: Submitted) {
        match submitted {
            Submitted::New(id) => {
                assert_eq!(id, self.id);
                let was_there = self.there == There::Yes;
                assert!(!was_there, "{id} was taken twice");
            }
            Submitted::Existing(id) => assert_eq!(id, self.id),
        }
        self.there = There::Yes;
    }

    pub(super) async fn cancel(&mut self, queue: &Queue, begun: impl Fn() -> usize) {
        match queue.cancel(&Caller::local(), self.id).await {
            Ok(Cancelled::AtOnce | Cancelled::Final(TaskState::Cancelled)) => {
                self.is_there();
                self.cancelled_since = Some(begun());
                self.ends_cancelled = true;
            }
            Ok(Cancelled::Requested(_)) => {
                self.is_there();
                self.ends_cancelled = true;
            }
            Ok(Cancelled::Final(_)) => self.is_there(),
            Ok(Cancelled::Unknown) => assert_ne!(self.there, There::Yes, "{self:?}"),
            Err(_) => {}
        }
    }

    pub(super) async fn retry(&mut self, queue: &Queue) {
        let answer = queue.retry(&Caller::local(), self.id).await;
        match &answer {
            Ok(Retried::Pending) => {}
            Err(error) if is_unknown(error) => {}
            Ok(Retried::Unknown) => return assert_ne!(self.there, There::Yes, "{self:?}"),
            Ok(Retried::NotFailed(_) | Retried::Exhausted | Retried::OfWorkflow(_)) | Err(_) => {
                return;
            }
        }
        self.may_run_again();
    }

    pub(super) async fn purge(&mut self, queue: &Queue, begun: impl Fn() -> usize) {
        self.purged = true;
        match queue.purge(&Caller::local(), self.id).await {
            Ok(Purged::Removed(_)) => {
                self.may_run_again();
                self.there = There::Gone(begun());
            }
            Err(error) if is_unknown(&error) => {
                self.may_run_again();
                self.there = There::Unknown;
            }
            Ok(Purged::Unknown) => assert_ne!(self.there, There::Yes, "{self:?}"),
            Ok(Purged::NotFinal(_) | Purged::OfWorkflow(_)) => self.is_there(),
            Err(_) => {}
        }
    }

    fn is_there(&self) {
        let gone = matches!(self.there, There::Gone(_));
        assert!(!gone, "what was removed is there: {self:?}");
    }

    fn may_run_again(&mut self) {
        self.cancelled_since = None;
        self.ends_cancelled = false;
        self.changed_its_mind = true;
    }
}
