//! Going along one index of tasks for the next few that pass.
//!
//! Which index that is, and what the list as a whole consists of, is decided by the parent.

use std::ops::RangeInclusive;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::rest::Rest;
use crate::StorageError;
use crate::rows::state_number;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::state::TaskState;

/// An index that a list goes along, with a place for each task in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Every task, by its `seq`.
    Seq,
    /// Those of one module, by their `seq`.
    Name(i64),
    /// Those of a state of which there are few: by their `seq`, after sorting.
    Few(TaskState),
    /// Those that failed or were cancelled, by their `seq`.
    Unsuccessful(TaskState),
    /// Those that show a failure of one kind, by their `seq`.
    ErrorKind(FailureKind),
    /// Every task, by its newest change.
    Change,
}

impl Path {
    /// The table with the index, its own condition, and the column that says the place.
    fn parts(self) -> (&'static str, String, &'static str) {
        match self {
            Path::Seq => ("task", "true".to_owned(), "seq"),
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
            Path::ErrorKind(kind) => (
                "task INDEXED BY task_error_kind",
                format!("error_kind = '{}'", kind.as_str()),
                "seq",
            ),
            Path::Change => ("task INDEXED BY task_change", "true".to_owned(), "change"),
        }
    }
}

/// Places and `seq`s found along one path.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tasks: Vec<(i64, i64)>,
    /// Where the search ended without having come to the end of the path.
    pub(super) stopped_at: Option<i64>,
}

/// The first `limit` tasks along all of these paths, on which places fall, and where they go on.
pub(super) fn search_all(
    conn: &Connection,
    paths: &[Path],
    rest: &Rest,
    below: i64,
    limit: u32,
) -> Result<Found, StorageError> {
    let scan = rest.scan_max() / i64::try_from(paths.len().max(1)).unwrap_or(i64::MAX);
    let mut all = Found::default();
    for path in paths {
        let found = search_some(
            conn,
            *path,
            rest,
            i64::MIN..=below.saturating_sub(1),
            limit,
            scan,
        )?;
        all.tasks.extend(found.tasks);
        all.stopped_at = all.stopped_at.max(found.stopped_at);
    }
    all.tasks.sort_unstable_by(|a, b| b.cmp(a));
    // Below that place one of the paths may have more.
    let floor = all.stopped_at.unwrap_or(i64::MIN);
    all.tasks.retain(|(place, _)| *place >= floor);
    Ok(cut(all, limit))
}

/// The first `limit` tasks along a path, and where it goes on.
pub(super) fn search(
    conn: &Connection,
    path: Path,
    rest: &Rest,
    places: RangeInclusive<i64>,
    limit: u32,
) -> Result<Found, StorageError> {
    search_some(conn, path, rest, places, limit, rest.scan_max())
}

/// The same among the next `scan` tasks.
fn search_some(
    conn: &Connection,
    path: Path,
    rest: &Rest,
    places: RangeInclusive<i64>,
    limit: u32,
    scan: i64,
) -> Result<Found, StorageError> {
    let (mut from, mut to) = places.into_inner();
    let (table, own, place) = path.parts();
    let direction = if path == Path::Change { "ASC" } else { "DESC" };
    let range = format!("{own} AND {place} >= ? AND {place} <= ?");
    let mut stopped_at = None;
    if !rest.is_empty() {
        // Whatever is found or not, this is the last place that is looked at.
        let last: Option<i64> = conn
            .prepare_cached(&format!(
                "SELECT {place} FROM {table} WHERE {range} ORDER BY {place} {direction}
                 LIMIT 1 OFFSET ?"
            ))?
            .query_row([from, to, (scan - 1).max(0)], |row| row.get(0))
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
    let values = [Value::Integer(from), Value::Integer(to)]
        .into_iter()
        .chain(rest.values().iter().cloned())
        .chain([Value::Integer(i64::from(limit) + 1)]);
    let mut statement = conn.prepare_cached(&sql)?;
    let tasks = statement
        .query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(cut(Found { tasks, stopped_at }, limit))
}

/// A page of what was found, which goes on behind its last task if there was more.
fn cut(found: Found, limit: u32) -> Found {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let Found {
        mut tasks,
        mut stopped_at,
    } = found;
    if tasks.len() > limit {
        tasks.truncate(limit);
        stopped_at = tasks.last().map(|(place, _)| *place);
    }
    Found { tasks, stopped_at }
}
