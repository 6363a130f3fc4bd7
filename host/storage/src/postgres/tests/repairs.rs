//! A workflow that nothing would ever change again is made right.

use super::*;
use crate::Workflows;
use crate::conformance::workflows::fixture::*;
use cofferdam_domain::workflow::WorkflowState;

#[tokio::test]
async fn what_is_stuck_is_released() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    insert_flow(storage, flow(1), chain(1, &["a", "b"])).await;
    let a = claim_named(storage, "a").await;
    let spoil = |sql: &str| drop(backend.database.run(sql));
    spoil("UPDATE cofferdam.node SET remaining = 2 WHERE name = 'b'");
    finish_one(storage, completed(&a, at(2))).await;
    assert_eq!(states(storage, 1).await, "a:completed b:blocked");
    assert_eq!(storage.repair_workflows(at(2), 10, at(3)).await.unwrap(), 0);
    assert_eq!(storage.repair_workflows(at(3), 10, at(3)).await.unwrap(), 1);
    let b = claim_named(storage, "b").await;
    spoil("UPDATE cofferdam.workflow SET open = 2, completed = 0");
    finish_one(storage, completed(&b, at(4))).await;
    assert_eq!(state_of(storage, 1).await, WorkflowState::Running);
    assert_eq!(storage.repair_workflows(at(9), 10, at(9)).await.unwrap(), 1);
    assert_eq!(state_of(storage, 1).await, WorkflowState::Completed);
    assert_eq!(
        storage.repair_workflows(at(99), 10, at(99)).await.unwrap(),
        0
    );
    backend.check().await;
}
