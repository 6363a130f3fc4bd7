//! Lists of tasks.

use super::fixture::{task as task_of, *};
use super::{Backend, Storage};
use crate::{ChangeNumber, Labelled, ListPosition, Since, TaskFilter, TaskPage};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::label::Label;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{NewTask, Priority, TaskId};
use cofferdam_domain::time::Timestamp;

/// Every page of a listing, two tasks a page.
async fn pages(storage: &dyn Storage, mut filter: TaskFilter) -> Vec<TaskId> {
    let mut ids = Vec::new();
    loop {
        let page = storage.tasks(&US, &filter, 2).await.unwrap();
        assert!(page.tasks.len() <= 2);
        ids.extend(ids_of(&page));
        match page.next {
            Some(next) => filter.after = Some(next),
            // Begun anew with what could not be listed yet.
            None if filter.since.is_some() && page.as_of < page.newest => {
                filter.after = None;
                ids.clear();
            }
            None => return ids,
        }
    }
}

fn ids_of(page: &TaskPage) -> Vec<TaskId> {
    page.tasks.iter().map(|task| task.id).collect()
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
    // The task at which a page ended may be gone when the next is asked for.
    let first = storage.tasks(&US, &TaskFilter::default(), 5).await.unwrap();
    assert_eq!(ids_of(&first), [6, 5, 4, 3, 2].map(id));
    storage.prune(at(11), 9, 9, at(12)).await.unwrap();
    let rest = TaskFilter {
        after: first.next,
        ..TaskFilter::default()
    };
    assert_eq!(pages(storage, rest).await, [id(1)]);
    // A place is any number that a caller may come up with.
    for place in [i64::MIN, -1, 0, i64::MAX] {
        for since in [None, Some(Since::Change(ChangeNumber(0)))] {
            let filter = TaskFilter {
                since,
                after: Some(ListPosition(place)),
                ..TaskFilter::default()
            };
            storage.tasks(&US, &filter, 2).await.unwrap();
        }
    }
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
    let failed_of_module = TaskFilter {
        module: Some(name("echo")),
        ..by_state(&[Failed, Pending])
    };
    assert_eq!(pages(storage, failed_of_module).await, [5, 2].map(id));
    let unknown = TaskFilter {
        module: Some(name("nowhere")),
        ..TaskFilter::default()
    };
    assert_eq!(pages(storage, unknown).await, []);
    backend
}

pub(crate) async fn by_label<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=6).map(|n| with_attempts(n, 2)).collect()).await;
    let later = NewTask {
        run_at: at(100),
        ..new_task(7)
    };
    insert(storage, later).await;
    let retried = claim_one(storage, ME, at(1)).await;
    let end = failed(&retried, at(2), FailureKind::Trap, Next::RetryAt(at(100)));
    finish_one(storage, end).await;
    for now in [3, 4] {
        claim_one(storage, ME, at(now)).await;
    }
    storage.cancel(&MINE, id(3), at(5)).await.unwrap();
    storage.cancel(&MINE, id(4), at(5)).await.unwrap();
    let labelled = |any: &[Label], now| TaskFilter {
        labels: Some(Labelled {
            any: any.to_vec(),
            now: at(now),
        }),
        ..TaskFilter::default()
    };
    use Label::{Cancelled, Cancelling, Pending, Retrying, Running, Scheduled};
    for (label, expected) in [
        (Scheduled, &[7][..]),
        (Retrying, &[1]),
        (Pending, &[6, 5]),
        (Running, &[2]),
        (Cancelling, &[3]),
        (Cancelled, &[4]),
        (Label::Failed, &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|number| id(*number)).collect();
        let found = pages(storage, labelled(&[label], 10)).await;
        assert_eq!(found, expected, "{label:?}");
        // As each task says of itself.
        for task in 1..=7 {
            let has = task_of(storage, task).await.label(at(10)) == label;
            assert_eq!(has, expected.contains(&id(task)), "{label:?} {task}");
        }
    }
    let later = labelled(&[Scheduled, Retrying, Cancelled], 100);
    assert_eq!(pages(storage, later).await, [id(4)]);
    let changed = TaskFilter {
        since: Some(Since::Change(ChangeNumber(0))),
        states: vec![TaskState::Pending],
        ..labelled(&[Retrying, Cancelling], 10)
    };
    assert_eq!(pages(storage, changed).await, [id(1)]);
    backend
}

pub(crate) async fn by_kind_of_failure<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=4).map(|n| with_attempts(n, 3)).collect()).await;
    let kinds = |kinds: &[FailureKind]| TaskFilter {
        error_kinds: kinds.to_vec(),
        ..TaskFilter::default()
    };
    let fail = async |kind, next: fn(Timestamp) -> Next| {
        let claim = claim_one(storage, ME, at(1)).await;
        let end = failed(&claim, at(2), kind, next(at(0)));
        finish_one(storage, end).await;
    };
    use FailureKind::{Timeout, Trap};
    fail(Trap, Next::RetryAt).await;
    assert_eq!(pages(storage, kinds(&[Trap])).await, [id(1)]);
    // A claim that is given back leaves what the attempt before it left.
    let claim = claim_one(storage, ME, at(3)).await;
    assert_eq!((claim.task_id, claim.attempt), (id(1), 2));
    finish_one(storage, failed(&claim, at(4), Timeout, Next::GiveBack)).await;
    assert_eq!(pages(storage, kinds(&[Trap])).await, [id(1)]);
    let claim = claim_one(storage, ME, at(5)).await;
    finish_one(storage, completed(&claim, at(6))).await;
    assert_eq!(pages(storage, kinds(&[Trap])).await, []);
    fail(Timeout, |_| Next::Fail).await;
    fail(Trap, |_| Next::Fail).await;
    assert_eq!(pages(storage, kinds(&[Timeout])).await, [id(2)]);
    let both = pages(storage, kinds(&[Timeout, Trap, Trap])).await;
    assert_eq!(both, [3, 2].map(id));
    let changed = TaskFilter {
        since: Some(Since::Change(ChangeNumber(0))),
        ..kinds(&[Timeout])
    };
    assert_eq!(pages(storage, changed).await, [id(2)]);
    let other = TaskFilter {
        module: Some(name("other")),
        ..kinds(&[Timeout])
    };
    assert_eq!(pages(storage, other).await, []);
    // A task that is tried anew shows its failure until another attempt has ended.
    storage.retry(&MINE, id(2), at(7)).await.unwrap();
    assert_eq!(pages(storage, kinds(&[Timeout])).await, [id(2)]);
    backend
}

pub(crate) async fn dead_letters<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let allowed = [1, 3, 2, 3, 2];
    let tasks = (1..).zip(allowed).map(|(n, most)| {
        let mut task = with_attempts(n, most);
        task.spec.retry.max_lost = 0;
        task.spec.module = name(if n == 4 { "other" } else { "echo" });
        task
    });
    insert_all(storage, tasks.collect()).await;
    use FailureKind::{Lost, Trap};
    let fail = async |kind, next: fn(Timestamp) -> Next| {
        let claim = claim_one(storage, ME, at(1)).await;
        finish_one(storage, failed(&claim, at(2), kind, next(at(1)))).await;
    };
    // Its only attempt; one that it wanted no other after; both of two; one host too many.
    fail(Trap, Next::RetryAt).await;
    fail(Trap, |_| Next::Fail).await;
    fail(Trap, |_| Next::RetryAt(at(0))).await;
    fail(Trap, Next::RetryAt).await;
    fail(Lost, Next::RetryAt).await;
    // This one has an attempt left.
    fail(Trap, |_| Next::RetryAt(at(50))).await;
    let labelled = |label| TaskFilter {
        labels: Some(Labelled {
            any: vec![label],
            now: at(9),
        }),
        ..TaskFilter::default()
    };
    let dead = || labelled(Label::Dead);
    assert_eq!(pages(storage, dead()).await, [4, 3].map(id));
    assert_eq!(
        pages(storage, labelled(Label::Failed)).await,
        [2, 1].map(id)
    );
    let narrowed = [
        TaskFilter {
            module: Some(name("echo")),
            ..dead()
        },
        TaskFilter {
            error_kinds: vec![Trap],
            ..dead()
        },
        TaskFilter {
            states: vec![TaskState::Failed, TaskState::Cancelled],
            module: Some(name("echo")),
            ..dead()
        },
    ];
    for filter in narrowed {
        assert_eq!(pages(storage, filter).await, [id(3)]);
    }
    let changed = TaskFilter {
        since: Some(Since::Change(ChangeNumber(0))),
        ..dead()
    };
    assert_eq!(pages(storage, changed).await, [3, 4].map(id));
    let none = TaskFilter {
        states: vec![TaskState::Completed],
        ..dead()
    };
    assert_eq!(pages(storage, none).await, []);
    let found = storage.task_ids(&US, &dead(), 9).await.unwrap();
    assert_eq!(found.ids, [4, 3].map(id));
    // Help from outside brings it back to life.
    storage.retry_all(&MINE, found.ids, at(10)).await.unwrap();
    assert_eq!(pages(storage, dead()).await, []);
    backend
}

pub(crate) async fn by_metadata<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let metadata = [
        r#"{"team": "a", "n": 7, "on": true, "x.y": "\u00e9", "list": [1]}"#,
        r#"{"team": "b", "n": "7", "on": null}"#,
        "{}",
        r#"{"team": {"a": 1}, "n": 18446744073709551617}"#,
    ];
    for (number, text) in (1..).zip(metadata) {
        let mut task = new_task(number);
        task.spec.metadata = text.to_owned();
        insert(storage, task).await;
    }
    let found = async |members: &[(&str, &str)]| {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let filter = TaskFilter {
            metadata: members.iter().map(pair).collect(),
            ..TaskFilter::default()
        };
        pages(storage, filter).await
    };
    assert_eq!(found(&[("team", "a")]).await, [id(1)]);
    assert_eq!(found(&[("n", "7")]).await, [2, 1].map(id));
    assert_eq!(found(&[("n", "7"), ("team", "b")]).await, [id(2)]);
    assert_eq!(found(&[("on", "true")]).await, [id(1)]);
    assert_eq!(found(&[("on", "null")]).await, [id(2)]);
    assert_eq!(found(&[("x.y", "é")]).await, [id(1)]);
    assert_eq!(found(&[("n", "18446744073709551617")]).await, [id(4)]);
    for nothing in [
        ("list", "[1]"),
        ("team", "{\"a\":1}"),
        ("x", "é"),
        ("a", "1"),
    ] {
        assert_eq!(found(&[nothing]).await, [], "{nothing:?}");
    }
    backend
}

pub(crate) async fn by_their_ids<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, vec![new_task(1), new_task(2), new_task(3)]).await;
    claim_one(storage, ME, at(1)).await;
    let found = storage.some_tasks(vec![id(3), id(9), id(1)]).await.unwrap();
    let mut found: Vec<_> = found.iter().map(|task| (task.id, task.state)).collect();
    found.sort_unstable_by_key(|(id, _)| *id);
    let expected = [(id(1), TaskState::Running), (id(3), TaskState::Pending)];
    assert_eq!(found, expected);
    assert!(storage.some_tasks(Vec::new()).await.unwrap().is_empty());
    backend
}

pub(crate) async fn by_change<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    one_of_each(storage).await;
    let since = |now| TaskFilter {
        since: Some(Since::Time(at(now))),
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

pub(crate) async fn by_change_number<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    one_of_each(storage).await;
    let since = |number| TaskFilter {
        since: Some(Since::Change(number)),
        ..TaskFilter::default()
    };
    let read = async |number| {
        loop {
            let page = storage.tasks(&US, &since(number), 4).await.unwrap();
            if page.next.is_some() || page.as_of == page.newest {
                return page;
            }
        }
    };
    let first = read(ChangeNumber(0)).await;
    assert_eq!(ids_of(&first), [5, 6, 4, 2].map(id));
    let second = read(first.as_of).await;
    assert_eq!(ids_of(&second), [1, 3].map(id));
    assert_eq!((second.next, second.as_of), (None, second.newest));
    let all = storage.tasks(&US, &TaskFilter::default(), 2).await.unwrap();
    assert_eq!(all.newest, second.newest);
    assert!(all.as_of <= all.newest);

    // The clock does not matter: numbers are given at the commit.
    storage.cancel(&MINE, id(5), at(-100)).await.unwrap();
    let third = read(second.as_of).await;
    assert_eq!(ids_of(&third), [id(5)]);
    assert!(third.as_of > second.as_of);

    // A number is never given twice, not even when the task that had the newest one is gone.
    storage.prune(at(99), 0, 99, at(99)).await.unwrap();
    let backend = backend.reopened().await;
    let storage = backend.storage();
    insert(storage, new_task(9)).await;
    let fourth = pages(storage, since(third.as_of)).await;
    assert_eq!(fourth, [id(9)]);
    backend
}
