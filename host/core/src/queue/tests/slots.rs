//! Slots that come and go with the work.

use std::time::Duration;

use super::stage::{Stage, becomes, one_slot, plain};
use crate::queue::settings::QueueConfig;

#[tokio::test]
async fn there_are_more_while_tasks_wait_and_fewer_when_nothing_is_to_be_done() {
    let mut stage = Stage::set(QueueConfig {
        slots: 4,
        slots_min: 1,
        slots_idle: Duration::from_millis(10),
        ..one_slot()
    })
    .await;
    assert_eq!(stage.queue.stats().slots, 1);
    let mut guests = Vec::new();
    for _ in 0..6 {
        stage.submit(plain()).await;
    }
    for _ in 0..4 {
        guests.push(stage.guest().await);
    }
    assert_eq!(stage.queue.stats().slots, 4);
    assert!(stage.is_quiet());
    guests.into_iter().for_each(super::stage::Guest::completes);
    for _ in 0..2 {
        stage.guest().await.completes();
    }
    becomes(async || stage.queue.stats().slots == 1).await;
    stage.end().await;
}
