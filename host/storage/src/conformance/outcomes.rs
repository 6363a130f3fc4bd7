//! How attempts end, and changes by hand.

use std::time::Duration;

use bytes::Bytes;

use super::Backend;
use super::fixture::*;
use crate::{Cancelled, Finished, HeldTask, Progress, Retried, StorageError};
use cofferdam_domain::attempt::{
    Artifact, Captured, EgressUsage, Failure, FailureKind, Fence, LeftOut, Outcome, Stream,
    Streams, Usage,
};
use cofferdam_domain::claim::Next;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;

/// Every figure that an attempt has.
fn used() -> Usage {
    Usage {
        duration: Duration::from_micros(1234),
        cpu: Duration::from_micros(1000),
        fuel: Some(99),
        peak_memory_bytes: 65_536,
        disk_bytes: 7,
        egress: EgressUsage {
            requests: 3,
            in_bytes: 4096,
            out_bytes: 99,
        },
    }
}

pub(crate) async fn a_result_is_kept_with_its_streams<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    assert_eq!(storage.result(&MINE, id(1)).await.unwrap(), None);
    let mut end = completed(&claim, at(2));
    let stderr = Captured {
        bytes: Bytes::from_static(b"warning"),
        truncated: true,
    };
    end.streams = Streams {
        stderr: stderr.clone(),
        ..Streams::default()
    };
    end.artifacts = vec![Artifact {
        path: "a/b.png".to_owned(),
        size_bytes: 7,
    }];
    end.usage = used();
    end.left_out = LeftOut {
        symbolic_links: 1,
        too_many: 2,
        ..LeftOut::default()
    };
    let (usage, artifacts, left_out) = (end.usage, end.artifacts.clone(), end.left_out);
    assert_eq!(
        finish_one(storage, end).await,
        Finished::Recorded(TaskState::Completed)
    );
    let result = storage.result(&MINE, id(1)).await.unwrap();
    assert_eq!(result, Some(payload(b"42")));
    let stream = async |attempt, which| storage.stream(&MINE, id(1), attempt, which).await.unwrap();
    assert_eq!(stream(None, Stream::Stderr).await, Some(stderr.clone()));
    assert_eq!(stream(Some(1), Stream::Stderr).await, Some(stderr));
    assert_eq!(
        stream(Some(1), Stream::Log).await,
        Some(Captured::default())
    );
    assert_eq!(stream(Some(2), Stream::Log).await, None);
    let task = task(storage, 1).await;
    assert_eq!(
        (task.usage, task.result_bytes, task.failure),
        (Some(usage), Some(2), None)
    );
    assert_eq!((task.finished_at, task.updated_at), (Some(at(2)), at(2)));
    assert_eq!(task.truncated, [false, true, false]);
    let attempts = storage.attempts(&MINE, id(1), 0, 9).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].number, attempts[0].worker), (1, ME));
    assert_eq!(
        (attempts[0].digest, attempts[0].started_at),
        (digest(1), at(1))
    );
    assert_eq!(
        (
            attempts[0].usage,
            &attempts[0].artifacts,
            attempts[0].left_out
        ),
        (usage, &artifacts, left_out)
    );
    backend
}

pub(crate) async fn a_failure_is_kept<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    let failure = Failure {
        kind: FailureKind::Exit,
        message: "exit code 3".to_owned(),
        backtrace: Some("0: _start".to_owned()),
        transient: true,
        exit_code: Some(3),
    };
    finish_one(
        storage,
        end(&claim, at(2), Outcome::Failed(failure.clone()), Next::Fail),
    )
    .await;
    let task = task(storage, 1).await;
    assert_eq!(
        (task.state, task.failure),
        (TaskState::Failed, Some(failure.clone()))
    );
    assert_eq!(
        storage
            .attempt(&MINE, id(1), None)
            .await
            .unwrap()
            .unwrap()
            .failure,
        Some(failure)
    );
    assert_eq!(storage.result(&MINE, id(1)).await.unwrap(), None);
    backend
}

pub(crate) async fn retries_end_with_the_attempts<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, with_attempts(1, 2)).await;
    let first = claim_one(storage, ME, at(1)).await;
    let again = failed(&first, at(2), FailureKind::Trap, Next::RetryAt(at(5)));
    assert_eq!(
        finish_one(storage, again).await,
        Finished::Recorded(TaskState::Pending)
    );
    let waiting = task(storage, 1).await;
    assert_eq!((waiting.run_at, waiting.finished_at), (at(5), None));
    assert_eq!(
        waiting.failure.map(|failure| failure.kind),
        Some(FailureKind::Trap)
    );
    let second = claim_one(storage, ME, at(5)).await;
    assert_eq!(second.attempt, 2);
    let again = failed(&second, at(6), FailureKind::Trap, Next::RetryAt(at(9)));
    assert_eq!(
        finish_one(storage, again).await,
        Finished::Recorded(TaskState::Failed)
    );
    insert(storage, new_task(2)).await;
    let other = claim_one(storage, ME, at(7)).await;
    finish_one(storage, completed(&other, at(8))).await;
    let numbers = async |after, limit| -> Vec<u32> {
        let attempts = storage.attempts(&MINE, id(1), after, limit).await.unwrap();
        attempts.iter().map(|attempt| attempt.number).collect()
    };
    assert_eq!(numbers(0, 9).await, [1, 2]);
    assert_eq!(numbers(0, 1).await, [1]);
    assert_eq!(numbers(1, 9).await, [2]);
    for after in [2, 1 << 20, u32::MAX] {
        assert!(numbers(after, 9).await.is_empty());
    }
    let number = async |number| {
        let attempt = storage.attempt(&MINE, id(1), number).await.unwrap();
        attempt.map(|attempt| attempt.number)
    };
    assert_eq!(number(None).await, Some(2));
    assert_eq!(number(Some(1)).await, Some(1));
    for none in [0, 3, (1 << 20) + 1, u32::MAX] {
        assert_eq!(number(Some(none)).await, None);
    }
    backend
}

pub(crate) async fn progress_is_fenced<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    let report = |fence, fraction| Progress {
        task_id: id(1),
        tenant: US,
        fence,
        fraction,
        note: "half".to_owned(),
    };
    let stale = Fence(claim.fence.0 ^ 1);
    storage
        .report_progress(vec![report(claim.fence, 0.5), report(stale, 0.9)], at(2))
        .await
        .unwrap();
    let task = task(storage, 1).await;
    assert_eq!((task.progress, task.progress_note.as_str()), (0.5, "half"));
    assert_eq!(task.updated_at, at(2));
    backend
}

pub(crate) async fn cancel_by_state<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert_all(storage, vec![new_task(1), new_task(2)]).await;
    let cancel = async |number| storage.cancel(&MINE, id(number), at(4)).await.unwrap();
    let claim = claim_one(storage, ME, at(1)).await;
    assert_eq!(cancel(2).await, Cancelled::AtOnce);
    assert_eq!(cancel(2).await, Cancelled::Final(TaskState::Cancelled));
    assert_eq!(cancel(3).await, Cancelled::Unknown);
    assert_eq!(storage.cancel_requests(ME).await.unwrap(), []);
    assert_eq!(cancel(1).await, Cancelled::Requested(ME));
    assert_eq!(cancel(1).await, Cancelled::Requested(ME));
    assert_eq!(storage.cancel_requests(ME).await.unwrap(), [id(1)]);
    assert_eq!(storage.cancel_requests(OTHER).await.unwrap(), []);
    assert!(task(storage, 1).await.cancel_requested);
    let end = failed(&claim, at(5), FailureKind::Cancelled, Next::Cancel);
    assert_eq!(
        finish_one(storage, end).await,
        Finished::Recorded(TaskState::Cancelled)
    );
    assert!(!task(storage, 1).await.cancel_requested);
    assert_eq!(storage.cancel_requests(ME).await.unwrap(), []);
    backend
}

pub(crate) async fn retry_by_hand<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, with_attempts(1, 2)).await;
    let retry = async || storage.retry(&MINE, id(1), at(7)).await.unwrap();
    assert_eq!(retry().await, Retried::NotFailed(TaskState::Pending));
    let claim = claim_one(storage, ME, at(1)).await;
    finish_one(
        storage,
        failed(&claim, at(2), FailureKind::InvalidInput, Next::Fail),
    )
    .await;
    assert_eq!(retry().await, Retried::Pending);
    let waiting = task(storage, 1).await;
    assert_eq!(
        (waiting.attempt, waiting.max_attempts, waiting.run_at),
        (1, 3, at(7))
    );
    assert_eq!(
        (waiting.state, waiting.finished_at),
        (TaskState::Pending, None)
    );
    let claim = claim_one(storage, ME, at(7)).await;
    finish_one(storage, completed(&claim, at(8))).await;
    assert_eq!(retry().await, Retried::NotFailed(TaskState::Completed));
    assert_eq!(
        storage.retry(&MINE, id(9), at(7)).await.unwrap(),
        Retried::Unknown
    );
    backend
}

pub(crate) async fn an_attempt_that_never_began_is_forgotten<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    let back = failed(&claim, at(2), FailureKind::Lost, Next::GiveBack);
    assert_eq!(
        finish_one(storage, back.clone()).await,
        Finished::Recorded(TaskState::Pending)
    );
    let waiting = task(storage, 1).await;
    assert_eq!(
        (waiting.attempt, waiting.lost, waiting.max_attempts),
        (0, 0, 1)
    );
    assert_eq!(
        (waiting.run_at, waiting.started_at, waiting.worker),
        (at(0), None, None)
    );
    assert!(
        storage
            .attempts(&MINE, id(1), 0, 99)
            .await
            .unwrap()
            .is_empty()
    );
    let second = claim_one(storage, OTHER, at(3)).await;
    assert_eq!(
        (second.attempt, second.max_attempts, second.run_at),
        (1, 1, at(0))
    );
    // The same attempt number, but not the same fence.
    assert_eq!(finish_one(storage, back).await, Finished::Stale);
    storage.cancel(&MINE, id(1), at(4)).await.unwrap();
    let back = failed(&second, at(5), FailureKind::Cancelled, Next::GiveBack);
    assert_eq!(
        finish_one(storage, back).await,
        Finished::Recorded(TaskState::Cancelled)
    );
    backend
}

pub(crate) async fn a_postponed_task_waits_and_is_not_charged<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    let held = storage.held(ME).await.unwrap();
    assert_eq!(
        held,
        [HeldTask {
            task_id: claim.task_id,
            attempt: 1,
            fence: claim.fence
        }]
    );
    assert!(storage.held(OTHER).await.unwrap().is_empty());
    let later = failed(&claim, at(2), FailureKind::Lost, Next::Postpone(at(9)));
    assert_eq!(
        finish_one(storage, later).await,
        Finished::Recorded(TaskState::Pending)
    );
    assert!(storage.held(ME).await.unwrap().is_empty());
    let waiting = task(storage, 1).await;
    assert_eq!(
        (waiting.attempt, waiting.max_attempts, waiting.run_at),
        (0, 1, at(9))
    );
    let early = storage.claim(ME, 1, ClaimOrder::Priority, at(8)).await;
    assert!(early.unwrap().is_empty());
    let claim = claim_one(storage, ME, at(9)).await;
    assert_eq!(claim.attempt, 1);
    // A time that has come already changes nothing.
    let back = failed(&claim, at(10), FailureKind::Lost, Next::Postpone(at(5)));
    finish_one(storage, back).await;
    assert_eq!(task(storage, 1).await.run_at, at(9));
    backend
}

pub(crate) async fn a_given_back_task_is_not_charged<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    let claim = claim_one(storage, ME, at(1)).await;
    let back = failed(&claim, at(2), FailureKind::Lost, Next::RetryAt(at(2)));
    assert_eq!(
        finish_one(storage, back).await,
        Finished::Recorded(TaskState::Pending)
    );
    let claim = claim_one(storage, OTHER, at(3)).await;
    assert_eq!((claim.attempt, claim.lost), (2, 1));
    assert_eq!(task(storage, 1).await.max_attempts, 2);
    backend
}

/// The other ends are recorded if they are offered without it.
pub(crate) async fn an_end_too_large_for_a_row_is_refused<B: Backend>(backend: B) -> B {
    const FILES: usize = 70_000;
    let storage = backend.storage();
    insert_all(storage, vec![new_task(1), new_task(2)]).await;
    let claims = storage.claim(ME, 2, ClaimOrder::Fifo, at(1)).await.unwrap();
    let mut large = completed(&claims[0], at(2));
    let path = "x".repeat(1000);
    let file = |number| Artifact {
        path: format!("{path}/{number}"),
        size_bytes: 0,
    };
    large.artifacts = (0..FILES).map(file).collect();
    let both = vec![large, completed(&claims[1], at(2))];
    let refused = storage.finish(both.clone()).await;
    assert!(
        matches!(refused, Err(StorageError::TooLarge(_))),
        "{refused:?}"
    );
    assert_eq!(storage.counts(&MINE).await.unwrap().running, 2);
    let recorded = storage.finish(both[1..].to_vec()).await.unwrap();
    assert_eq!(recorded, [Finished::Recorded(TaskState::Completed)]);
    backend
}

pub(crate) async fn a_large_output_is_kept_as_long_as_its_task<B: Backend>(backend: B) -> B {
    const LARGE: &[u8] = &[7; 3 << 20];
    let storage = backend.storage();
    insert_all(storage, (1..=3).map(new_task).collect()).await;
    let large = |claim: &_, now| {
        end(
            claim,
            at(now),
            Outcome::Completed(payload(LARGE)),
            Next::Complete,
        )
    };
    for number in 1..=2 {
        let claim = claim_one(storage, ME, at(1)).await;
        finish_one(storage, large(&claim, 2)).await;
        assert_eq!(finish_one(storage, large(&claim, 2)).await, Finished::Stale);
        assert_eq!(task(storage, number).await.result_bytes, Some(3 << 20));
    }
    let claim = claim_one(storage, ME, at(1)).await;
    storage.cancel(&MINE, id(3), at(2)).await.unwrap();
    finish_one(storage, large(&claim, 3)).await;
    storage.purge(&MINE, id(1)).await.unwrap();
    let backend = backend.reopened().await;
    let storage = backend.storage();
    let result = storage.result(&MINE, id(2)).await.unwrap();
    assert_eq!(result, Some(payload(LARGE)));
    let attempts = storage.attempts(&MINE, id(2), 0, 99).await.unwrap();
    assert_eq!(attempts[0].result_bytes, 3 << 20);
    storage.prune(at(9), 0, 9, at(9)).await.unwrap();
    assert_eq!(storage.result(&MINE, id(2)).await.unwrap(), None);
    backend
}
