//! Plans a list of tasks: which indexes it follows, and where a page ends. One rule for every database.
//!
//! How an index is searched, and what SQL says so, is each backend's own.

use crate::{Counts, TaskFilter};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::label::Label;
use cofferdam_domain::state::TaskState;

/// By how much the time of a change may lie behind that of an earlier one. Changes are numbered when
/// they are made and dated when they were asked for.
pub(crate) const DISORDER_MAX_MS: i64 = 60_000;
/// Up to this many waiting or running tasks are sorted; if there are more, a scan finds them soon.
const SORTED_MAX: u64 = 20_000;
/// The most tasks examined for one page.
const SCAN_MAX: i64 = 50_000;
/// The most tasks whose metadata is examined for one page; each may be 16 KiB of JSON.
const SCAN_METADATA_MAX: i64 = 2_000;

/// `cofferdam_domain::label::is_dead`, of a failed task. The index `task_dead` says the same.
macro_rules! has_given_up {
    () => {
        "(error_kind = 'lost' OR (attempt >= max_attempts AND max_attempts > 1))"
    };
}

/// What a row says of a dead letter, in every database.
pub(crate) const DEAD: &str = concat!("state = 4 AND ", has_given_up!());
/// What a row says of a task that failed and is none.
pub(crate) const FAILED_ONLY: &str = concat!("state = 4 AND NOT ", has_given_up!());

/// An index that a list follows, with a place for each task of its tenant in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// Every task, by its `seq`.
    Seq,
    /// Those of one module, by their `seq`.
    Name(i64),
    /// Those of a state with few tasks, by their `seq`, after sorting.
    Few(TaskState),
    /// Those that failed or were cancelled, by their `seq`.
    Unsuccessful(TaskState),
    /// Dead letters, by their `seq`.
    Dead,
    /// Those that show a failure of one kind, by their `seq`.
    ErrorKind(FailureKind),
    /// Every task, by its newest change.
    Change,
}

/// How tasks are found by their states.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ByState {
    /// The indexes to follow.
    pub(crate) paths: Vec<Path>,
    /// The states that the indexes do not answer; all if empty.
    pub(crate) rest: Vec<TaskState>,
}

/// Places and `seq`s of the tasks found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) tasks: Vec<(i64, i64)>,
    /// Where the search ended before the end of the path.
    pub(crate) stopped_at: Option<i64>,
}

/// The states that `filter` asks for by name and by label, all if empty; `None` if no task can pass.
pub(crate) fn asked_states(filter: &TaskFilter) -> Option<Vec<TaskState>> {
    let Some(labelled) = &filter.labels else {
        return Some(filter.states.clone());
    };
    let asked = |state: &TaskState| filter.states.is_empty() || filter.states.contains(state);
    let has_label = |state: &TaskState| labelled.any.iter().any(|it| it.state() == *state);
    let states: Vec<TaskState> = TaskState::ALL
        .into_iter()
        .filter(|state| asked(state) && has_label(state))
        .collect();
    (!states.is_empty()).then_some(states)
}

/// `filter` without its labels if it asks for dead letters alone, which have an index of their own.
pub(crate) fn without_dead(filter: &TaskFilter) -> Option<TaskFilter> {
    let labelled = filter.labels.as_ref()?;
    let is_dead = |label: &Label| *label == Label::Dead;
    let alone = !labelled.any.is_empty() && labelled.any.iter().all(is_dead);
    alone.then(|| TaskFilter {
        labels: None,
        ..filter.clone()
    })
}

/// The indexes of those kinds of failure.
pub(crate) fn by_kind(asked: &[FailureKind]) -> Vec<Path> {
    // Each once, or its tasks would be listed twice.
    let kinds = FailureKind::ALL.into_iter();
    let kinds = kinds.filter(|kind| asked.contains(kind));
    kinds.map(Path::ErrorKind).collect()
}

/// How tasks of these states, all if empty, are found; `None` if there are none.
pub(crate) fn by_state(asked: &[TaskState], counts: &Counts) -> Option<ByState> {
    let occurring: Vec<TaskState> = TaskState::ALL
        .into_iter()
        .filter(|state| asked.contains(state) && counts.of(*state) > 0)
        .collect();
    if occurring.is_empty() && !asked.is_empty() {
        return None;
    }
    let path = |state: TaskState| match state {
        TaskState::Pending | TaskState::Running if counts.of(state) <= SORTED_MAX => {
            Some(Path::Few(state))
        }
        TaskState::Failed | TaskState::Cancelled => Some(Path::Unsuccessful(state)),
        TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Completed => None,
    };
    let exact: Option<Vec<Path>> = occurring.iter().map(|state| path(*state)).collect();
    Some(match exact {
        Some(paths) if !paths.is_empty() => ByState {
            paths,
            rest: Vec::new(),
        },
        Some(_) | None => ByState {
            paths: vec![Path::Seq],
            rest: occurring,
        },
    })
}

/// How many tasks may be examined for one page.
pub(crate) fn scan_max(reads_metadata: bool) -> i64 {
    match reads_metadata {
        true => SCAN_METADATA_MAX,
        false => SCAN_MAX,
    }
}

impl Found {
    /// A page of these tasks, with a next page behind its last task if there are more.
    pub(crate) fn cut(mut self, limit: u32) -> Found {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if self.tasks.len() > limit {
            self.tasks.truncate(limit);
            self.stopped_at = self.tasks.last().map(|(place, _)| *place);
        }
        self
    }

    /// A page of what was found along several paths, the highest place first.
    pub(crate) fn merged(parts: Vec<Found>, limit: u32) -> Found {
        let stopped_at = parts.iter().filter_map(|part| part.stopped_at).max();
        let mut tasks: Vec<(i64, i64)> = parts.into_iter().flat_map(|part| part.tasks).collect();
        tasks.sort_unstable_by(|a, b| b.cmp(a));
        // Below that place one of the paths may have more.
        let floor = stopped_at.unwrap_or(i64::MIN);
        tasks.retain(|(place, _)| *place >= floor);
        Found { tasks, stopped_at }.cut(limit)
    }
}
