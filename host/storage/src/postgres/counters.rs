//! How many tasks there are in each state: the sums over all shards.

use super::fault::{Fault, get, get_u8};
use super::params::params;
use super::tx::Tx;
use crate::rows::state_of;
use crate::{Counts, StorageError};
use cofferdam_domain::state::TaskState;

const SUMS: &str = "
    SELECT state, sum(tasks)::int8 FROM cofferdam.counter
    WHERE $1::text IS NULL OR tenant = $1 GROUP BY state";
const WAITING: &str = "SELECT cofferdam.tasks_waiting()";
const FINALS: &str = "SELECT coalesce(sum(tasks), 0)::int8 FROM cofferdam.counter WHERE state >= 3";

/// The counters of those that the transaction sees.
pub(super) async fn counts(tx: &mut Tx) -> Result<Counts, Fault> {
    let mut counts = Counts::default();
    for row in tx.query(SUMS, params![tx.tenant()]).await? {
        let tasks = u64::try_from(get::<i64>(&row, 1)?).unwrap_or(0);
        match state_of(get_u8(&row, 0)?)? {
            TaskState::Blocked => counts.blocked = tasks,
            TaskState::Pending => counts.pending = tasks,
            TaskState::Running => counts.running = tasks,
            TaskState::Completed => counts.completed = tasks,
            TaskState::Failed => counts.failed = tasks,
            TaskState::Cancelled => counts.cancelled = tasks,
        }
    }
    Ok(counts)
}

/// Tasks that wait, whosever they are.
pub(super) async fn waiting(tx: &mut Tx) -> Result<u64, Fault> {
    sum(tx, WAITING).await
}

/// Final tasks.
pub(super) async fn finals(tx: &mut Tx) -> Result<u64, Fault> {
    sum(tx, FINALS).await
}

async fn sum(tx: &mut Tx, sql: &'static str) -> Result<u64, Fault> {
    let rows = tx.query(sql, params![]).await?;
    let row = rows
        .first()
        .ok_or_else(|| StorageError::corrupt("a sum has no row"))?;
    Ok(u64::try_from(get::<i64>(row, 0)?).unwrap_or(0))
}
