//! Takes running tasks from dead hosts.

use rusqlite::params;

use super::db::Db;
use super::release;
use super::settle::{Settling, running};
use crate::fate::{self, Running};
use crate::rows::Ending;
use crate::{Rescued, StorageError};
use cofferdam_domain::attempt::{Outcome, WorkerId};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

/// The running tasks of dead workers. Those of living workers are few and are skipped before the
/// limit is applied, so that they do not crowd out others. The index is named because SQLite would rather walk all
/// tasks in the order of their numbers, however many are final, than sort a few.
pub(super) const LOST: &str = "
    SELECT t.seq, t.template, t.attempt, t.max_attempts, t.lost, t.cancel_requested, t.worker,
        t.claimed_at, t.batch, t.batch_bound, t.tenant, t.callback, t.workflow,
        t.place, t.id
    FROM task t INDEXED BY task_running LEFT JOIN worker w ON w.id = t.worker
    WHERE t.state = 2 AND t.worker <> ?1 AND (w.heard_at IS NULL OR w.heard_at < ?2 OR w.state = 4)
    ORDER BY t.seq LIMIT ?3";

/// Takes up to `limit` tasks.
pub(super) fn rescue(
    db: &mut Db,
    me: WorkerId,
    dead_before: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<Rescued>, StorageError> {
    let found: Vec<(Running, [u8; 16])> = db
        .conn
        .prepare_cached(LOST)?
        .query_map(
            params![me.0.as_bytes(), dead_before.as_millis(), limit],
            |row| Ok((running(row)?, row.get(14)?)),
        )?
        .collect::<Result<_, _>>()?;
    let mut rescued = Vec::with_capacity(found.len());
    let mut settling = Settling::prepare(db)?;
    for (task, id) in found {
        let state = rescue_one(&mut settling, &task, now)?;
        rescued.push(Rescued {
            task_id: TaskId(uuid::Uuid::from_bytes(id)),
            state,
        });
    }
    let freed = settling.pass_on()?;
    release::pending(&db.conn, &mut db.tallies, &freed)?;
    Ok(rescued)
}

fn rescue_one(
    settling: &mut Settling<'_>,
    task: &Running,
    now: Timestamp,
) -> Result<TaskState, StorageError> {
    let known = settling.max_lost(task);
    let (after, failure) = fate::of_dead_host(task, fate::max_lost_of(task, known)?);
    let outcome = Outcome::Failed(failure);
    settling.settle_loss(task, after, &Ending::bare(now, &outcome))
}
