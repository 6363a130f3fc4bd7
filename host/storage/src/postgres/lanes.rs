//! The lanes in which tasks wait, and what may be claimed in each: found along one index, lane by lane,
//! however many tasks wait.

use std::sync::Arc;

use futures_util::FutureExt;

use super::call::{Call, Db};
use super::classes;
use super::fault::{Fault, get, get_u8};
use super::floors;
use super::look::{self, Look, Seen};
use super::params::params;
use super::tx::{Mode, Tx, reading};
use crate::StorageError;
use crate::settings::ClaimRules;
use crate::turns::{self, Candidate, Lane, Running, Wanted};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::time::Timestamp;

const RUNNING: &str = "
    SELECT t.tenant, t.lane, count(*) FROM cofferdam.task t
    WHERE t.state = 2 AND t.counted GROUP BY t.tenant, t.lane";
/// The first tasks of each lane that may be claimed. Nothing is locked.
macro_rules! candidates_sql {
    ($order:literal, $limit:literal) => {
        concat!(
            "SELECT l.place, f.seq, f.priority, f.run_at, f.is_aged
             FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[],
                    $7::int8[], $8::int8[], $9::int8[], $10::int8[])
                WITH ORDINALITY AS l(tenant, lane, most, aged, until, aged_until, f0, f1, f2, f3, place)
             CROSS JOIN LATERAL (
                (SELECT q.seq, q.priority, q.run_at, false AS is_aged
                 FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
                 CROSS JOIN LATERAL (
                    SELECT t.seq, t.priority, t.run_at FROM cofferdam.task t
                    WHERE t.state = 1 AND t.tenant = l.tenant AND t.lane = l.lane
                        AND t.priority = p.priority AND t.run_at <= l.until
                        AND t.run_at >= (ARRAY[l.f0, l.f1, l.f2, l.f3])[p.priority + 1]
                    ORDER BY ",
            $order,
            " LIMIT l.most) q",
            $limit,
            ")
                UNION ALL
                SELECT q.seq, q.priority, q.run_at, true
                FROM (VALUES (1::int2), (2::int2), (3::int2)) AS p(priority)
                CROSS JOIN LATERAL (
                    SELECT t.seq, t.priority, t.run_at FROM cofferdam.task t
                    WHERE t.state = 1 AND t.tenant = l.tenant AND t.lane = l.lane
                        AND t.priority = p.priority AND t.run_at <= l.aged_until
                        AND t.run_at >= (ARRAY[l.f0, l.f1, l.f2, l.f3])[p.priority + 1]
                    ORDER BY t.run_at, t.seq LIMIT l.aged) q) f"
        )
    };
}
const BY_PRIORITY: &str = candidates_sql!("t.run_at, t.seq", " LIMIT l.most");
const OLDEST: &str = candidates_sql!("t.run_at, t.seq", "");
const NEWEST: &str = candidates_sql!("t.run_at DESC, t.seq DESC", "");
/// Tasks of modules that are bounded now and were not when they were submitted, some at a time: those
/// that wait, and those that run and may wait again.
macro_rules! into_lanes_sql {
    ($state:literal) => {
        concat!(
            "WITH n AS MATERIALIZED (
                SELECT t.seq FROM cofferdam.task t WHERE t.state = ",
            $state,
            " AND t.lane & 4294967295 = 0 LIMIT $1 FOR UPDATE SKIP LOCKED)
             UPDATE cofferdam.task t SET lane = t.lane + s.name
             FROM n JOIN cofferdam.task_spec s ON s.seq = n.seq WHERE t.seq = n.seq RETURNING 1"
        )
    };
}
const INTO_LANES: [&str; 2] = [into_lanes_sql!("1"), into_lanes_sql!("2")];
/// So many in one transaction.
const INTO_LANES_AT_ONCE: i64 = 5000;

/// Moves the tasks that wait or run into the lanes that they would be in if they came now.
pub(super) async fn bring_up_to_date(db: &Arc<Db>) -> Result<(), StorageError> {
    if db.rules.running_per_module_max == 0 {
        return Ok(());
    }
    for sql in INTO_LANES {
        loop {
            let call = Call::new(db, super::UPLOAD_TIMEOUT);
            let moved = call.repeated(move |call| {
                Box::pin(async move {
                    let mut tx = call.begin(Mode::Durable).await?;
                    let moved = tx.query(sql, params![INTO_LANES_AT_ONCE]).await?;
                    tx.commit().await?;
                    Ok(moved.len())
                })
            });
            if moved.await? == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// The attempts that are counted; nobody counts where no lane is bounded.
pub(super) async fn running(
    tx: &mut Tx,
    lanes: &[Lane],
    rules: &ClaimRules,
) -> Result<Running, Fault> {
    let mut running = Running::new();
    if lanes.iter().any(|lane| lane.is_bounded(rules)) {
        for row in tx.query(RUNNING, params![]).await? {
            let taken = u32::try_from(get::<i64>(&row, 2)?).unwrap_or(u32::MAX);
            running.insert((get(&row, 0)?, get(&row, 1)?), taken);
        }
    }
    Ok(running)
}

/// What may be claimed in each of the lanes.
pub(super) async fn candidates(
    tx: &mut Tx,
    wanted: &[Wanted],
    order: ClaimOrder,
) -> Result<Vec<Vec<Candidate>>, Fault> {
    let sql = match order {
        ClaimOrder::Priority => BY_PRIORITY,
        ClaimOrder::Fifo => OLDEST,
        ClaimOrder::Lifo => NEWEST,
    };
    let tenants: Vec<String> = wanted.iter().map(|lane| lane.tenant.clone()).collect();
    let numbers: Vec<i64> = wanted.iter().map(|lane| lane.lane).collect();
    let most: Vec<i64> = wanted.iter().map(|lane| lane.most.into()).collect();
    let aged: Vec<i64> = wanted.iter().map(|lane| lane.aged.into()).collect();
    let until: Vec<i64> = wanted.iter().map(|lane| lane.until).collect();
    let aged_until: Vec<i64> = wanted.iter().map(|lane| lane.aged_until).collect();
    let mut asked = params![tenants, numbers, most, aged, until, aged_until];
    asked.extend(floors::columns(&tx.call().db.lanes.floors(wanted)));
    let mut found = vec![Vec::new(); wanted.len()];
    for row in tx.query(sql, asked).await? {
        let place = usize::try_from(get::<i64>(&row, 0)? - 1).map_err(StorageError::corrupt)?;
        found[place].push(Candidate {
            seq: get(&row, 1)?,
            rank: get_u8(&row, 2)?,
            run_at: get(&row, 3)?,
            is_aged: get(&row, 4)?,
        });
    }
    Ok(found)
}

/// Those of the lanes that a worker serves.
pub(super) async fn served(
    tx: &mut Tx,
    worker: WorkerId,
    lanes: Vec<Lane>,
) -> Result<Vec<Lane>, Fault> {
    let db = Arc::clone(&tx.call().db);
    let unknown = db.serving.unknown(&lanes);
    if !unknown.is_empty() {
        db.serving.learn(classes::some(tx, unknown).await?);
    }
    Ok(db.serving.served(worker, lanes, db.rules.preferred_grace))
}

/// Looks at all lanes while that is dear, and notes what is there.
pub(super) async fn look_dearly(call: Call) {
    let db = Arc::clone(&call.db);
    let look = |call: Call| async move {
        let (sql, asked) = Look::from_the_first().statement();
        reading!(call, tx, tx.query(sql, asked))
    };
    let rows = call.repeated(move |call| look(call).boxed()).await;
    let seen = rows.and_then(|rows| look::seen(&rows));
    if let Err(error) = &seen {
        tracing::debug!(%error, "the lanes could not be looked at");
    }
    db.lanes.ended_dear_look(seen.ok().as_ref());
}

/// The earliest time at which a worker may claim something.
pub(super) async fn next_run_at(tx: &mut Tx, worker: WorkerId) -> Result<Option<Timestamp>, Fault> {
    let db = Arc::clone(&tx.call().db);
    let (sql, asked) = db.lanes.look_from_the_first().statement();
    let Seen { lanes, took } = look::seen(&tx.query(sql, asked).await?)?;
    if let Some(took) = took {
        db.lanes.looked_from_the_first(&lanes, took);
    }
    let lanes = served(tx, worker, lanes).await?;
    let running = running(tx, &lanes, &db.rules).await?;
    let next = turns::next_run_at(&lanes, &db.rules, &running);
    Ok(next.map(Timestamp::from_millis))
}
