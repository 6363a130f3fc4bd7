//! The states of a task. The moves between them are decided where they are made, in storage.

/// The state of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Waits for parents in a workflow.
    Blocked,
    /// May be claimed once its `run_at` has come.
    Pending,
    /// Claimed by a worker.
    Running,
    /// Final: it gave a result.
    Completed,
    /// Final: no attempt is left.
    Failed,
    /// Final: somebody cancelled it.
    Cancelled,
}

impl TaskState {
    /// Every state, in the order of a task's life.
    pub const ALL: [TaskState; 6] = [
        TaskState::Blocked,
        TaskState::Pending,
        TaskState::Running,
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Cancelled,
    ];

    /// The word used in the API, in storage and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            TaskState::Blocked => "blocked",
            TaskState::Pending => "pending",
            TaskState::Running => "running",
            TaskState::Completed => "completed",
            TaskState::Failed => "failed",
            TaskState::Cancelled => "cancelled",
        }
    }

    /// The state with that name.
    pub fn parse(word: &str) -> Option<TaskState> {
        TaskState::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether the task will never change again by itself.
    pub const fn is_final(self) -> bool {
        match self {
            TaskState::Completed | TaskState::Failed | TaskState::Cancelled => true,
            TaskState::Blocked | TaskState::Pending | TaskState::Running => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::parse(state.as_str()), Some(state));
        }
        assert_eq!(TaskState::parse("done"), None);
        let finals = TaskState::ALL.map(TaskState::is_final);
        assert_eq!(finals, [false, false, false, true, true, true]);
    }
}
