//! Listing tasks, newest first or oldest change first.
//!
//! A list is found in two steps: first the places of the tasks, from an index, then the tasks
//! themselves, one by one. No list walks over everything: if no index answers exactly, the search
//! covers the next [`SCAN_MAX`] tasks of an index in the right order, and a page that ends there
//! says where the next one continues.

use std::ops::RangeInclusive;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::db::state_number;
use super::tasks::{counts, select_tasks, task_of};
use crate::{ChangeNumber, ListPosition, Since, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// Up to this many waiting or running tasks are sorted; if there are more, a scan finds them soon.
const SORTED_MAX: u64 = 20_000;
/// The most tasks examined for one page.
const SCAN_MAX: i64 = 50_000;
/// How far the time of a change may be behind that of an earlier one. Changes are numbered at their
/// commit and dated at their request.
const DISORDER_MAX_MS: i64 = 60_000;

/// An index that a list follows, with a place for each task in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Every task, by its `seq`.
    Seq,
    /// Those of one module, by their `seq`.
    Name(i64),
    /// Those of a state with few tasks, by their `seq`, after sorting.
    Few(TaskState),
    /// Those that failed or were cancelled, by their `seq`.
    Unsuccessful(TaskState),
    /// Every task, by its newest change.
    Change,
}

impl Path {
    /// The table with the index, its condition, and the column that is the place.
    fn parts(self) -> (&'static str, String, &'static str) {
        match self {
            Path::Seq => ("task", "true".to_owned(), "seq"),
            Path::Name(name) => ("task INDEXED BY task_name", format!("name = {name}"), "seq"),
            Path::Few(TaskState::Running) => (
                "task INDEXED BY task_running",
                // The number is a literal, so that SQLite sees that the partial index holds all of
                // them.
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
            Path::Change => ("task INDEXED BY task_change", "true".to_owned(), "change"),
        }
    }
}

/// The part of a filter that the index does not answer.
#[derive(Default)]
struct Rest {
    sql: String,
    values: Vec<Value>,
}

impl Rest {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn states(&mut self, states: &[TaskState]) {
        if !states.is_empty() {
            let numbers: Vec<String> = states
                .iter()
                .map(|state| state_number(*state).to_string())
                .collect();
            self.and(&format!("state IN ({})", numbers.join(", ")), []);
        }
    }

    fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }
}

/// Places and `seq`s found along one path.
#[derive(Default)]
struct Found {
    tasks: Vec<(i64, i64)>,
    /// Where the search ended before the end of the path.
    stopped_at: Option<i64>,
}

/// The tasks that pass `filter`, and where the next page begins.
pub(super) fn tasks(
    conn: &Connection,
    filter: &TaskFilter,
    limit: u32,
) -> Result<TaskPage, StorageError> {
    // One snapshot, so that the list and the number of the newest change belong together.
    let snapshot = conn.unchecked_transaction()?;
    let newest = newest_change(&snapshot)?;
    let found = match filter.since {
        None => by_age(&snapshot, filter, limit)?,
        Some(since) => by_change(&snapshot, filter, since, limit, newest)?,
    };
    let mut get = snapshot.prepare_cached(select_tasks!("", "WHERE t.seq = ?1"))?;
    let mut tasks = Vec::with_capacity(found.tasks.len());
    for (_, seq) in &found.tasks {
        let mut rows = get.query([seq])?;
        let row = rows
            .next()?
            .ok_or_else(|| StorageError::corrupt("an index names a task that does not exist"))?;
        tasks.push(task_of(row)?);
    }
    let next = found.stopped_at.map(ListPosition);
    Ok(TaskPage {
        tasks,
        next,
        as_of: match (filter.since, next) {
            (Some(_), Some(ListPosition(place))) => ChangeNumber(place),
            (None, _) | (Some(_), None) => ChangeNumber(newest),
        },
        newest: ChangeNumber(newest),
    })
}

fn newest_change(conn: &Connection) -> Result<i64, StorageError> {
    Ok(conn
        .prepare_cached("SELECT number FROM newest_change")?
        .query_row([], |row| row.get(0))?)
}

fn by_age(conn: &Connection, filter: &TaskFilter, limit: u32) -> Result<Found, StorageError> {
    let below = filter.after.map_or(i64::MAX, |ListPosition(seq)| seq);
    let mut rest = Rest::default();
    if let Some(priority) = filter.priority {
        rest.and("priority = ?", [Value::Integer(priority.rank().into())]);
    }
    if let Some(name) = &filter.module {
        let Some(name) = name_number(conn, name.as_str())? else {
            return Ok(Found::default());
        };
        rest.states(&filter.states);
        return search(conn, Path::Name(name), &rest, i64::MIN..=below - 1, limit);
    }
    let states = occurring(conn, &filter.states)?;
    if states.is_empty() && !filter.states.is_empty() {
        return Ok(Found::default());
    }
    if let Some(paths) = exact_paths(conn, &states)? {
        let mut all = Found::default();
        for path in paths {
            let found = search(conn, path, &rest, i64::MIN..=below - 1, limit)?;
            all.tasks.extend(found.tasks);
            all.stopped_at = all.stopped_at.max(found.stopped_at);
        }
        all.tasks.sort_unstable_by(|a, b| b.cmp(a));
        // Below that place one of the paths may have more.
        let floor = all.stopped_at.unwrap_or(i64::MIN);
        all.tasks.retain(|(place, _)| *place >= floor);
        return Ok(cut(all, limit));
    }
    rest.states(&states);
    search(conn, Path::Seq, &rest, i64::MIN..=below - 1, limit)
}

/// The `states` that have a task.
fn occurring(conn: &Connection, states: &[TaskState]) -> Result<Vec<TaskState>, StorageError> {
    let counts = counts(conn)?;
    let asked = TaskState::ALL
        .into_iter()
        .filter(|state| states.contains(state) && counts.of(*state) > 0);
    Ok(asked.collect())
}

/// One path for each requested state, if each state has an exact one.
fn exact_paths(conn: &Connection, states: &[TaskState]) -> Result<Option<Vec<Path>>, StorageError> {
    if states.is_empty() {
        return Ok(None);
    }
    let counts = counts(conn)?;
    let path = |state: TaskState| match state {
        TaskState::Pending if counts.pending <= SORTED_MAX => Some(Path::Few(state)),
        TaskState::Running if counts.running <= SORTED_MAX => Some(Path::Few(state)),
        TaskState::Failed | TaskState::Cancelled => Some(Path::Unsuccessful(state)),
        TaskState::Blocked | TaskState::Pending | TaskState::Running | TaskState::Completed => None,
    };
    Ok(states.iter().map(|state| path(*state)).collect())
}

fn by_change(
    conn: &Connection,
    filter: &TaskFilter,
    since: Since,
    limit: u32,
    newest: i64,
) -> Result<Found, StorageError> {
    let mut rest = Rest::default();
    let since = match since {
        Since::Change(ChangeNumber(number)) => number,
        Since::Time(time) => {
            rest.and("updated_at >= ?", [Value::Integer(time.as_millis())]);
            last_change_before(conn, time, newest)?
        }
    };
    let after = filter
        .after
        .map_or(since, |ListPosition(number)| number.max(since));
    if let Some(priority) = filter.priority {
        rest.and("priority = ?", [Value::Integer(priority.rank().into())]);
    }
    if let Some(name) = &filter.module {
        let Some(name) = name_number(conn, name.as_str())? else {
            return Ok(Found::default());
        };
        rest.and("name = ?", [Value::Integer(name)]);
    }
    rest.states(&filter.states);
    let above = after.saturating_add(1);
    search(conn, Path::Change, &rest, above..=i64::MAX, limit)
}

/// A change below which all were made before `time`. It is found by binary search, because times
/// grow with the numbers, with small exceptions.
fn last_change_before(
    conn: &Connection,
    time: Timestamp,
    newest: i64,
) -> Result<i64, StorageError> {
    let before = time.as_millis().saturating_sub(DISORDER_MAX_MS);
    let mut next = conn.prepare_cached(
        "SELECT change, updated_at FROM task INDEXED BY task_change WHERE change > ?1
         ORDER BY change LIMIT 1",
    )?;
    let (mut low, mut high) = (0, newest);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = next
            .query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((change, at)) if at < before => low = change,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// The first `limit` tasks along a path, and where it continues.
fn search(
    conn: &Connection,
    path: Path,
    rest: &Rest,
    places: RangeInclusive<i64>,
    limit: u32,
) -> Result<Found, StorageError> {
    let (mut from, mut to) = places.into_inner();
    let (table, own, place) = path.parts();
    let direction = if path == Path::Change { "ASC" } else { "DESC" };
    let range = format!("{own} AND {place} >= ? AND {place} <= ?");
    let mut stopped_at = None;
    if !rest.is_empty() {
        // This is the last examined place, whether or not something is found.
        let last: Option<i64> = conn
            .prepare_cached(&format!(
                "SELECT {place} FROM {table} WHERE {range} ORDER BY {place} {direction}
                 LIMIT 1 OFFSET ?"
            ))?
            .query_row([from, to, SCAN_MAX - 1], |row| row.get(0))
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
        rest.sql
    );
    let values = [Value::Integer(from), Value::Integer(to)]
        .into_iter()
        .chain(rest.values.iter().cloned())
        .chain([Value::Integer(i64::from(limit) + 1)]);
    let mut statement = conn.prepare_cached(&sql)?;
    let tasks = statement
        .query_map(params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    Ok(cut(Found { tasks, stopped_at }, limit))
}

/// A page of the found tasks, with a next page behind its last task if there are more.
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

/// The number of a module's name; `None` if no task is of such a module.
fn name_number(conn: &Connection, name: &str) -> Result<Option<i64>, StorageError> {
    Ok(conn
        .prepare_cached("SELECT id FROM module_name WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
mod tests;
