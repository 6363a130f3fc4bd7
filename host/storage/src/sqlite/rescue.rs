//! Takes running tasks from dead hosts.

use rusqlite::params;

use super::db::Db;
use super::ended::{Ending, Running};
use super::settle::{After, Settling};
use crate::{Rescued, StorageError};
use cofferdam_domain::attempt::{Failure, FailureKind, LeftOut, Outcome, Streams, Usage, WorkerId};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::time::Timestamp;

/// The running tasks of dead workers. Those of living workers are few and are skipped before the
/// limit is applied, so that they do not crowd out others.
const LOST: &str = "
    SELECT t.seq, t.template, t.attempt, t.max_attempts, t.lost, t.cancel_requested, t.worker,
        t.claimed_at, t.id
    FROM task t LEFT JOIN worker w ON w.id = t.worker
    WHERE t.state = 2 AND t.worker <> ?1 AND (w.heard_at IS NULL OR w.heard_at < ?2)
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
            |row| Ok((Running::from_row(row)?, row.get(8)?)),
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
    Ok(rescued)
}

fn rescue_one(
    settling: &mut Settling<'_>,
    task: &Running,
    now: Timestamp,
) -> Result<TaskState, StorageError> {
    let max_lost = match settling.max_lost(task) {
        // It cannot run again, and it must not keep the others from being rescued.
        Err(StorageError::Corrupt(why)) => {
            tracing::error!(
                seq = task.seq,
                why,
                "a lost task's stored data cannot be read"
            );
            0
        }
        known => known?,
    };
    let after = After::loss(task, max_lost, None);
    let message = match after {
        After::Final(TaskState::Failed) => format!(
            "the host running this attempt died; that happened to this task {} times, and its \
             retry policy allows {max_lost}",
            task.lost + 1
        ),
        After::Final(_) | After::Again(_) => "the host running this attempt died".to_owned(),
    };
    let outcome = Outcome::Failed(Failure::new(FailureKind::Lost, message));
    let ending = Ending {
        finished_at: now,
        outcome: &outcome,
        output: None,
        usage: Usage::default(),
        streams: &Streams::default(),
        artifacts: &[],
        left_out: LeftOut::default(),
    };
    settling.settle_loss(task, after, &ending)
}
