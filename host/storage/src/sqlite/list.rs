//! Listing tasks, newest first or oldest change first.
//!
//! A list is found in two steps: first which tasks, from an index, then the tasks themselves, one
//! by one. No list walks over everything: what no index answers exactly is looked for among the
//! next so many tasks of an index that holds them in order, and a page that ends there says where the
//! next one goes on.

mod path;
mod rest;
#[cfg(test)]
mod tests;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use self::path::{search, search_all};
use self::rest::Rest;
use super::tasks::{counts, select_tasks, task_of};
use crate::listing::{
    ByState, DISORDER_MAX_MS, Found, Path, asked_states, by_kind, by_state, without_dead,
};
use crate::{ChangeNumber, IdPage, ListPosition, Since, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

/// The tasks that pass `filter`, and where the next page begins.
pub(super) fn tasks(
    conn: &Connection,
    tenant: &Tenant,
    filter: &TaskFilter,
    limit: u32,
) -> Result<TaskPage, StorageError> {
    // One snapshot, so that the list and the number of the newest change belong together.
    let snapshot = conn.unchecked_transaction()?;
    let newest = newest_change(&snapshot)?;
    let found = match filter.since {
        None => by_age((&snapshot, tenant), filter, limit)?,
        Some(since) => by_change((&snapshot, tenant), filter, since, limit, newest)?,
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

/// The ids of tasks that pass `filter`, newest first, whatever it says of changes.
pub(super) fn task_ids(
    conn: &Connection,
    tenant: &Tenant,
    filter: &TaskFilter,
    limit: u32,
) -> Result<IdPage, StorageError> {
    let snapshot = conn.unchecked_transaction()?;
    let found = by_age((&snapshot, tenant), filter, limit)?;
    let mut get = snapshot.prepare_cached("SELECT id FROM task WHERE seq = ?1")?;
    let mut ids = Vec::with_capacity(found.tasks.len());
    for (_, seq) in &found.tasks {
        let id = get.query_row([seq], |row| row.get(0))?;
        ids.push(TaskId(uuid::Uuid::from_bytes(id)));
    }
    let next = found.stopped_at.map(ListPosition);
    Ok(IdPage { ids, next })
}

fn newest_change(conn: &Connection) -> Result<i64, StorageError> {
    Ok(conn
        .prepare_cached("SELECT number FROM newest_change")?
        .query_row([], |row| row.get(0))?)
}

/// A filter's states and module as the database has them.
struct Asked {
    /// All if empty.
    states: Vec<TaskState>,
    name: Option<i64>,
}

impl Asked {
    /// `None` if no task can pass.
    fn of(
        conn: &Connection,
        tenant: &Tenant,
        filter: &TaskFilter,
    ) -> Result<Option<Asked>, StorageError> {
        let name = match &filter.module {
            None => None,
            Some(name) => match name_number(conn, tenant, name.as_str())? {
                None => return Ok(None),
                known => known,
            },
        };
        Ok(asked_states(filter).map(|states| Asked { states, name }))
    }
}

fn by_age(
    (conn, tenant): (&Connection, &Tenant),
    filter: &TaskFilter,
    limit: u32,
) -> Result<Found, StorageError> {
    let below = filter.after.map_or(i64::MAX, |ListPosition(seq)| seq);
    let Some(Asked { states, name }) = Asked::of(conn, tenant, filter)? else {
        return Ok(Found::default());
    };
    if let Some(filter) = without_dead(filter) {
        let mut rest = Rest::of(&filter);
        rest.name(name);
        rest.error_kinds(&filter.error_kinds);
        return search_all((conn, tenant), &[Path::Dead], &rest, below, limit);
    }
    let mut rest = Rest::of(filter);
    if !filter.error_kinds.is_empty() {
        rest.states(&states);
        rest.name(name);
        let paths = by_kind(&filter.error_kinds);
        return search_all((conn, tenant), &paths, &rest, below, limit);
    }
    if let Some(name) = name {
        rest.states(&states);
        return search_all((conn, tenant), &[Path::Name(name)], &rest, below, limit);
    }
    let Some(ByState {
        paths,
        rest: states,
    }) = by_state(&states, &counts(conn, &Whose::One(tenant.clone()))?)
    else {
        return Ok(Found::default());
    };
    rest.states(&states);
    search_all((conn, tenant), &paths, &rest, below, limit)
}

fn by_change(
    (conn, tenant): (&Connection, &Tenant),
    filter: &TaskFilter,
    since: Since,
    limit: u32,
    newest: i64,
) -> Result<Found, StorageError> {
    let mut rest = Rest::of(filter);
    let Some(Asked { states, name }) = Asked::of(conn, tenant, filter)? else {
        return Ok(Found::default());
    };
    rest.states(&states);
    rest.name(name);
    rest.error_kinds(&filter.error_kinds);
    let since = match since {
        Since::Change(ChangeNumber(number)) => number,
        Since::Time(time) => {
            rest.and("updated_at >= ?", [Value::Integer(time.as_millis())]);
            last_change_before((conn, tenant), time, newest)?
        }
    };
    let after = filter
        .after
        .map_or(since, |ListPosition(number)| number.max(since));
    let above = after.saturating_add(1);
    search((conn, tenant), Path::Change, &rest, above..=i64::MAX, limit)
}

/// A change below which all were made before `time`. It is found by binary search, because times
/// grow with the numbers, with small exceptions.
fn last_change_before(
    (conn, tenant): (&Connection, &Tenant),
    time: Timestamp,
    newest: i64,
) -> Result<i64, StorageError> {
    let before = time.as_millis().saturating_sub(DISORDER_MAX_MS);
    let mut next = conn.prepare_cached(
        "SELECT change, updated_at FROM task INDEXED BY task_change
         WHERE tenant = ?1 AND change > ?2
         ORDER BY change LIMIT 1",
    )?;
    let (mut low, mut high) = (0, newest);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> = next
            .query_row(params![tenant.as_str(), middle], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        match found {
            Some((change, at)) if at < before => low = change,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// The number of a module's name; `None` if no task of the tenant is of such a module.
fn name_number(
    conn: &Connection,
    tenant: &Tenant,
    name: &str,
) -> Result<Option<i64>, StorageError> {
    Ok(conn
        .prepare_cached("SELECT id FROM module_name WHERE name = ?1 AND tenant = ?2")?
        .query_row([name, tenant.as_str()], |row| row.get(0))
        .optional()?)
}
