//! A host that is asked to take no more tasks.

use std::time::Duration;

use super::stage::{Stage, one_slot, plain, quick_heartbeat};
use crate::queue::QueueError;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::{Caller, Scopes};
use cofferdam_domain::pressure::Level;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::worker::WorkerState;
use cofferdam_storage::Reads;

const ME: WorkerId = WorkerId(uuid::Uuid::from_u128(1));

async fn told(reads: &dyn Reads) -> (WorkerState, u32) {
    let worker = reads.worker(ME).await.unwrap().unwrap();
    (worker.told, worker.load)
}

#[tokio::test]
async fn it_gives_back_what_has_not_begun_and_finishes_the_rest() {
    let mut stage = Stage::set(quick_heartbeat()).await;
    assert_eq!(told(&*stage.reads).await, (WorkerState::Idle, 0));
    let runs = stage.submit(plain()).await;
    let guest = stage.guest().await;
    super::stage::becomes(async || told(&*stage.reads).await == (WorkerState::Running, 1)).await;

    stage.storage.ask_to_drain(ME, true).await.unwrap();
    super::stage::becomes(async || told(&*stage.reads).await == (WorkerState::Draining, 1)).await;
    let waits = stage.submit(plain()).await;
    guest.completes();
    assert_eq!(stage.finished(runs).await.state, TaskState::Completed);
    super::stage::becomes(async || told(&*stage.reads).await == (WorkerState::Draining, 0)).await;
    assert!(stage.is_quiet());
    assert_eq!(stage.task(waits).await.state, TaskState::Pending);

    stage.storage.ask_to_drain(ME, false).await.unwrap();
    stage.guest().await.completes();
    assert_eq!(stage.finished(waits).await.state, TaskState::Completed);
    let reads = std::sync::Arc::clone(&stage.reads);
    stage.end().await;
    assert_eq!(told(&*reads).await, (WorkerState::Terminated, 0));
}

#[tokio::test]
async fn a_claim_that_waits_for_its_slot_is_given_back() {
    let mut stage = Stage::set(one_slot()).await;
    let runs = stage.submit(plain()).await;
    let guest = stage.guest().await;
    let waits = stage.submit(plain()).await;
    let claims = stage
        .storage
        .claim(
            ME,
            1,
            cofferdam_domain::task::ClaimOrder::Fifo,
            stage.clock.now(),
        )
        .await
        .unwrap();
    assert_eq!(claims[0].task_id, waits);
    let shared = &stage.queue.shared;
    shared.ready.push(shared.hands.take(claims));
    stage
        .queue
        .ask_to_drain(&Caller::local(), ME, true)
        .await
        .unwrap();
    super::stage::becomes(async || stage.task(waits).await.state == TaskState::Pending).await;
    guest.completes();
    assert_eq!(stage.finished(runs).await.state, TaskState::Completed);
    assert!(stage.is_quiet());
    stage.end().await;
}

#[tokio::test]
async fn only_an_administrator_asks_for_it() {
    let stage = Stage::set(one_slot()).await;
    let local = Caller::local();
    let caller = Caller::new(local.tenant().clone(), Scopes::default(), local.from());
    let refused = stage.queue.ask_to_drain(&caller, ME, true).await;
    assert!(refused.unwrap_err().to_string().contains("admin"));
    assert!(!stage.queue.is_asked_to_drain());
    stage.end().await;
}

#[tokio::test]
async fn nothing_is_claimed_while_memory_is_short_and_nothing_is_taken_when_it_is_worse() {
    let mut stage = Stage::set(quick_heartbeat()).await;
    let pressure = stage.queue.shared.pressure.clone();
    pressure.set(Level::Hold);
    let waits = stage.submit(plain()).await;
    // Elsewhere here it begins within a millisecond.
    let begins = tokio::time::timeout(Duration::from_millis(200), stage.guest());
    assert!(begins.await.is_err());
    assert_eq!(stage.task(waits).await.state, TaskState::Pending);

    pressure.set(Level::Refuse);
    let refused = stage.offer(vec![plain()]).await;
    assert!(matches!(refused, Err(QueueError::Pressed(_))));

    pressure.set(Level::None);
    stage.queue.shared.work.notify_one();
    stage.guest().await.completes();
    assert_eq!(stage.finished(waits).await.state, TaskState::Completed);
}
