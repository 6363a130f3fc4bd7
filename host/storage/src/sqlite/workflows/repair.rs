//! Workflows that nothing would ever change again. There are none, and if there is one it is made right.

use rusqlite::{Connection, params};

use super::count;
use crate::StorageError;
use crate::rows::{INSTANCES, final_state, places_of, state_of};
use crate::sqlite::db::Db;
use crate::sqlite::release::{self, within_of};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::time::Timestamp;

/// A workflow is alive as long as a task of it may be claimed, or runs.
const STUCK: &str = "
    SELECT w.seq FROM workflow w INDEXED BY workflow_open
    WHERE w.finished_at IS NULL AND w.updated_at < ?1 AND w.state = 0
        AND NOT EXISTS (SELECT 1 FROM node n JOIN task t ON t.seq = n.seq
            WHERE n.workflow = w.seq AND t.state IN (1, 2))
    ORDER BY w.updated_at LIMIT ?2";
const NODES: &str = "
    SELECT n.place, t.seq, t.state, n.parents, n.waits, n.instance_of
    FROM node n JOIN task t ON t.seq = n.seq WHERE n.workflow = ?1 ORDER BY n.place";
const REMAINING: &str =
    "UPDATE node SET remaining = ?3, parents_completed = 0 WHERE workflow = ?1 AND place = ?2";
const COUNTED: &str = "
    UPDATE workflow SET open = ?2, completed = completed + open - ?2, updated_at = ?3,
        change = change + 1
    WHERE seq = ?1 RETURNING fails, cancels, cancelling";

struct Node {
    place: u32,
    seq: i64,
    state: TaskState,
    parents: Vec<u32>,
    waits: u8,
    instance_of: Option<u32>,
}

/// Makes right what is wrong; tells how many it was.
pub(in crate::sqlite) fn repair(
    db: &mut Db,
    unchanged_since: Timestamp,
    limit: u32,
    now: Timestamp,
) -> Result<u64, StorageError> {
    let stuck: Vec<i64> = db
        .conn
        .prepare_cached(STUCK)?
        .query_map(params![unchanged_since.as_millis(), limit], |row| {
            row.get(0)
        })?
        .collect::<Result<_, _>>()?;
    for workflow in &stuck {
        tracing::error!(workflow, "nothing would ever change this workflow again");
        repair_one(db, *workflow, now)?;
    }
    Ok(u64::try_from(stuck.len()).unwrap_or(u64::MAX))
}

fn nodes(conn: &Connection, workflow: i64) -> Result<Vec<Node>, StorageError> {
    let mut statement = conn.prepare_cached(NODES)?;
    let mut rows = statement.query([workflow])?;
    let mut nodes = Vec::new();
    while let Some(row) = rows.next()? {
        nodes.push(Node {
            place: row.get(0)?,
            seq: row.get(1)?,
            state: state_of(row.get(2)?)?,
            parents: places_of(row.get_ref(3)?.as_blob().map_err(StorageError::corrupt)?)?,
            waits: row.get(4)?,
            instance_of: row.get(5)?,
        });
    }
    Ok(nodes)
}

fn repair_one(db: &mut Db, workflow: i64, now: Timestamp) -> Result<(), StorageError> {
    let within = within_of(&db.conn, workflow)?;
    let nodes = nodes(&db.conn, workflow)?;
    let is_open = |place: &u32| {
        let mut nodes = nodes.iter();
        nodes.any(|node| node.place == *place && !node.state.is_final())
    };
    let open: Vec<&Node> = nodes.iter().filter(|node| !node.state.is_final()).collect();
    for node in &open {
        // An instance waits for its turn alone, and nobody gives it any more.
        let remaining = match node.waits {
            INSTANCES => open
                .iter()
                .filter(|it| it.instance_of == Some(node.place))
                .count(),
            _ if node.instance_of.is_some() => 0,
            _ => node.parents.iter().filter(|parent| is_open(parent)).count(),
        };
        db.conn.prepare_cached(REMAINING)?.execute(params![
            workflow,
            node.place,
            count(remaining)?
        ])?;
        if remaining == 0 {
            let task = (within.tenant.as_str(), node.seq);
            release::release(&db.conn, &mut db.tallies, task, now)?;
        }
    }
    let counted = params![workflow, count(open.len())?, now.as_millis()];
    let mut counted_up = db.conn.prepare_cached(COUNTED)?;
    let last = counted_up.query_row(counted, |row| {
        Ok(final_state(row.get(2)?, row.get(0)?, row.get(1)?))
    })?;
    match open.is_empty() {
        true => release::finish(&db.conn, workflow, last, now),
        false => Ok(()),
    }
}
