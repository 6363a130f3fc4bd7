//! The lanes in which tasks wait, and what may be claimed in each: found along one index, lane by lane,
//! however many tasks wait.

#[cfg(test)]
mod tests;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::classes;
use crate::StorageError;
use crate::serving::Serving;
use crate::settings::ClaimRules;
use crate::turns::{self, Candidate, LANES_MAX, Lane, Running, Wanted};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::task::{ClaimOrder, Priority};
use cofferdam_domain::time::Timestamp;

/// Two questions, because SQLite would answer `(tenant, lane) > (?1, ?2)` by a walk through that lane.
const NEXT_LANE: &str = "
    SELECT tenant, lane FROM task INDEXED BY task_pending
    WHERE state = 1 AND tenant = ?1 AND lane > ?2 ORDER BY lane LIMIT 1";
const NEXT_TENANT: &str = "
    SELECT tenant, lane FROM task INDEXED BY task_pending
    WHERE state = 1 AND tenant > ?1 ORDER BY tenant, lane LIMIT 1";
const HEAD: &str = "
    SELECT min(run_at) FROM task INDEXED BY task_pending
    WHERE state = 1 AND tenant = ?1 AND lane = ?2 AND priority = ?3";
const TENANT: &str = "SELECT weight, running_max FROM tenant WHERE name = ?1";
const RUNNING: &str = "
    SELECT tenant, lane, count(*) FROM task INDEXED BY task_counted
    WHERE state = 2 AND counted = 1 GROUP BY tenant, lane";
/// One range for each priority: tasks whose time has not come are behind its end and cost nothing.
macro_rules! range {
    ($order:literal) => {
        concat!(
            "SELECT run_at, seq FROM task INDEXED BY task_pending
             WHERE state = 1 AND tenant = ?1 AND lane = ?2 AND priority = ?3 AND run_at <= ?4
             ORDER BY ",
            $order,
            " LIMIT ?5"
        )
    };
}
const OLDEST: &str = range!("run_at, seq");
const NEWEST: &str = range!("run_at DESC, seq DESC");
/// Tasks of modules that are bounded now and were not when they were submitted.
const INTO_LANES: [&str; 2] = [
    "UPDATE task INDEXED BY task_pending SET lane = lane + name
     WHERE state = 1 AND lane & 4294967295 = 0",
    "UPDATE task INDEXED BY task_running SET lane = lane + name
     WHERE state = 2 AND lane & 4294967295 = 0",
];

/// Puts the tasks that wait into the lanes that they would be in if they came now.
pub(super) fn bring_up_to_date(conn: &Connection, rules: &ClaimRules) -> Result<(), StorageError> {
    if rules.running_per_module_max > 0 {
        for sql in INTO_LANES {
            conn.execute(sql, [])?;
        }
    }
    Ok(())
}

/// The next lanes behind that one, [`LANES_MAX`] at most, and which one they end with if there are more.
pub(super) fn ring(conn: &Connection, behind: &Place) -> Result<(Vec<Lane>, Place), StorageError> {
    let mut next_lane = conn.prepare_cached(NEXT_LANE)?;
    let mut next_tenant = conn.prepare_cached(NEXT_TENANT)?;
    let of_row = |row: &Row<'_>| Ok(Place(row.get(0)?, row.get(1)?));
    let mut lanes = Vec::new();
    let mut place = behind.clone();
    while lanes.len() < LANES_MAX {
        let mut found = next_lane
            .query_row(params![place.0, place.1], of_row)
            .optional()?;
        if found.is_none() {
            found = next_tenant.query_row([&place.0], of_row).optional()?;
        }
        let Some(found) = found else {
            return Ok((lanes, Place::default()));
        };
        lanes.push(lane(conn, &found)?);
        place = found;
    }
    Ok((lanes, place))
}

/// A lane, by which lanes are sorted.
#[derive(Clone, Debug)]
pub(super) struct Place(String, i64);

impl Place {
    /// The lane of that number of a tenant's.
    pub(super) fn new(tenant: &str, number: i64) -> Place {
        Place(tenant.to_owned(), number)
    }

    /// Whether no lane is before it.
    pub(super) fn is_first(&self) -> bool {
        self.1 == i64::MIN
    }
}

impl Default for Place {
    /// Before the first.
    fn default() -> Place {
        Place(String::new(), i64::MIN)
    }
}

/// A lane, whether or not tasks wait in it.
pub(super) fn lane(conn: &Connection, place: &Place) -> Result<Lane, StorageError> {
    let Place(tenant, number) = place;
    let told: Option<(u32, Option<u32>)> = conn
        .prepare_cached(TENANT)?
        .query_row([tenant], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (weight, running_max) = told.unwrap_or((1, None));
    let mut lane = Lane {
        tenant: tenant.clone(),
        number: *number,
        weight,
        running_max,
        ..Lane::default()
    };
    let mut head = conn.prepare_cached(HEAD)?;
    for (priority, first) in Priority::ALL.into_iter().zip(&mut lane.heads) {
        *first = head.query_row(params![tenant, number, priority.rank()], |row| row.get(0))?;
    }
    Ok(lane)
}

/// The attempts that are counted; nobody counts where no lane is bounded.
pub(super) fn running(
    conn: &Connection,
    lanes: &[Lane],
    rules: &ClaimRules,
) -> Result<Running, StorageError> {
    if !lanes.iter().any(|lane| lane.is_bounded(rules)) {
        return Ok(Running::new());
    }
    let running = conn
        .prepare_cached(RUNNING)?
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    Ok(running)
}

/// The first tasks of a lane, as many as are wanted.
pub(super) fn candidates(
    conn: &Connection,
    wanted: &Wanted,
    order: ClaimOrder,
) -> Result<Vec<Candidate>, StorageError> {
    let mut found = Vec::new();
    let mut oldest = conn.prepare_cached(OLDEST)?;
    let mut newest = conn.prepare_cached(NEWEST)?;
    let most = usize::try_from(wanted.most).unwrap_or(usize::MAX);
    for priority in Priority::ALL {
        let (range, limit) = match order {
            ClaimOrder::Priority => (&mut oldest, most - found.len()),
            ClaimOrder::Fifo => (&mut oldest, most),
            ClaimOrder::Lifo => (&mut newest, most),
        };
        extend(&mut found, range, (wanted, priority, limit), wanted.until)?;
    }
    if wanted.aged > 0 {
        let in_order = found.len();
        let limit = usize::try_from(wanted.aged).unwrap_or(usize::MAX);
        for priority in Priority::ALL.into_iter().skip(1) {
            extend(
                &mut found,
                &mut oldest,
                (wanted, priority, limit),
                wanted.aged_until,
            )?;
        }
        let aged = &mut found[in_order..];
        aged.iter_mut()
            .for_each(|candidate| candidate.is_aged = true);
    }
    Ok(found)
}

fn extend(
    found: &mut Vec<Candidate>,
    range: &mut CachedStatement<'_>,
    (wanted, priority, limit): (&Wanted, Priority, usize),
    until: i64,
) -> Result<(), StorageError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let key = params![wanted.tenant, wanted.lane, priority.rank(), until, limit];
    let rows = range.query_map(key, |row| {
        Ok(Candidate {
            run_at: row.get(0)?,
            seq: row.get(1)?,
            rank: priority.rank(),
            is_aged: false,
        })
    })?;
    for row in rows {
        found.push(row?);
    }
    Ok(())
}

/// Those of the lanes that a worker serves.
pub(super) fn served(
    conn: &Connection,
    serving: &Serving,
    worker: WorkerId,
    lanes: Vec<Lane>,
    rules: &ClaimRules,
) -> Result<Vec<Lane>, StorageError> {
    let unknown = serving.unknown(&lanes);
    if !unknown.is_empty() {
        let classes = unknown.into_iter().map(|id| classes::class(conn, id));
        serving.learn(classes.collect::<Result<_, _>>()?);
    }
    Ok(serving.served(worker, lanes, rules.preferred_grace))
}

/// The earliest time at which a worker may claim something.
pub(super) fn next_run_at(
    conn: &Connection,
    serving: &Serving,
    worker: WorkerId,
    rules: &ClaimRules,
) -> Result<Option<Timestamp>, StorageError> {
    let (lanes, _) = ring(conn, &Place::default())?;
    let lanes = served(conn, serving, worker, lanes, rules)?;
    let running = running(conn, &lanes, rules)?;
    let next = turns::next_run_at(&lanes, rules, &running);
    Ok(next.map(Timestamp::from_millis))
}
