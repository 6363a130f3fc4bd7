//! Rows that make no sense.

use super::*;

#[tokio::test]
async fn an_inconsistent_row_affects_only_its_own_task() {
    let Sqlite { dir, storage } = Sqlite::fresh().await;
    let tasks = vec![
        new_task(1),
        new_task(2),
        with_attempts(3, 7),
        new_task(4),
        with_attempts(5, 8),
    ];
    insert_all(&storage, tasks).await;
    storage
        .writer
        .call(|db| {
            db.conn.execute_batch(
                "UPDATE task_spec SET args = 'no JSON' WHERE seq = 2;
                 UPDATE template SET settings = '{' WHERE id = (SELECT template FROM task WHERE seq = 3);",
            )?;
            Ok(())
        })
        .await
        .unwrap();
    storage.close();
    let storage = open(dir.path()).unwrap();
    let fifo = cofferdam_domain::task::ClaimOrder::Fifo;
    let claims = storage.claim(ME, 9, fifo, at(1)).await.unwrap();
    let claimed: Vec<_> = claims.iter().map(|claim| claim.task_id).collect();
    assert_eq!(claimed, [1, 4, 5].map(id));
    for number in [2, 3] {
        assert_eq!(state(&storage, number).await, TaskState::Failed);
    }
    let unreadable = task(&storage, 2).await.failure.unwrap();
    assert_eq!(unreadable.kind, FailureKind::HostError);

    storage
        .writer
        .call(|db| {
            let template = "(SELECT template FROM task WHERE seq = 5)";
            let sql = format!("UPDATE template SET settings = '{{{{' WHERE id = {template}");
            Ok(db.conn.execute(&sql, [])?)
        })
        .await
        .unwrap();
    storage.close();
    let storage = open(dir.path()).unwrap();
    let rescued = storage.rescue(OTHER, at(9), 9, at(9)).await.unwrap();
    let states: Vec<_> = rescued.iter().map(|task| task.state).collect();
    assert_eq!(
        states,
        [TaskState::Pending, TaskState::Pending, TaskState::Failed]
    );
    storage.close();
    check_database(dir.path());
}
