//! The lists of a history: storage finds the tasks that the model knows, newest first.

use super::Model;
use super::known::Known;
use crate::conformance::Storage;
use crate::conformance::fixture::*;
use crate::{Labelled, TaskFilter};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::label::{Label, is_dead};
use cofferdam_domain::state::TaskState;

/// More than there are tasks.
const ALL: u32 = 100;

impl Model {
    pub(super) async fn compare_lists(&self, storage: &dyn Storage) {
        for kind in FailureKind::ALL {
            let filter = TaskFilter {
                error_kinds: vec![kind],
                ..TaskFilter::default()
            };
            self.compare_list(storage, filter, |task| task.error() == Some(kind))
                .await;
        }
        for label in Label::ALL {
            let labelled = Labelled {
                any: vec![label],
                now: at(self.now),
            };
            let filter = TaskFilter {
                labels: Some(labelled),
                ..TaskFilter::default()
            };
            self.compare_list(storage, filter, |task| label_of(task, self.now) == label)
                .await;
        }
    }

    async fn compare_list(
        &self,
        storage: &dyn Storage,
        filter: TaskFilter,
        passes: impl Fn(&Known) -> bool,
    ) {
        let page = storage.tasks(&US, &filter, ALL).await.unwrap();
        let found: Vec<_> = page.tasks.iter().map(|task| task.id).collect();
        let passing = self.tasks.iter().filter(|(_, task)| passes(task));
        let mut expected: Vec<_> = passing
            .map(|(number, task)| (task.age, id(*number)))
            .collect();
        expected.sort_unstable_by(|a, b| b.cmp(a));
        let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
        assert_eq!((found, page.next), (expected, None), "{filter:?}");
    }
}

fn label_of(task: &Known, now: i64) -> Label {
    let state = task.seen.state;
    if task.is_pending() && task.run_at > now {
        return match task.seen.attempt {
            0 => Label::Scheduled,
            _ => Label::Retrying,
        };
    }
    if state == TaskState::Running && task.seen.cancel_requested {
        return Label::Cancelling;
    }
    let (attempt, max_attempts) = (task.seen.attempt, task.seen.max_attempts);
    if state == TaskState::Failed && is_dead(task.error(), attempt, max_attempts) {
        return Label::Dead;
    }
    Label::parse(state.as_str()).expect("a state's word is a label's")
}
