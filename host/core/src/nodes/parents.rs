//! What the ends of the nodes before one mean for it.

use super::plan::{Plan, Work, entry};
use super::{Decision, failed};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;
use cofferdam_storage::EndBefore;

/// What the ends of the nodes before it mean for a node, if it does not go on.
pub(super) fn by_parents(plan: &Plan, ended: &[EndBefore]) -> Option<Decision> {
    if plan.of.is_some() {
        return None;
    }
    if plan.work == Work::End {
        return end_of_nested(plan, ended);
    }
    let bad = ended.iter().find(|end| end.state != TaskState::Completed);
    let bad = bad.filter(|_| !plan.runs_after_failure)?;
    Some(Decision::Skip(format!("parent_failed:{}", bad.name)))
}

/// A nested workflow did not begin, or failed with one of its nodes. Nodes that a condition kept from running are no
/// failure.
fn end_of_nested(plan: &Plan, ended: &[EndBefore]) -> Option<Decision> {
    let entry = entry(&plan.within);
    if let Some(entry) = ended
        .iter()
        .find(|end| end.name == entry && is_skipped(end))
    {
        let why = entry
            .failure
            .as_ref()
            .map(|failure| failure.message.clone());
        return Some(Decision::Skip(why.unwrap_or_default()));
    }
    let is_bad = |end: &&EndBefore| match end.state {
        TaskState::Completed => false,
        TaskState::Cancelled => !(is_skipped(end) && reason(end) == "condition"),
        TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Failed => true,
    };
    ended.iter().find(is_bad).map(failed_with)
}

/// The failure of a node with one that is a part of it.
pub(super) fn failed_with(bad: &EndBefore) -> Decision {
    let message = format!("{} {}: {}", bad.name, bad.state.as_str(), reason(bad));
    failed(FailureKind::GuestError, message)
}

pub(super) fn is_skipped(end: &EndBefore) -> bool {
    let kind = end.failure.as_ref().map(|failure| failure.kind);
    kind == Some(FailureKind::Skipped)
}

fn reason(end: &EndBefore) -> &str {
    end.failure
        .as_ref()
        .map_or("", |failure| failure.message.as_str())
}
