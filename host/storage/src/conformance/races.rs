//! Concurrent calls that want different things of one task.

use std::collections::HashSet;

use super::Backend;
use super::fixture::*;
use crate::{Cancelled, Finished};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;

pub(crate) async fn one_finish_of_two_counts<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=50).map(new_task).collect()).await;
    let claims = storage
        .claim(ME, 50, ClaimOrder::Priority, at(1))
        .await
        .unwrap();
    for claim in &claims {
        let good = storage.finish(vec![completed(claim, at(2))]);
        let bad = storage.finish(vec![failed(claim, at(2), FailureKind::Timeout, Next::Fail)]);
        let (good, bad) = tokio::join!(good, bad);
        match (good.unwrap()[0], bad.unwrap()[0]) {
            (Finished::Recorded(TaskState::Completed), Finished::Stale)
            | (Finished::Stale, Finished::Recorded(TaskState::Failed)) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(
            storage
                .attempts(&MINE, claim.task_id, 0, 99)
                .await
                .unwrap()
                .len(),
            1
        );
    }
    backend
}

pub(crate) async fn a_stale_fence_changes_nothing<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let lost = claim_one(storage, OTHER, at(1)).await;
    assert_eq!(storage.rescue(ME, at(2), 10, at(2)).await.unwrap().len(), 1);
    assert_eq!(
        finish_one(storage, completed(&lost, at(3))).await,
        Finished::Stale
    );
    let held = claim_one(storage, ME, at(3)).await;
    assert_ne!(held.fence, lost.fence);
    assert_eq!(
        finish_one(storage, completed(&lost, at(4))).await,
        Finished::Stale
    );
    let mut wrong_attempt = completed(&held, at(4));
    wrong_attempt.attempt += 1;
    assert_eq!(finish_one(storage, wrong_attempt).await, Finished::Stale);
    assert_eq!(state(storage, 1).await, TaskState::Running);
    let done = completed(&held, at(5));
    assert_eq!(
        finish_one(storage, done).await,
        Finished::Recorded(TaskState::Completed)
    );
    backend
}

pub(crate) async fn cancel_beats_a_retry<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, with_attempts(1, 5)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    storage.cancel(&MINE, id(1), at(2)).await.unwrap();
    let again = failed(&claim, at(3), FailureKind::Trap, Next::RetryAt(at(9)));
    assert_eq!(
        finish_one(storage, again).await,
        Finished::Recorded(TaskState::Cancelled)
    );
    backend
}

pub(crate) async fn a_cancel_beats_a_result<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    storage.cancel(&MINE, id(1), at(2)).await.unwrap();
    let done = completed(&claim, at(3));
    assert_eq!(
        finish_one(storage, done).await,
        Finished::Recorded(TaskState::Cancelled)
    );
    let late = storage.cancel(&MINE, id(1), at(4)).await.unwrap();
    assert_eq!(late, Cancelled::Final(TaskState::Cancelled));
    // What the guest gave is kept with the cancelled task.
    let attempts = storage.attempts(&MINE, id(1), 0, 99).await.unwrap();
    assert!(attempts[0].failure.is_none() && attempts[0].result_bytes > 0);
    assert!(storage.result(&MINE, id(1)).await.unwrap().is_some());
    backend
}

/// The end is recorded among the ends of others, which share its commit.
pub(crate) async fn a_cancel_beats_a_claim_given_back<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=3).map(new_task).collect()).await;
    let claims = storage.claim(ME, 3, ClaimOrder::Fifo, at(1)).await.unwrap();
    storage.cancel(&MINE, id(2), at(2)).await.unwrap();
    let ends = claims
        .iter()
        .map(|claim| failed(claim, at(3), FailureKind::Lost, Next::GiveBack));
    assert_eq!(
        storage.finish(ends.collect()).await.unwrap(),
        [TaskState::Pending, TaskState::Cancelled, TaskState::Pending].map(Finished::Recorded)
    );
    let cancelled = task(storage, 2).await;
    assert_eq!(
        (cancelled.cancel_requested, cancelled.finished_at),
        (false, Some(at(3)))
    );
    assert_eq!(cancelled.failure.unwrap().kind, FailureKind::Cancelled);
    backend
}

pub(crate) async fn a_cancel_beats_a_loss<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=2).map(new_task).collect()).await;
    for (number, next) in [(1, Next::Fail), (2, Next::RetryAt(at(3)))] {
        let claim = claim_one(storage, ME, at(1)).await;
        storage.cancel(&MINE, id(number), at(2)).await.unwrap();
        let lost = failed(&claim, at(3), FailureKind::Lost, next);
        assert_eq!(
            finish_one(storage, lost).await,
            Finished::Recorded(TaskState::Cancelled)
        );
        assert_eq!(task(storage, number).await.lost, 1);
    }
    backend
}

pub(crate) async fn no_task_is_claimed_twice<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, (1..=300).map(new_task).collect()).await;
    let claim = |worker| storage.claim(worker, 40, ClaimOrder::Priority, at(1));
    let mut seen = HashSet::new();
    let mut fences = HashSet::new();
    // A claim may find that another took what it chose; whoever asks again gets the rest.
    while storage.next_run_at(ME).await.unwrap().is_some() {
        let before = seen.len();
        let (a, b, c, d) = tokio::join!(claim(ME), claim(OTHER), claim(ME), claim(OTHER));
        for claim in [a, b, c, d].into_iter().flat_map(Result::unwrap) {
            assert!(seen.insert(claim.task_id));
            assert!(fences.insert(claim.fence));
        }
        assert!(seen.len() > before, "of several claims one gets something");
    }
    assert_eq!(seen.len(), 300);
    backend
}
