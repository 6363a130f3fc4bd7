//! Every call of the queue, and every step of an attempt, given up after so many polls: for every
//! number from none to all it needs. Slots, places, waiters and rooms are free again, and nothing
//! that was acknowledged is lost.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::stage::{PATIENCE, START, Stage, becomes, completed, one_slot, plain};
use crate::nodes::Given;
use crate::queue::completer::Recorder;
use crate::queue::ends;
use crate::queue::executor::{Attempts, Executor, failed};
use crate::queue::settings::QueueConfig;
use crate::queue::{Submission, Submitted, dispatcher, lanes};
use crate::runner::NotYet;
use cofferdam_domain::attempt::{Artifact, Failure, FailureKind};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, TaskId};
use cofferdam_domain::whose::Whose;
use cofferdam_sandbox::control::Control;
use cofferdam_sandbox::{OutputFiles, Report};
use cofferdam_storage::{Cancelled, Purged, Retried, TaskFilter, Tasks};

/// More polls than any of these futures needs.
const POLLS_MAX: usize = 200;

/// What `work` gives, if it comes to its end within so many polls; dropped right after the last.
async fn polled<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        let Some(less) = left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        left = less;
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The same for what never ends, and may wait for ever.
async fn polled_briefly(polls: usize, work: impl Future<Output = ()>) -> Option<()> {
    let brief = Duration::from_millis(20);
    let polled = tokio::time::timeout(brief, polled(polls, work)).await;
    polled.unwrap_or(None)
}

/// Has `call` made with 0, 1, 2 … polls, until it says that it came to its end.
async fn at_every_await(mut call: impl AsyncFnMut(usize) -> bool) {
    for polls in 0..POLLS_MAX {
        if call(polls).await {
            assert!(polls > 1, "there was a moment to give it up");
            return;
        }
    }
    panic!("it never comes to its end");
}

fn quick_beat() -> QueueConfig {
    QueueConfig {
        heartbeat_interval: Duration::from_millis(20),
        poll_interval: Duration::from_millis(20),
        ..one_slot()
    }
}

fn numbered(number: u128) -> Submission {
    Submission {
        task_id: Some(TaskId(Uuid::from_u128(number))),
        ..plain()
    }
}

/// Checks that nobody waits, watches, runs or holds anything, and ends the stage.
async fn ends_empty(stage: Stage) {
    let shared = &stage.queue.shared;
    becomes(async || shared.hands.all().is_empty() && shared.running.len() == 0).await;
    assert!(shared.waiters.is_empty());
    assert!(shared.events.is_deserted());
    assert_eq!(shared.ready.len(), 0);
    stage.end().await;
}

#[tokio::test]
async fn a_submission_is_whole_or_not_there_and_can_be_repeated() {
    let stage = Stage::set_automatic(quick_beat()).await;
    at_every_await(async |polls| {
        let first = 10 * polls as u128;
        let ids: Vec<u128> = (first + 1..=first + 3).collect();
        let batch = || {
            ids.iter()
                .map(|number| numbered(*number))
                .collect::<Vec<_>>()
        };
        let done = polled(polls, stage.queue.submit(&Caller::local(), batch()))
            .await
            .is_some();
        let page = stage
            .reads
            .tasks(&Tenant::DEFAULT, &TaskFilter::default(), 1000)
            .await
            .unwrap();
        let of_batch = page
            .tasks
            .iter()
            .filter(|task| ids.contains(&task.id.0.as_u128()));
        let there = of_batch.count();
        assert!([0, ids.len()].contains(&there), "a batch comes whole");
        assert!(!done || there == ids.len());
        let again = stage.queue.submit(&Caller::local(), batch()).await.unwrap();
        let new = again.iter().filter(|one| matches!(one, Submitted::New(_)));
        assert!([0, ids.len()].contains(&new.count()), "{again:?}");
        for number in ids {
            let task = stage.finished(TaskId(Uuid::from_u128(number))).await;
            assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
        }
        done
    })
    .await;
    ends_empty(stage).await;
}

/// Nobody repeats it: what was taken runs all the same.
#[tokio::test]
async fn what_was_taken_runs_although_its_submitter_has_gone() {
    let stage = Stage::set_automatic(quick_beat()).await;
    at_every_await(async |polls| {
        let task = numbered(1 + polls as u128);
        let done = polled(polls, stage.queue.submit(&Caller::local(), vec![task])).await;
        done.is_some()
    })
    .await;
    becomes(async || {
        let counts = stage.reads.counts(&Whose::All).await.unwrap();
        counts.completed > 0 && counts.pending + counts.running == 0
    })
    .await;
    ends_empty(stage).await;
}

#[tokio::test]
async fn a_cancel_can_be_repeated_and_whoever_waits_hears_of_it() {
    let stage = Stage::set(quick_beat()).await;
    at_every_await(async |polls| {
        let delay = Duration::from_secs(1000);
        let id = stage.submit(Submission { delay, ..plain() }).await;
        let mut watch = stage.watch(id).await;
        let cancelled = async {
            let done = polled(polls, stage.queue.cancel(&Caller::local(), id))
                .await
                .is_some();
            let again = stage.queue.cancel(&Caller::local(), id).await.unwrap();
            let is_over = Cancelled::Final(TaskState::Cancelled);
            assert!(again == Cancelled::AtOnce || again == is_over);
            done
        };
        let heard = async { while watch.next().await.is_some() {} };
        let both = async { tokio::join!(cancelled, stage.finished(id), heard) };
        let (done, task, ()) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        assert_eq!(task.state, TaskState::Cancelled);
        done
    })
    .await;
    ends_empty(stage).await;
}

/// Nobody repeats it: what storage took reaches the guest.
#[tokio::test]
async fn a_cancel_of_a_running_task_reaches_its_guest_if_storage_took_it() {
    let mut stage = Stage::set(quick_beat()).await;
    at_every_await(async |polls| {
        let id = stage.submit(plain()).await;
        let guest = stage.guest().await;
        let done = polled(polls, stage.queue.cancel(&Caller::local(), id))
            .await
            .is_some();
        // Storage answers calls in their order: what was asked before the look is seen by it.
        stage.reads.ping().await.unwrap();
        if stage.task(id).await.cancel_requested {
            let told = guest.control.cancel.cancelled();
            tokio::time::timeout(PATIENCE, told).await.unwrap();
        } else {
            assert!(!done);
        }
        guest.completes();
        stage.finished(id).await;
        done
    })
    .await;
    ends_empty(stage).await;
}

#[tokio::test]
async fn a_retry_can_be_repeated() {
    let mut stage = Stage::set(quick_beat()).await;
    at_every_await(async |polls| {
        let id = stage.submit(plain()).await;
        stage.guest().await.fails(FailureKind::Trap, false);
        stage.finished(id).await;
        let done = polled(polls, stage.queue.retry(&Caller::local(), id))
            .await
            .is_some();
        let again = stage.queue.retry(&Caller::local(), id).await.unwrap();
        let is_on = |retried| match retried {
            Retried::Pending => true,
            Retried::NotFailed(state) => !state.is_final(),
            Retried::Exhausted | Retried::OfWorkflow(_) | Retried::Unknown => false,
        };
        assert!(is_on(again), "{again:?}");
        let guest = stage.guest().await;
        assert_eq!(guest.claim.attempt, 2);
        guest.completes();
        assert_eq!(stage.finished(id).await.state, TaskState::Completed);
        done
    })
    .await;
    ends_empty(stage).await;
}

#[tokio::test]
async fn a_purge_that_began_removes_the_files_too() {
    let stage = Stage::set_automatic(quick_beat()).await;
    at_every_await(async |polls| {
        let id = stage.submit(plain()).await;
        stage.finished(id).await;
        let answer = polled(polls, stage.queue.purge(&Caller::local(), id)).await;
        if polls > 0 {
            let is_gone = async || {
                let bin = stage.bin.0.lock().unwrap().contains(&id);
                bin && stage.reads.task(&Whose::All, id).await.unwrap().is_none()
            };
            becomes(is_gone).await;
        } else {
            assert!(stage.reads.task(&Whose::All, id).await.unwrap().is_some());
        }
        matches!(answer, Some(Ok(Purged::Removed(_))))
    })
    .await;
    ends_empty(stage).await;
}

#[tokio::test]
async fn who_stops_waiting_or_watching_leaves_no_place() {
    let mut stage = Stage::set(quick_beat()).await;
    let id = stage.submit(plain()).await;
    let guest = stage.guest().await;
    // They never come to their end while the guest runs.
    for polls in 0..20 {
        let caller = Caller::local();
        let waiting = stage.queue.wait(&caller, id, PATIENCE);
        assert!(polled(polls, waiting).await.is_none());
        assert!(stage.queue.shared.waiters.is_empty());
        let watching = async {
            let mut watch = stage.watch(id).await;
            while watch.next().await.is_some() {}
        };
        assert!(polled(polls, watching).await.is_none());
        assert!(stage.queue.shared.events.is_deserted());
    }
    guest.completes();
    stage.finished(id).await;
    ends_empty(stage).await;
}

/// Guests that give way a few times before they end.
struct Slow;

impl Attempts for Slow {
    async fn run(
        &self,
        _claim: &Claim,
        _given: Option<Box<Given>>,
        _control: Control,
    ) -> Result<Report, NotYet> {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        Ok(failed(Failure::new(FailureKind::Trap, "as the test wants")))
    }

    async fn keep(
        &self,
        _task_id: TaskId,
        _attempt: u32,
        files: OutputFiles,
    ) -> Result<Vec<Artifact>, String> {
        drop(files);
        Ok(Vec::new())
    }
}

/// A task that this host claims although nobody asked its dispatcher.
async fn claimed(stage: &Stage) -> (TaskId, Claim) {
    let delay = Duration::from_secs(5);
    let id = stage.submit(Submission { delay, ..plain() }).await;
    let later = START.plus(delay);
    let claims = stage
        .storage
        .claim(stage.queue.worker(), 1, ClaimOrder::Fifo, later)
        .await;
    let mut claims = claims.unwrap();
    assert_eq!(claims.len(), 1);
    (id, claims.remove(0))
}

/// So that what is given back can be claimed.
fn let_time_pass(stage: &Stage) {
    stage.advance_to(Duration::from_secs(6));
}

#[tokio::test]
async fn an_attempt_that_is_dropped_frees_its_slot_and_runs_again() {
    let stage = Stage::set_automatic(quick_beat()).await;
    let shared = &stage.queue.shared;
    let slots = Arc::new(Semaphore::new(1));
    let mut ids = Vec::new();
    at_every_await(async |polls| {
        let (id, claim) = claimed(&stage).await;
        ids.push(id);
        let taken = shared.hands.take(vec![claim]).remove(0);
        let entry = shared.running.begin(&taken);
        let slot = Arc::clone(&slots).try_acquire_owned().unwrap();
        let (ends, mut ended) = ends::ways();
        let executor = Arc::new(Executor::new(Arc::clone(shared), Arc::new(Slow), ends));
        let done = polled(polls, executor.execute(taken, entry, slot)).await;
        assert_eq!((slots.available_permits(), shared.running.len()), (1, 0));
        // Its end is not recorded here; with it goes the last that holds the claim.
        drop(ended.short.try_recv());
        assert!(shared.hands.all().is_empty());
        done.is_some()
    })
    .await;
    let_time_pass(&stage);
    for id in ids {
        let task = stage.finished(id).await;
        assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
    }
    ends_empty(stage).await;
}

#[tokio::test]
async fn a_record_that_is_dropped_is_made_or_its_task_runs_again() {
    let stage = Stage::set_automatic(quick_beat()).await;
    let shared = &stage.queue.shared;
    let mut ids = Vec::new();
    at_every_await(async |polls| {
        let (id, claim) = claimed(&stage).await;
        ids.push(id);
        let taken = shared.hands.take(vec![claim]).remove(0);
        let mut batch = vec![completed(taken, stage.clock.now())];
        let storage: Arc<dyn Tasks> = Arc::clone(&stage.storage);
        let done = {
            let mut recorder = Recorder::new(shared, &storage);
            polled(polls, recorder.record(&mut batch)).await
        };
        drop(batch);
        assert!(shared.hands.all().is_empty());
        done.is_some()
    })
    .await;
    let_time_pass(&stage);
    for id in ids {
        let task = stage.finished(id).await;
        assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
        assert_eq!(
            stage
                .reads
                .attempts(&Whose::All, id, 0, 9)
                .await
                .unwrap()
                .len(),
            1
        );
    }
    ends_empty(stage).await;
}

/// A second dispatcher, and a second lane, that go away at every moment of their work.
#[tokio::test]
async fn a_dispatcher_or_a_lane_that_is_dropped_loses_no_claim() {
    let stage = Stage::set_automatic(quick_beat()).await;
    let shared = &stage.queue.shared;
    let slots = Arc::new(Semaphore::new(1));
    let mut ids = Vec::new();
    for polls in 0..40 {
        let (ends, mut ended) = ends::ways();
        let executor = Arc::new(Executor::new(Arc::clone(shared), Arc::new(Slow), ends));
        for _ in 0..2 {
            ids.push(stage.submit(plain()).await);
        }
        let dispatcher = dispatcher::serve(Arc::clone(&executor));
        assert!(polled_briefly(polls, dispatcher).await.is_none());
        let lane = lanes::serve(executor, Arc::clone(&slots));
        assert!(polled_briefly(polls, lane).await.is_none());
        // An attempt that was handed to the runtime goes on; the rest is let go of.
        becomes(async || {
            while ended.short.try_recv().is_ok() {}
            slots.available_permits() == 1
        })
        .await;
        while ended.short.try_recv().is_ok() {}
    }
    for id in ids {
        let task = stage.finished(id).await;
        assert_eq!((task.state, task.attempt), (TaskState::Completed, 1));
    }
    ends_empty(stage).await;
}
