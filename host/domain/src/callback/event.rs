//! The names of the ends that are told. They are apart from callbacks because tasks, whose ids are in them, have
//! callbacks.

use core::fmt;

use uuid::Uuid;

use crate::batch::BatchId;
use crate::task::TaskId;
use crate::workflow::WorkflowId;

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A task.
    Task(TaskId),
    /// A batch, whose last task is final.
    Batch(BatchId),
    /// A workflow.
    Workflow(WorkflowId),
}

impl Subject {
    /// Its id.
    pub fn id(self) -> Uuid {
        match self {
            Subject::Task(id) => id.0,
            Subject::Batch(id) => id.0,
            Subject::Workflow(id) => id.0,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Task(id) => write!(formatter, "task {id}"),
            Subject::Batch(id) => write!(formatter, "batch {id}"),
            Subject::Workflow(id) => write!(formatter, "workflow {id}"),
        }
    }
}

/// The name of one end, of which there is another after each retry by hand. It is the same for every try to
/// tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// What ended.
    pub of: Subject,
    /// Which of its ends that are told, from 1.
    pub number: u32,
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No full stop: what is signed has one behind it.
        write!(formatter, "end_{}_{}", self.of.id().simple(), self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_a_name_without_a_full_stop() {
        let id = Uuid::from_u128(7);
        for of in [
            Subject::Task(TaskId(id)),
            Subject::Batch(BatchId(id)),
            Subject::Workflow(WorkflowId(id)),
        ] {
            let event = EventId { of, number: 2 };
            assert_eq!(event.to_string(), "end_00000000000000000000000000000007_2");
            assert!(of.to_string().ends_with("-000000000007"), "{of}");
        }
    }
}
