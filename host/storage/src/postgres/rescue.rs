//! Taking running tasks from hosts that are dead. Any host does it: what another one has locked to do
//! the same is left to it.

use super::call::Call;
use super::fault::{Fault, get};
use super::finish::max_lost_of;
use super::params::params;
use super::settle::{Settling, running, running_columns};
use super::tx::Mode;
use crate::fate;
use crate::rows::Ending;
use crate::{Rescued, StorageError};
use cofferdam_domain::attempt::{Outcome, WorkerId};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

/// The running tasks of dead workers. Those of living workers are few and are skipped before the
/// limit is applied, so that they do not crowd out others.
const LOST: &str = concat!(
    "SELECT ",
    running_columns!(),
    " FROM cofferdam.task t JOIN cofferdam.task_spec s ON s.seq = t.seq
      WHERE t.state = 2 AND t.worker <> $1 AND NOT EXISTS (
          SELECT 1 FROM cofferdam.worker w WHERE w.id = t.worker AND w.heard_at >= $2 AND w.state <> 4)
        AND (t.workflow IS NULL OR t.workflow = ANY($4::int8[]))
      ORDER BY t.seq LIMIT $3 FOR UPDATE OF t SKIP LOCKED"
);
/// The workflows of those that are nodes, which are locked before them.
const LOCK_WORKFLOWS: &str = "
    SELECT f.seq FROM cofferdam.workflow f WHERE f.seq IN (
        SELECT t.workflow FROM cofferdam.task t
        WHERE t.state = 2 AND t.workflow IS NOT NULL AND t.worker <> $1 AND NOT EXISTS (
            SELECT 1 FROM cofferdam.worker w
            WHERE w.id = t.worker AND w.heard_at >= $2 AND w.state <> 4)
        LIMIT $3)
    ORDER BY f.seq FOR UPDATE SKIP LOCKED";

/// Takes up to `limit` tasks.
pub(super) async fn rescue(
    call: &Call,
    me: WorkerId,
    dead_before: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Rescued>, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let lost = || params![me.0, dead_before.as_millis(), i64::from(limit)];
    let locked = tx.query(LOCK_WORKFLOWS, lost()).await?;
    let locked: Result<Vec<i64>, StorageError> = locked.iter().map(|row| get(row, 0)).collect();
    let mut lost = lost();
    lost.extend(params![locked?]);
    let rows = tx.query(LOST, lost).await?;
    let mut settling = Settling::default();
    let mut rescued = Vec::with_capacity(rows.len());
    for row in &rows {
        let task = running(row)?;
        let known = max_lost_of(&mut tx, task.task.template).await?;
        let max_lost = fate::max_lost_of(&task.task, known)?;
        let (after, failure) = fate::of_dead_host(&task.task, max_lost);
        let outcome = Outcome::Failed(failure);
        let state = settling.settle(&task, after, true, &Ending::bare(now, &outcome))?;
        rescued.push(Rescued {
            task_id: TaskId(task.id),
            state,
        });
    }
    match rows.is_empty() {
        true => tx.rollback().await?,
        false => {
            settling.write(&mut tx, None).await?;
            tx.commit().await?;
        }
    }
    Ok(rescued)
}
