//! Workers: their heartbeats, what they are asked to do, and the list of them.

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::db::Db;
use crate::rows::{capabilities_of, capabilities_text, worker_state_number, worker_state_of};
use crate::{Asked, StorageError, WORKERS_KEPT};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::{Address, Beat, Profile, Worker, WorkerName};

/// A clock that goes back does not make a worker look dead.
const HEARTBEAT: &str = "
    INSERT INTO worker (id, heard_at, name, address, capabilities, version, started_at, slots, load,
        state)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (id) DO UPDATE SET heard_at = max(heard_at, excluded.heard_at), name = excluded.name,
        address = excluded.address, capabilities = excluded.capabilities,
        version = excluded.version, started_at = excluded.started_at, slots = excluded.slots,
        load = excluded.load, state = excluded.state
    RETURNING drain_asked";

macro_rules! worker_sql {
    ($where:literal) => {
        concat!(
            "SELECT id, name, address, capabilities, version, started_at, slots, load, state,
                drain_asked, heard_at
             FROM worker WHERE ",
            $where
        )
    };
}

/// Records that a worker is alive.
pub(super) fn heartbeat(db: &mut Db, beat: &Beat, now: Timestamp) -> Result<Asked, StorageError> {
    let profile = &beat.profile;
    let drain = db.conn.prepare_cached(HEARTBEAT)?.query_row(
        params![
            beat.worker.0.as_bytes(),
            now.as_millis(),
            profile.name.as_str(),
            profile.address.as_ref().map(Address::as_str),
            capabilities_text(&profile.capabilities)?,
            profile.version,
            profile.started_at.as_millis(),
            beat.slots,
            beat.load,
            worker_state_number(beat.state),
        ],
        |row| row.get(0),
    )?;
    Ok(Asked { drain })
}

/// Asks a worker to take no more tasks, or to take them again.
pub(super) fn ask_to_drain(
    db: &mut Db,
    id: WorkerId,
    drain: bool,
) -> Result<Option<Worker>, StorageError> {
    db.conn
        .prepare_cached("UPDATE worker SET drain_asked = ?2 WHERE id = ?1")?
        .execute(params![id.0.as_bytes(), drain])?;
    worker(&db.conn, id)
}

/// One worker.
pub(super) fn worker(conn: &Connection, id: WorkerId) -> Result<Option<Worker>, StorageError> {
    conn.prepare_cached(worker_sql!("id = ?1"))?
        .query_row([id.0.as_bytes()], |row| Ok(worker_of(row)))
        .optional()?
        .transpose()
}

/// Workers in the order of their ids.
pub(super) fn workers(
    conn: &Connection,
    after: Option<WorkerId>,
    limit: u32,
) -> Result<Vec<Worker>, StorageError> {
    let after = after.map(|worker| worker.0);
    let sql = worker_sql!("?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2");
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![after.as_ref().map(Uuid::as_bytes), limit])?;
    let mut workers = Vec::new();
    while let Some(row) = rows.next()? {
        workers.push(worker_of(row)?);
    }
    Ok(workers)
}

/// Removes workers that have no task and were last heard of too long ago to be listed.
pub(super) fn remove_silent(conn: &Connection, now: Timestamp) -> Result<(), StorageError> {
    conn.prepare_cached(
        "DELETE FROM worker WHERE heard_at < ?1
            AND NOT EXISTS (SELECT 1 FROM task WHERE state = 2 AND task.worker = worker.id)",
    )?
    .execute([now.minus(WORKERS_KEPT).as_millis()])?;
    Ok(())
}

fn worker_of(row: &Row<'_>) -> Result<Worker, StorageError> {
    let name: String = row.get(1)?;
    let address: Option<String> = row.get(2)?;
    let capabilities: String = row.get(3)?;
    Ok(Worker {
        id: WorkerId(Uuid::from_bytes(row.get(0)?)),
        profile: Profile {
            name: WorkerName::parse(&name).map_err(StorageError::corrupt)?,
            address: address
                .map(|address| Address::parse(&address))
                .transpose()
                .map_err(StorageError::corrupt)?,
            capabilities: capabilities_of(&capabilities)?,
            version: row.get(4)?,
            started_at: Timestamp::from_millis(row.get(5)?),
        },
        slots: row.get(6)?,
        load: row.get(7)?,
        told: worker_state_of(row.get(8)?)?,
        drain_asked: row.get(9)?,
        heard_at: Timestamp::from_millis(row.get(10)?),
    })
}
