//! The lanes in which tasks wait, and what may be claimed in each: found along one index, lane by lane,
//! however many tasks wait.

use std::sync::Arc;

use tokio_postgres::Row;

use super::alone::first;
use super::call::{Call, Db};
use super::classes;
use super::fault::{Fault, get, get_u8, get_u32};
use super::params::{Params, params};
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::settings::ClaimRules;
use crate::turns::{self, Candidate, LANES_MAX, Lane, Running, Wanted};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_domain::time::Timestamp;

/// The next lanes behind ($1, $2), $3 at most, from one to the next, with the earliest `run_at` of each
/// priority.
pub(super) const RING: &str = "
    WITH RECURSIVE r(tenant, lane) AS (
        (SELECT t.tenant, t.lane FROM cofferdam.task t
         WHERE t.state = 1 AND (t.tenant, t.lane) > ($1, $2) ORDER BY t.tenant, t.lane LIMIT 1)
        UNION ALL
        SELECT n.tenant, n.lane FROM r CROSS JOIN LATERAL (
            SELECT t.tenant, t.lane FROM cofferdam.task t
            WHERE t.state = 1 AND (t.tenant, t.lane) > (r.tenant, r.lane)
            ORDER BY t.tenant, t.lane LIMIT 1) n)
    SELECT r.tenant, r.lane, coalesce(w.weight, 1), w.running_max,
        ARRAY(SELECT (SELECT t.run_at FROM cofferdam.task t
                WHERE t.state = 1 AND t.tenant = r.tenant AND t.lane = r.lane
                    AND t.priority = p.priority
                ORDER BY t.run_at, t.seq LIMIT 1)
            FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
            ORDER BY p.priority)
    FROM (SELECT tenant, lane FROM r LIMIT $3) r LEFT JOIN cofferdam.tenant w ON w.name = r.tenant";
const RUNNING: &str = "
    SELECT t.tenant, t.lane, count(*) FROM cofferdam.task t
    WHERE t.state = 2 AND t.counted GROUP BY t.tenant, t.lane";
/// The first tasks of each lane that may be claimed. Nothing is locked.
macro_rules! candidates_sql {
    ($order:literal, $limit:literal) => {
        concat!(
            "SELECT l.place, f.seq, f.priority, f.run_at, f.is_aged
             FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[])
                WITH ORDINALITY AS l(tenant, lane, most, aged, until, aged_until, place)
             CROSS JOIN LATERAL (
                (SELECT q.seq, q.priority, q.run_at, false AS is_aged
                 FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
                 CROSS JOIN LATERAL (
                    SELECT t.seq, t.priority, t.run_at FROM cofferdam.task t
                    WHERE t.state = 1 AND t.tenant = l.tenant AND t.lane = l.lane
                        AND t.priority = p.priority AND t.run_at <= l.until
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

/// The parameters of [`RING`] for the next look of this host.
pub(super) fn next_look(tx: &Tx) -> Params {
    let (tenant, lane) = tx.call().db.lanes.behind();
    look_behind(tenant, lane)
}

fn look_behind(tenant: String, lane: i64) -> Params {
    let most = i64::try_from(LANES_MAX).unwrap_or(i64::MAX);
    params![tenant, lane, most]
}

/// The lanes in rows of [`RING`].
pub(super) fn lanes_of(rows: &[Row]) -> Result<Vec<Lane>, StorageError> {
    rows.iter().map(lane_of).collect()
}

fn lane_of(row: &Row) -> Result<Lane, StorageError> {
    let running_max: Option<i32> = get(row, 3)?;
    let heads: Vec<Option<i64>> = get(row, 4)?;
    Ok(Lane {
        tenant: get(row, 0)?,
        number: get(row, 1)?,
        weight: get_u32(row, 2)?,
        running_max: running_max.map(i32::cast_unsigned),
        heads: heads
            .try_into()
            .map_err(|_| StorageError::corrupt("there are not four priorities"))?,
        wait_ms: 0,
    })
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
    let asked = params![tenants, numbers, most, aged, until, aged_until];
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

/// The earliest time at which a worker may claim something.
pub(super) async fn next_run_at(tx: &mut Tx, worker: WorkerId) -> Result<Option<Timestamp>, Fault> {
    let (tenant, lane) = first();
    let look = look_behind(tenant, lane);
    let lanes = lanes_of(&tx.query(RING, look).await?)?;
    let lanes = served(tx, worker, lanes).await?;
    let rules = tx.call().db.rules.clone();
    let running = running(tx, &lanes, &rules).await?;
    let next = turns::next_run_at(&lanes, &rules, &running);
    Ok(next.map(Timestamp::from_millis))
}
