//! What statements cost the database, in rows looked at rather than in time: a plan that looks at every
//! running task for each end is as right as any other, and no other test would see it.

use super::*;
use crate::postgres::look::Look;
use crate::turns::Lane;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::Next;
use cofferdam_domain::task::{NewTask, Priority};
use cofferdam_domain::time::Timestamp;

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

/// Tasks of which most are claimed while somebody could still see them waiting, a second apart.
const LONG_LANE: u32 = 1000;
/// What is left of them.
const LEFT: u32 = 100;
/// Entries of the index that claims of all of those may read.
const READ_MAX: u64 = 3000;

#[tokio::test]
async fn claims_do_not_walk_over_what_an_old_transaction_could_still_see() {
    let Postgres {
        storage,
        dir,
        database,
    } = Postgres::fresh().await;
    let run_at = |number: u32| at(number.into());
    let tasks = (1..=LONG_LANE).map(|number| NewTask {
        run_at: run_at(number),
        ..new_task(number.into())
    });
    insert_all(&storage, tasks.collect()).await;
    let connector = Connector::parse(&database.url()).unwrap();
    let old = connector.connect().await.unwrap();
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM cofferdam.task";
    old.client.batch_execute(begin).await.unwrap();
    let now = run_at(2 * LONG_LANE);
    let claim = async |host: &PostgresStorage, slots| {
        let claims = host.claim(ME, slots, ClaimOrder::Priority, now).await;
        claims.unwrap().len()
    };
    assert_eq!(claim(&storage, LONG_LANE - LEFT).await, 900);
    // Connections tell their figures when they end.
    drop(storage);
    let read = || -> u64 {
        let sql =
            "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'task_pending'";
        database.run(sql).trim().parse().unwrap()
    };
    let before = read();

    let storage = open(&database, &dir).unwrap();
    saw_in_a_dear_look(&storage, run_at(LONG_LANE - LEFT + 1), now);
    for _ in 0..LEFT / 10 {
        assert_eq!(claim(&storage, 10).await, 10);
    }
    storage.close();
    let read = read() - before;
    assert!(read >= u64::from(LEFT), "{read}: the figures are not there");
    assert!(read <= READ_MAX, "{read} entries");
}

#[tokio::test]
async fn what_comes_with_an_earlier_time_is_claimed_although_looking_at_everything_is_dear() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    let now = at(3600);
    saw_in_a_dear_look(storage, now, now);
    insert_all(storage, vec![new_task(1)]).await;
    assert_eq!(
        storage.next_run_at(ME).await.unwrap(),
        Some(new_task(1).run_at)
    );
    let claims = storage.claim(ME, 2, ClaimOrder::Priority, now).await;
    assert_eq!(claims.unwrap().len(), 1);
}

#[tokio::test]
async fn a_claim_has_old_floors_looked_at_anew_and_does_not_wait_for_that() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    insert_all(storage, (1..=2000).map(new_task).collect()).await;
    saw_in_a_dear_look(storage, at(0), at(1));
    let before = floor(storage);
    // Each claim is filled from the floors on. The look is cheap, so it leaves none.
    while floor(storage) == before {
        let claims = storage.claim(ME, 1, ClaimOrder::Priority, at(1)).await;
        assert_eq!(claims.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn floors_follow_the_claims() {
    let backend = Postgres::fresh().await;
    let storage = &backend.storage;
    saw_in_a_dear_look(storage, at(100), at(100));
    let claims = storage.claim(ME, 1, ClaimOrder::Priority, at(7200)).await;
    assert_eq!(claims.unwrap().len(), 0);
    let lane = lane_that_begins(at(7100));
    storage.db.lanes.looked_from_the_first(&[lane], DEAR);
    assert_eq!(floor(storage), Some(at(7090).as_millis()));
}

/// Lets a host know that the common lane began there in a look that took long, but not too long to be
/// repeated.
fn saw_in_a_dear_look(host: &PostgresStorage, first: Timestamp, now: Timestamp) {
    let lane = lane_that_begins(first);
    host.db.lanes.looked(&[lane], DEAR, now);
}

/// What a look took that is dear and yet bearable.
const DEAR: Duration = Duration::from_millis(15);

fn lane_that_begins(first: Timestamp) -> Lane {
    let mut lane = Lane {
        tenant: "default".to_owned(),
        ..Lane::default()
    };
    lane.heads[Priority::default() as usize] = Some(first.as_millis());
    lane
}

/// The floor of normal tasks in the first lane that is known.
fn floor(host: &PostgresStorage) -> Option<i64> {
    match host.db.lanes.look() {
        Look::Known(known) => Some(known[0].2[Priority::default() as usize]),
        Look::All(..) => None,
    }
}
