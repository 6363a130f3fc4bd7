//! Goes along one index of tasks for the next few that pass.
//!
//! Which index that is, and what the list as a whole consists of, is decided by the parent.

use std::ops::RangeInclusive;

use tokio_postgres::Row;

use super::rest::Rest;
use crate::StorageError;
use crate::listing::{DEAD, Found, Path};
use crate::postgres::fault::{Fault, get};
use crate::postgres::params::params;
use crate::postgres::tx::Tx;
use crate::rows::state_number;

/// The source with its condition, and the column that is the place. The first parameter is the tenant.
fn parts(path: Path) -> (String, &'static str) {
    const ALL: &str = "cofferdam.task t WHERE t.tenant = $1";
    match path {
        Path::Seq => (
            "cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq WHERE s.tenant = $1"
                .to_owned(),
            "s.seq",
        ),
        Path::Name(name) => (
            format!(
                "cofferdam.task_spec s JOIN cofferdam.task t ON t.seq = s.seq
                 WHERE s.tenant = $1 AND s.name = {name}"
            ),
            "s.seq",
        ),
        // OFFSET separates it, because the planner would rather walk over all tasks in their order.
        Path::Few(state) => (
            format!(
                "(SELECT * FROM cofferdam.task WHERE state = {} AND tenant = $1 OFFSET 0) t
                 WHERE true",
                state_number(state)
            ),
            "t.seq",
        ),
        Path::Unsuccessful(state) => (
            format!(
                "{ALL} AND t.state >= 4 AND t.state = {}",
                state_number(state)
            ),
            "t.seq",
        ),
        Path::Dead => (format!("{ALL} AND {DEAD}"), "t.seq"),
        Path::ErrorKind(kind) => (
            format!(
                "{ALL} AND t.error_kind IS NOT NULL AND t.error_kind = '{}'",
                kind.as_str()
            ),
            "t.seq",
        ),
        Path::Change => (ALL.to_owned(), "t.change"),
    }
}

/// The first `limit` tasks along all of these paths, on which places fall, and where they continue.
pub(super) async fn search_all(
    (tx, tenant): (&mut Tx, &str),
    paths: &[Path],
    rest: &Rest,
    below: i64,
    limit: u32,
) -> Result<Found, Fault> {
    let scan = rest.scan_max() / i64::try_from(paths.len().max(1)).unwrap_or(i64::MAX);
    let mut parts = Vec::with_capacity(paths.len());
    for path in paths {
        let places = i64::MIN..=below.saturating_sub(1);
        parts.push(search_some((&mut *tx, tenant), *path, rest, places, limit, scan).await?);
    }
    Ok(Found::merged(parts, limit))
}

/// The first `limit` tasks along a path, and where it continues.
pub(super) async fn search(
    (tx, tenant): (&mut Tx, &str),
    path: Path,
    rest: &Rest,
    places: RangeInclusive<i64>,
    limit: u32,
) -> Result<Found, Fault> {
    search_some((tx, tenant), path, rest, places, limit, rest.scan_max()).await
}

/// The same among the next `scan` tasks.
async fn search_some(
    (tx, tenant): (&mut Tx, &str),
    path: Path,
    rest: &Rest,
    places: RangeInclusive<i64>,
    limit: u32,
    scan: i64,
) -> Result<Found, Fault> {
    let (mut from, mut to) = places.into_inner();
    let (source, place) = parts(path);
    let direction = if path == Path::Change { "ASC" } else { "DESC" };
    let range = format!("{source} AND {place} >= $2 AND {place} <= $3");
    let mut stopped_at = None;
    if !rest.is_empty() {
        // This is the last examined place, whether or not something is found.
        let sql =
            format!("SELECT {place} FROM {range} ORDER BY {place} {direction} LIMIT 1 OFFSET $4");
        let wanted = params![tenant.to_owned(), from, to, (scan - 1).max(0)];
        let last = tx.query_opt(&sql, wanted).await?;
        stopped_at = last.map(|row| get(&row, 0)).transpose()?;
        match stopped_at {
            Some(last) if path == Path::Change => to = last,
            Some(last) => from = last,
            None => {}
        }
    }
    // Metadata is compared here, and so every task up to the last examined place is wanted.
    let (metadata, limit_in_sql) = match rest.reads_metadata() {
        true => (
            "(SELECT m.metadata FROM cofferdam.task_spec m WHERE m.seq = t.seq)",
            scan.max(1),
        ),
        false => ("NULL::text", i64::from(limit) + 1),
    };
    let sql = format!(
        "SELECT {place}, t.seq, {metadata} FROM {range}{} ORDER BY {place} {direction} LIMIT $4",
        rest.sql()
    );
    let wanted = params![tenant.to_owned(), from, to, limit_in_sql];
    let rows = tx.query(&sql, wanted).await?;
    let passing = |row: &Row| -> Result<Option<(i64, i64)>, StorageError> {
        let passes = rest.has_members(get(row, 2)?);
        passes.then(|| Ok((get(row, 0)?, get(row, 1)?))).transpose()
    };
    let tasks: Result<_, StorageError> = rows
        .iter()
        .filter_map(|row| passing(row).transpose())
        .collect();
    let found = Found {
        tasks: tasks?,
        stopped_at,
    };
    Ok(found.cut(limit))
}
