//! Listing tasks.
//!
//! The order of `seq` gives newest first for nothing. A state that may be rare among many other
//! tasks is looked for through its partial index and each state by itself, so that a page never
//! costs a walk over everything. Listing by change has no index of its own, because that would
//! cost every claim and finish two more writes: final tasks have theirs, and of the others there
//! are only as many as wait.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::db::state_number;
use super::tasks::{counts, select_tasks, task_of};
use crate::{ListPosition, StorageError, TaskFilter};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Task;
use cofferdam_domain::time::Timestamp;

/// Up to this many pending tasks are sorted; more are found soon enough on the way down.
const PENDING_SORTED_MAX: u64 = 20_000;

/// Which way a query goes through the table.
#[derive(Clone, Copy)]
enum Path {
    Seq,
    Pending,
    Running,
    Final,
    Unsuccessful,
}

impl Path {
    fn select(self) -> &'static str {
        match self {
            Path::Seq => select_tasks!("", ""),
            Path::Pending => select_tasks!("INDEXED BY task_pending", ""),
            Path::Running => select_tasks!("INDEXED BY task_running", ""),
            Path::Final => select_tasks!("INDEXED BY task_final", ""),
            Path::Unsuccessful => select_tasks!("INDEXED BY task_unsuccessful", ""),
        }
    }
}

/// A WHERE that grows.
#[derive(Clone, Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition; each `?` in it stands for the next of `values`.
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() {
            "WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// What every listing filters by.
    fn of(filter: &TaskFilter) -> Conditions {
        let mut conditions = Conditions::default();
        if let Some(module) = &filter.module {
            conditions.and("p.module = ?", [Value::Text(module.as_str().to_owned())]);
        }
        if let Some(priority) = filter.priority {
            conditions.and("t.priority = ?", [Value::Integer(priority.rank().into())]);
        }
        conditions
    }

    fn run(
        mut self,
        conn: &Connection,
        path: Path,
        order: &str,
        limit: u32,
    ) -> Result<Vec<(i64, Task)>, StorageError> {
        let sql = format!("{} {} ORDER BY {order} LIMIT ?", path.select(), self.sql);
        self.values.push(Value::Integer(limit.into()));
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(self.values))?;
        let mut tasks = Vec::new();
        while let Some(row) = rows.next()? {
            tasks.push((row.get(26)?, task_of(row)?));
        }
        Ok(tasks)
    }
}

/// The tasks that pass `filter`.
pub(super) fn tasks(
    conn: &Connection,
    filter: &TaskFilter,
    limit: u32,
) -> Result<Vec<Task>, StorageError> {
    let mut found = match filter.changed_since {
        None => newest(conn, filter, limit)?,
        Some(since) => changed(conn, filter, since, limit)?,
    };
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found.into_iter().map(|(_seq, task)| task).collect())
}

fn newest(
    conn: &Connection,
    filter: &TaskFilter,
    limit: u32,
) -> Result<Vec<(i64, Task)>, StorageError> {
    let mut conditions = Conditions::of(filter);
    if let Some(position) = filter.after {
        match seq_of(conn, position)? {
            Some(seq) => conditions.and("t.seq < ?", [Value::Integer(seq)]),
            // The task at this place was pruned. Nothing is left out; some may come twice.
            None => conditions.and(
                "t.created_at <= ?",
                [Value::Integer(position.at.as_millis())],
            ),
        }
    }
    if filter.states.is_empty() {
        return conditions.run(conn, Path::Seq, "t.seq DESC", limit);
    }
    let mut found = Vec::new();
    for state in TaskState::ALL
        .into_iter()
        .filter(|state| filter.states.contains(state))
    {
        let mut conditions = conditions.clone();
        // Literally, so that SQLite sees that the partial index holds all of them.
        conditions.and(&format!("t.state = {}", state_number(state)), []);
        let path = match state {
            TaskState::Blocked | TaskState::Completed => Path::Seq,
            TaskState::Pending if counts(conn)?.pending > PENDING_SORTED_MAX => Path::Seq,
            TaskState::Pending => Path::Pending,
            TaskState::Running => Path::Running,
            TaskState::Failed | TaskState::Cancelled => {
                conditions.and("t.state >= 4", []);
                Path::Unsuccessful
            }
        };
        found.extend(conditions.run(conn, path, "t.seq DESC", limit)?);
    }
    found.sort_by_key(|(seq, _task)| std::cmp::Reverse(*seq));
    Ok(found)
}

fn seq_of(conn: &Connection, position: ListPosition) -> Result<Option<i64>, StorageError> {
    Ok(conn
        .prepare_cached("SELECT seq FROM task WHERE id = ?1")?
        .query_row([position.id.0.as_bytes()], |row| row.get(0))
        .optional()?)
}

fn changed(
    conn: &Connection,
    filter: &TaskFilter,
    since: Timestamp,
    limit: u32,
) -> Result<Vec<(i64, Task)>, StorageError> {
    let mut conditions = Conditions::of(filter);
    let from = filter
        .after
        .map_or(since, |position| position.at.max(since));
    if let Some(position) = filter.after {
        conditions.and(
            "(t.updated_at, t.id) > (?, ?)",
            [
                Value::Integer(position.at.as_millis()),
                Value::Blob(position.id.0.as_bytes().to_vec()),
            ],
        );
    }
    let wanted = |state: &TaskState| filter.states.is_empty() || filter.states.contains(state);
    let mut found = Vec::new();
    for state in TaskState::ALL.into_iter().filter(wanted) {
        let mut conditions = conditions.clone();
        conditions.and(&format!("t.state = {}", state_number(state)), []);
        let (path, order) = match state {
            // Few or none, but without an index: looked for only if there are any.
            TaskState::Blocked if counts(conn)?.blocked == 0 => continue,
            TaskState::Blocked => (Path::Seq, "t.updated_at, t.id"),
            TaskState::Pending => (Path::Pending, "t.updated_at, t.id"),
            TaskState::Running => (Path::Running, "t.updated_at, t.id"),
            TaskState::Completed | TaskState::Failed | TaskState::Cancelled => {
                conditions.and(
                    "t.state >= 3 AND t.finished_at >= ?",
                    [Value::Integer(from.as_millis())],
                );
                (Path::Final, "t.finished_at, t.id")
            }
        };
        conditions.and("t.updated_at >= ?", [Value::Integer(from.as_millis())]);
        found.extend(conditions.run(conn, path, order, limit)?);
    }
    found.sort_by_key(|(_seq, task)| (task.updated_at, task.id));
    Ok(found)
}
