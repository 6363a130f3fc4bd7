//! What statements cost the database, in rows looked at rather than in time: a plan that looks at every
//! running task for each end is as right as any other, and no other test would see it.

use super::*;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;

/// Tasks that run at once.
const TASKS: u32 = 400;
/// Rows of `task` that each of them may cost from its submission to its end.
const ROWS_EACH_MAX: u32 = 20;

#[tokio::test]
async fn an_end_looks_at_its_own_task_alone() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    insert_all(storage, (1..=u128::from(TASKS)).map(new_task).collect()).await;
    // The statistics say that no task runs.
    backend.database.run("VACUUM ANALYZE cofferdam.task");
    let claims = storage.claim(ME, TASKS, ClaimOrder::Priority, at(1)).await;
    let ends = claims
        .unwrap()
        .into_iter()
        .enumerate()
        .map(|(place, claim)| {
            let again = Next::RetryAt(at(1000));
            match place % 2 {
                0 => completed(&claim, at(2)),
                _ => failed(&claim, at(2), FailureKind::GuestError, again),
            }
        });
    let finished = storage.finish(ends.collect()).await.unwrap();
    let is_recorded = |told: &Finished| matches!(told, Finished::Recorded(_));
    assert_eq!(
        finished.iter().filter(|told| is_recorded(told)).count(),
        400
    );
    // Connections tell their figures when they end.
    storage.close();
    let looked_at = "SELECT idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'task'";
    let looked_at: u32 = backend.database.run(looked_at).trim().parse().unwrap();
    assert!(
        looked_at >= 2 * TASKS,
        "{looked_at} rows: the figures are not there"
    );
    assert!(looked_at <= ROWS_EACH_MAX * TASKS, "{looked_at} rows");
}
