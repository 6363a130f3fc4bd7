//! Going along one index of tasks for the next few that pass.
//!
//! Which index that is, and what the list as a whole consists of, is decided by the parent.

use std::ops::RangeInclusive;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::rest::Rest;
use crate::StorageError;
use crate::listing::{DEAD, Found, Path};
use crate::rows::state_number;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;

/// The table with the index, its own condition, and the column that says the place. The first parameter
/// is the tenant.
fn parts(path: Path) -> (&'static str, String, &'static str) {
    match path {
        Path::Seq => ("task INDEXED BY task_tenant", "true".to_owned(), "seq"),
        Path::Name(name) => ("task INDEXED BY task_name", format!("name = {name}"), "seq"),
        Path::Few(TaskState::Running) => (
            "task INDEXED BY task_running",
            // Literally, so that SQLite sees that the partial index holds all of them.
            "state = 2".to_owned(),
            "seq",
        ),
        Path::Few(_) => (
            "task INDEXED BY task_pending",
            "state = 1".to_owned(),
            "seq",
        ),
        Path::Unsuccessful(state) => (
            "task INDEXED BY task_unsuccessful",
            format!("state >= 4 AND state = {}", state_number(state)),
            "seq",
        ),
        Path::Dead => ("task INDEXED BY task_dead", DEAD.to_owned(), "seq"),
        Path::ErrorKind(kind) => (
            "task INDEXED BY task_error_kind",
            format!("error_kind = '{}'", kind.as_str()),
            "seq",
        ),
        Path::Change => ("task INDEXED BY task_change", "true".to_owned(), "change"),
    }
}

/// The first `limit` tasks along all of these paths, on which places fall, and where they go on.
pub(super) fn search_all(
    (conn, tenant): (&Connection, &Tenant),
    paths: &[Path],
    rest: &Rest,
    below: i64,
    limit: u32,
) -> Result<Found, StorageError> {
    let scan = rest.scan_max() / i64::try_from(paths.len().max(1)).unwrap_or(i64::MAX);
    let mut parts = Vec::with_capacity(paths.len());
    for path in paths {
        let places = i64::MIN..=below.saturating_sub(1);
        parts.push(search_some(
            (conn, tenant),
            *path,
            rest,
            places,
            limit,
            scan,
        )?);
    }
    Ok(Found::merged(parts, limit))
}

/// The first `limit` tasks along a path, and where it goes on.
pub(super) fn search(
    (conn, tenant): (&Connection, &Tenant),
    path: Path,
    rest: &Rest,
    places: RangeInclusive<i64>,
    limit: u32,
) -> Result<Found, StorageError> {
    search_some((conn, tenant), path, rest, places, limit, rest.scan_max())
}

/// The same among the next `scan` tasks.
fn search_some(
    (conn, tenant): (&Connection, &Tenant),
    path: Path,
    rest: &Rest,
    places: RangeInclusive<i64>,
    limit: u32,
    scan: i64,
) -> Result<Found, StorageError> {
    let (mut from, mut to) = places.into_inner();
    let (table, own, place) = parts(path);
    let direction = if path == Path::Change { "ASC" } else { "DESC" };
    let range = format!("tenant = ? AND {own} AND {place} >= ? AND {place} <= ?");
    let mut stopped_at = None;
    if !rest.is_empty() {
        // Whatever is found or not, this is the last place that is looked at.
        let last: Option<i64> = conn
            .prepare_cached(&format!(
                "SELECT {place} FROM {table} WHERE {range} ORDER BY {place} {direction}
                 LIMIT 1 OFFSET ?"
            ))?
            .query_row(
                params![tenant.as_str(), from, to, (scan - 1).max(0)],
                |row| row.get(0),
            )
            .optional()?;
        stopped_at = last;
        match last {
            Some(last) if path == Path::Change => to = last,
            Some(last) => from = last,
            None => {}
        }
    }
    let sql = format!(
        "SELECT {place}, seq FROM {table} WHERE {range}{} ORDER BY {place} {direction} LIMIT ?",
        rest.sql()
    );
    let tenant = Value::Text(tenant.as_str().to_owned());
    let values = [tenant, Value::Integer(from), Value::Integer(to)]
        .into_iter()
        .chain(rest.values().iter().cloned())
        .chain([Value::Integer(i64::from(limit) + 1)]);
    let mut statement = conn.prepare_cached(&sql)?;
    let tasks = statement
        .query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(Found { tasks, stopped_at }.cut(limit))
}
