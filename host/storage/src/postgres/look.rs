//! A look at the lanes in which tasks wait: the statement, and what its rows tell.
//!
//! When somebody looks, and at which lanes, is decided in `alone`; what is claimed in them in `lanes`.

use std::time::Duration;

use tokio_postgres::Row;

use super::fault::{get, get_u32};
use super::floors::{self, LaneFloors};
use super::params::{Params, params};
use crate::StorageError;
use crate::turns::{LANES_MAX, Lane};

/// The next lanes behind ($1, $2), $3 at most, from one to the next, with the earliest `run_at` of each
/// priority; and in a row of its own how many milliseconds that took.
const RING: &str = "
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
            ORDER BY p.priority),
        NULL::float8
    FROM (SELECT tenant, lane FROM r LIMIT $3) r LEFT JOIN cofferdam.tenant w ON w.name = r.tenant
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL,
        1000 * extract(epoch FROM clock_timestamp() - statement_timestamp())::float8";
/// The lanes ($1, $2), each from these floors on, as far as something waits there.
const KNOWN: &str = "
    SELECT k.tenant, k.lane, coalesce(w.weight, 1), w.running_max,
        ARRAY(SELECT (SELECT t.run_at FROM cofferdam.task t
                WHERE t.state = 1 AND t.tenant = k.tenant AND t.lane = k.lane
                    AND t.priority = p.priority
                    AND t.run_at >= (ARRAY[k.f0, k.f1, k.f2, k.f3])[p.priority + 1]
                ORDER BY t.run_at, t.seq LIMIT 1)
            FROM (VALUES (0::int2), (1::int2), (2::int2), (3::int2)) AS p(priority)
            ORDER BY p.priority),
        NULL::float8
    FROM unnest($1::text[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int8[])
        AS k(tenant, lane, f0, f1, f2, f3) LEFT JOIN cofferdam.tenant w ON w.name = k.tenant";

/// Which lanes are looked at.
pub(super) enum Look {
    /// The next of all, behind this one.
    All(String, i64),
    /// Those that a look at all has seen, while another is dear.
    Known(Vec<(String, i64, LaneFloors)>),
}

/// The lanes that a look found.
pub(super) struct Seen {
    pub(super) lanes: Vec<Lane>,
    /// How long it took, if all lanes were looked at.
    pub(super) took: Option<Duration>,
}

impl Look {
    /// The first of all lanes.
    pub(super) fn from_the_first() -> Look {
        Look::All(String::new(), i64::MIN)
    }

    /// The statement and its parameters.
    pub(super) fn statement(self) -> (&'static str, Params) {
        match self {
            Look::All(tenant, lane) => {
                let most = i64::try_from(LANES_MAX).unwrap_or(i64::MAX);
                (RING, params![tenant, lane, most])
            }
            Look::Known(known) => {
                let tenants: Vec<String> = known.iter().map(|lane| lane.0.clone()).collect();
                let numbers: Vec<i64> = known.iter().map(|lane| lane.1).collect();
                let floors: Vec<LaneFloors> = known.iter().map(|lane| lane.2).collect();
                let mut asked = params![tenants, numbers];
                asked.extend(floors::columns(&floors));
                (KNOWN, asked)
            }
        }
    }
}

/// What a look found, from its rows.
pub(super) fn seen(rows: &[Row]) -> Result<Seen, StorageError> {
    let mut seen = Seen {
        lanes: Vec::with_capacity(rows.len()),
        took: None,
    };
    for row in rows {
        match get::<Option<f64>>(row, 5)? {
            Some(millis) => seen.took = Some(Duration::from_secs_f64(millis.max(0.0) / 1000.0)),
            None => seen.lanes.push(lane_of(row)?),
        }
    }
    seen.lanes.retain(|lane| lane.next_run_at().is_some());
    Ok(seen)
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
