//! Listing tasks, newest first or oldest change first.
//!
//! A list is found in two steps: first which tasks, along an index, then the tasks themselves. No list
//! walks over everything: if no index answers exactly, the search covers a bounded number of tasks of an
//! index in the right order, and a page that ends there says where the next one continues.
//!
//! Transactions that go on at once become visible in another order than that of their numbers, so no
//! list by change goes beyond the oldest of them (`cofferdam.change_horizon`). Whoever asks for changes
//! waits a moment for those that are just being committed.

mod path;
mod rest;

use std::time::Duration;

use tokio::time::Instant;

use self::path::{search, search_all};
use self::rest::Rest;
use super::call::Call;
use super::counters::counts;
use super::fault::{Fault, get};
use super::params::params;
use super::tasks::some_tasks;
use super::templates::name_number;
use super::tx::{Mode, Tx};
use crate::listing::{
    ByState, DISORDER_MAX_MS, Found, Path, asked_states, by_kind, by_state, without_dead,
};
use crate::{ChangeNumber, IdPage, ListPosition, Since, StorageError, TaskFilter, TaskPage};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

/// How long a list by change waits for transactions that may still add to it, and how often it looks.
const SETTLE_MAX: Duration = Duration::from_millis(250);
const SETTLE_LOOK: Duration = Duration::from_millis(4);

/// The newest change of the tenant $1 or of a removed task that can be seen, and the first number that one may have which cannot.
const NEWEST: &str = "
    SELECT greatest((SELECT max(change) FROM cofferdam.task WHERE tenant = $1), newest), cofferdam.change_horizon()
    FROM cofferdam.change_base";

/// The tasks that pass `filter`, and where the next page begins.
pub(super) async fn tasks(
    call: &Call,
    tenant: &Tenant,
    filter: &TaskFilter,
    limit: u32,
) -> Result<TaskPage, Fault> {
    if filter.since.is_some() {
        settle(call, tenant).await?;
    }
    let mut tx = call.begin(Mode::Read).await?;
    let (newest, horizon) = newest(&mut tx, tenant).await?;
    let found = match filter.since {
        None => by_age((&mut tx, tenant), filter, limit).await?,
        Some(since) => by_change((&mut tx, tenant), filter, since, limit, horizon).await?,
    };
    let seqs = found.tasks.iter().map(|(_, seq)| *seq).collect();
    let tasks = some_tasks(&mut tx, seqs).await?;
    tx.commit().await?;
    let next = found.stopped_at.map(ListPosition);
    Ok(TaskPage {
        tasks,
        next,
        as_of: match (filter.since, next) {
            (Some(_), Some(ListPosition(place))) => ChangeNumber(place),
            (None, _) | (Some(_), None) => ChangeNumber(newest.min(horizon - 1)),
        },
        newest: ChangeNumber(newest),
    })
}

/// The ids of tasks that pass `filter`, newest first, whatever it says of changes.
pub(super) async fn task_ids(
    tx: &mut Tx,
    tenant: &Tenant,
    filter: &TaskFilter,
    limit: u32,
) -> Result<IdPage, Fault> {
    const IDS: &str = "
        SELECT s.id FROM unnest($1::int8[]) WITH ORDINALITY AS w(seq, place)
        JOIN cofferdam.task_spec s ON s.seq = w.seq ORDER BY w.place";
    let found = by_age((&mut *tx, tenant), filter, limit).await?;
    let seqs: Vec<i64> = found.tasks.iter().map(|(_, seq)| *seq).collect();
    let rows = tx.query(IDS, params![seqs]).await?;
    let ids: Result<_, StorageError> = rows.iter().map(|row| Ok(TaskId(get(row, 0)?))).collect();
    Ok(IdPage {
        ids: ids?,
        next: found.stopped_at.map(ListPosition),
    })
}

/// Waits until everything that can be seen now lies below the horizon, but not for long.
async fn settle(call: &Call, tenant: &Tenant) -> Result<(), Fault> {
    let until = Instant::now() + SETTLE_MAX;
    let mut wanted = None;
    loop {
        let mut tx = call.begin(Mode::Read).await?;
        let (newest, horizon) = newest(&mut tx, tenant).await?;
        tx.commit().await?;
        if *wanted.get_or_insert(newest) < horizon || Instant::now() >= until {
            return Ok(());
        }
        tokio::time::sleep(SETTLE_LOOK).await;
    }
}

async fn newest(tx: &mut Tx, tenant: &Tenant) -> Result<(i64, i64), Fault> {
    let row = tx
        .query_opt(NEWEST, params![tenant.as_str().to_owned()])
        .await?
        .ok_or_else(|| StorageError::corrupt("nobody counts changes"))?;
    Ok((get(&row, 0)?, get(&row, 1)?))
}

/// A filter's states and module as the database has them.
struct Asked {
    /// All if empty.
    states: Vec<TaskState>,
    name: Option<i64>,
}

impl Asked {
    /// `None` if no task can pass.
    async fn of(tx: &mut Tx, tenant: &Tenant, filter: &TaskFilter) -> Result<Option<Asked>, Fault> {
        let name = match &filter.module {
            None => None,
            Some(name) => match name_number(tx, tenant, name).await? {
                None => return Ok(None),
                known => known,
            },
        };
        Ok(asked_states(filter).map(|states| Asked { states, name }))
    }
}

async fn by_age(
    (tx, tenant): (&mut Tx, &Tenant),
    filter: &TaskFilter,
    limit: u32,
) -> Result<Found, Fault> {
    let below = filter.after.map_or(i64::MAX, |ListPosition(seq)| seq);
    let Some(Asked { states, name }) = Asked::of(tx, tenant, filter).await? else {
        return Ok(Found::default());
    };
    if let Some(filter) = without_dead(filter) {
        let mut rest = Rest::of(&filter);
        rest.name(name);
        rest.error_kinds(&filter.error_kinds);
        return search_all((tx, tenant.as_str()), &[Path::Dead], &rest, below, limit).await;
    }
    let mut rest = Rest::of(filter);
    if !filter.error_kinds.is_empty() {
        rest.states(&states);
        rest.name(name);
        let paths = by_kind(&filter.error_kinds);
        return search_all((tx, tenant.as_str()), &paths, &rest, below, limit).await;
    }
    if let Some(name) = name {
        rest.states(&states);
        return search_all(
            (tx, tenant.as_str()),
            &[Path::Name(name)],
            &rest,
            below,
            limit,
        )
        .await;
    }
    let Some(ByState {
        paths,
        rest: states,
    }) = by_state(&states, &counts(tx).await?)
    else {
        return Ok(Found::default());
    };
    rest.states(&states);
    search_all((tx, tenant.as_str()), &paths, &rest, below, limit).await
}

async fn by_change(
    (tx, tenant): (&mut Tx, &Tenant),
    filter: &TaskFilter,
    since: Since,
    limit: u32,
    horizon: i64,
) -> Result<Found, Fault> {
    let mut rest = Rest::of(filter);
    let Some(Asked { states, name }) = Asked::of(tx, tenant, filter).await? else {
        return Ok(Found::default());
    };
    rest.states(&states);
    rest.name(name);
    rest.error_kinds(&filter.error_kinds);
    let since = match since {
        Since::Change(ChangeNumber(number)) => number,
        Since::Time(time) => {
            rest.changed_at_or_after(time);
            last_change_before((&mut *tx, tenant), time, horizon).await?
        }
    };
    let after = filter
        .after
        .map_or(since, |ListPosition(number)| number.max(since));
    let places = after.saturating_add(1)..=horizon - 1;
    search((tx, tenant.as_str()), Path::Change, &rest, places, limit).await
}

/// A change below which all were made before `time`. It is found by binary search, because times
/// grow with the numbers, with small exceptions.
async fn last_change_before(
    (tx, tenant): (&mut Tx, &Tenant),
    time: Timestamp,
    horizon: i64,
) -> Result<i64, Fault> {
    const NEXT: &str = "
        SELECT change, updated_at FROM cofferdam.task
        WHERE tenant = $1 AND change > $2 ORDER BY change LIMIT 1";
    let before = time.as_millis().saturating_sub(DISORDER_MAX_MS);
    let (mut low, mut high) = (0, horizon);
    while low < high {
        let middle = low + (high - low) / 2;
        let wanted = params![tenant.as_str().to_owned(), middle];
        match tx.query_opt(NEXT, wanted).await? {
            Some(row) if get::<i64>(&row, 1)? < before => low = get(&row, 0)?,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}
