//! Lists of tasks.

use super::Backend;
use super::fixture::*;
use crate::{ListPosition, Storage, TaskFilter};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Priority, Task, TaskId};

/// Every page of a listing, two tasks a page.
async fn pages(storage: &dyn Storage, mut filter: TaskFilter) -> Vec<TaskId> {
    let mut ids = Vec::new();
    loop {
        let page = storage.tasks(&filter, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else {
            return ids;
        };
        filter.after = Some(position(last, &filter));
        ids.extend(page.iter().map(|task| task.id));
    }
}

fn position(task: &Task, filter: &TaskFilter) -> ListPosition {
    let at = if filter.changed_since.is_some() {
        task.updated_at
    } else {
        task.created_at
    };
    ListPosition { at, id: task.id }
}

/// 1 completed, 2 failed, 3 cancelled, 4 running, 5 and 6 pending.
async fn one_of_each(storage: &dyn Storage) {
    let mut task = with_priority(6, Priority::Low);
    task.spec.module = name("other");
    insert_all(storage, (1..=5).map(new_task).collect()).await;
    insert(storage, task).await;
    let claims = [1, 2, 3, 4].map(|now| claim_one(storage, ME, at(now)));
    let [first, second, third, fourth] = claims;
    let (first, second, third) = (first.await, second.await, third.await);
    fourth.await;
    finish_one(
        storage,
        failed(&second, at(10), FailureKind::Trap, Next::Fail),
    )
    .await;
    finish_one(storage, completed(&first, at(11))).await;
    finish_one(
        storage,
        failed(&third, at(11), FailureKind::Cancelled, Next::Cancel),
    )
    .await;
}

pub(crate) async fn newest_first_page_by_page<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    one_of_each(storage).await;
    let ids = pages(storage, TaskFilter::default()).await;
    assert_eq!(ids, [6, 5, 4, 3, 2, 1].map(id));
    // The place where a page ended may be gone when the next is asked for.
    let after = Some(ListPosition {
        at: at(0),
        id: id(2),
    });
    storage.prune(at(11), 9, 9, at(12)).await.unwrap();
    let rest = storage
        .tasks(
            &TaskFilter {
                after,
                ..TaskFilter::default()
            },
            9,
        )
        .await
        .unwrap();
    assert!(rest.iter().any(|task| task.id == id(1)));
    backend
}

pub(crate) async fn by_state_module_and_priority<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    one_of_each(storage).await;
    let by_state = |states: &[TaskState]| TaskFilter {
        states: states.to_vec(),
        ..Default::default()
    };
    use TaskState::{Blocked, Cancelled, Completed, Failed, Pending, Running};
    assert_eq!(pages(storage, by_state(&[Completed])).await, [id(1)]);
    assert_eq!(pages(storage, by_state(&[Pending])).await, [6, 5].map(id));
    assert_eq!(
        pages(storage, by_state(&[Failed, Cancelled, Running])).await,
        [4, 3, 2].map(id)
    );
    assert_eq!(pages(storage, by_state(&[Blocked])).await, []);
    let module = TaskFilter {
        module: Some(name("other")),
        ..TaskFilter::default()
    };
    assert_eq!(pages(storage, module).await, [id(6)]);
    let priority = TaskFilter {
        priority: Some(Priority::Normal),
        states: vec![Pending, Completed],
        ..TaskFilter::default()
    };
    assert_eq!(pages(storage, priority).await, [5, 1].map(id));
    backend
}

pub(crate) async fn by_change<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    one_of_each(storage).await;
    let since = |now| TaskFilter {
        changed_since: Some(at(now)),
        ..TaskFilter::default()
    };
    assert_eq!(pages(storage, since(0)).await, [5, 6, 4, 2, 1, 3].map(id));
    assert_eq!(pages(storage, since(4)).await, [4, 2, 1, 3].map(id));
    assert_eq!(pages(storage, since(11)).await, [1, 3].map(id));
    let failed = TaskFilter {
        states: vec![TaskState::Failed],
        ..since(0)
    };
    assert_eq!(pages(storage, failed).await, [id(2)]);
    backend
}
