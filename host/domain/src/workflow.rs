//! Workflows: nodes that are tasks, each of which waits for the nodes before it.
//!
//! Here is what storage keeps and what a claim tells of a node. What a node does when it is claimed is decided in
//! `core`.

pub mod definition;
pub mod graph;

use uuid::Uuid;

use crate::attempt::Payload;

/// A workflow's id: a UUIDv7 that the host made, or any UUID that the caller supplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowId(pub Uuid);

impl std::fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The state of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkflowState {
    /// Some of its nodes are not final.
    Running,
    /// The same, and none of them begins until it is resumed.
    Paused,
    /// Final: no node failed.
    Completed,
    /// Final: a node failed.
    Failed,
    /// Final: somebody cancelled it, or one of its nodes.
    Cancelled,
}

impl WorkflowState {
    /// Every state.
    pub const ALL: [WorkflowState; 5] = [
        WorkflowState::Running,
        WorkflowState::Paused,
        WorkflowState::Completed,
        WorkflowState::Failed,
        WorkflowState::Cancelled,
    ];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            WorkflowState::Running => "running",
            WorkflowState::Paused => "paused",
            WorkflowState::Completed => "completed",
            WorkflowState::Failed => "failed",
            WorkflowState::Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn parse(word: &str) -> Option<WorkflowState> {
        WorkflowState::ALL
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether it will never change again by itself.
    pub const fn is_final(self) -> bool {
        match self {
            WorkflowState::Completed | WorkflowState::Failed | WorkflowState::Cancelled => true,
            WorkflowState::Running | WorkflowState::Paused => false,
        }
    }
}

/// What a failed node does to those that have not begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// None of them runs.
    #[default]
    Stop,
    /// Nodes that do not depend on it still run.
    Continue,
}

impl OnFailure {
    /// Both words.
    pub const ALL: [OnFailure; 2] = [OnFailure::Stop, OnFailure::Continue];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            OnFailure::Stop => "stop",
            OnFailure::Continue => "continue",
        }
    }

    /// The one of that name.
    pub fn parse(word: &str) -> Option<OnFailure> {
        OnFailure::ALL
            .into_iter()
            .find(|policy| policy.as_str() == word)
    }
}

/// Which nodes of a final workflow are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryMode {
    /// Those that did not complete. The results of the others stay.
    Failed,
    /// The same, and all that come behind them.
    FailedAndDownstream,
    /// All.
    All,
}

impl RetryMode {
    /// Every mode.
    pub const ALL: [RetryMode; 3] = [
        RetryMode::Failed,
        RetryMode::FailedAndDownstream,
        RetryMode::All,
    ];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            RetryMode::Failed => "failed",
            RetryMode::FailedAndDownstream => "failed_and_downstream",
            RetryMode::All => "all",
        }
    }

    /// The mode of that name.
    pub fn parse(word: &str) -> Option<RetryMode> {
        RetryMode::ALL
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

/// What a claimed task is in its workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedNode {
    /// The workflow.
    pub workflow: WorkflowId,
    /// The node's name.
    pub name: String,
    /// Its place among the nodes.
    pub place: u32,
    /// How many nodes it waited for.
    pub parents: u32,
    /// Whether all of those are known to have completed. Otherwise whoever claims it looks how they ended.
    pub parents_completed: bool,
    /// What was kept of it for whoever claims it; storage does not look into it.
    pub plan: Option<String>,
    /// The place of the node whose instance it is.
    pub instance_of: Option<u32>,
    /// Whether it shall not begin until its workflow is resumed.
    pub is_paused: bool,
    /// Whether a failure of another node keeps it from running.
    pub is_stopping: bool,
    /// Whether its workflow was cancelled.
    pub is_cancelled: bool,
    /// What it was parked for, if it was claimed before and parked.
    pub parked: Option<ParkedFor>,
}

/// What a parked node waited for, once it is claimed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkedFor {
    /// Its instances, all of which are final.
    Instances,
    /// A signal: what came with it, or nothing if its time was over before.
    Signal(Option<Payload>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_round_trip() {
        for state in WorkflowState::ALL {
            assert_eq!(WorkflowState::parse(state.as_str()), Some(state));
        }
        for policy in OnFailure::ALL {
            assert_eq!(OnFailure::parse(policy.as_str()), Some(policy));
        }
        for mode in RetryMode::ALL {
            assert_eq!(RetryMode::parse(mode.as_str()), Some(mode));
        }
        assert_eq!(WorkflowState::parse("done"), None);
        let finals = WorkflowState::ALL.map(WorkflowState::is_final);
        assert_eq!(finals, [false, false, true, true, true]);
    }
}
