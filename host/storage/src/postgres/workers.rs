//! Workers: their heartbeats, what they are asked to do, and the list of them.

use tokio_postgres::Row;
use uuid::Uuid;

use super::call::Call;
use super::clock;
use super::fault::{Fault, get, get_u8, get_u32};
use super::params::params;
use super::tx::{Mode, Tx};
use crate::rows::{capabilities_of, capabilities_text, worker_state_number, worker_state_of};
use crate::{Asked, StorageError, WORKERS_KEPT};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::{Address, Beat, Profile, Worker, WorkerName};

/// A clock that went back does not make a worker look dead.
const HEARTBEAT: &str = "
    INSERT INTO cofferdam.worker AS w (id, heard_at, name, address, capabilities, version, started_at,
        slots, load, state)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (id) DO UPDATE SET heard_at = greatest(w.heard_at, excluded.heard_at),
        name = excluded.name, address = excluded.address, capabilities = excluded.capabilities,
        version = excluded.version, started_at = excluded.started_at, slots = excluded.slots,
        load = excluded.load, state = excluded.state
    RETURNING w.drain_asked";

macro_rules! columns {
    () => {
        "id, name, address, capabilities, version, started_at, slots, load, state, drain_asked, heard_at"
    };
}

const ASK_TO_DRAIN: &str = concat!(
    "UPDATE cofferdam.worker SET drain_asked = $2 WHERE id = $1 RETURNING ",
    columns!()
);
const ONE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM cofferdam.worker WHERE id = $1"
);
const SOME: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM cofferdam.worker WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2"
);
const REMOVE_SILENT: &str = "
    DELETE FROM cofferdam.worker w WHERE w.heard_at < $1
        AND NOT EXISTS (SELECT 1 FROM cofferdam.task t WHERE t.state = 2 AND t.worker = w.id)";

/// Records that a worker is alive, and sets this host's clock by the database's.
pub(super) async fn heartbeat(call: &Call, beat: &Beat, now: Timestamp) -> Result<Asked, Fault> {
    let profile = &beat.profile;
    let mut tx = call.begin(Mode::Hasty).await?;
    let told = params![
        beat.worker.0,
        now.as_millis(),
        profile.name.to_string(),
        profile
            .address
            .as_ref()
            .map(|address| address.as_str().to_owned()),
        capabilities_text(&profile.capabilities)?,
        profile.version.clone(),
        profile.started_at.as_millis(),
        i32::try_from(beat.slots).unwrap_or(i32::MAX),
        i32::try_from(beat.load).unwrap_or(i32::MAX),
        i16::from(worker_state_number(beat.state)),
    ];
    let row = tx.query_opt(HEARTBEAT, told).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("a heartbeat leaves no row"))?;
    let drain = get(&row, 0)?;
    tx.commit().await?;
    clock::set(call).await?;
    Ok(Asked { drain })
}

/// Asks a worker to take no more tasks, or to take them again.
pub(super) async fn ask_to_drain(
    call: &Call,
    id: WorkerId,
    drain: bool,
) -> Result<Option<Worker>, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let row = tx.query_opt(ASK_TO_DRAIN, params![id.0, drain]).await?;
    tx.commit().await?;
    Ok(row.as_ref().map(worker_of).transpose()?)
}

/// One worker.
pub(super) async fn worker(tx: &mut Tx, id: WorkerId) -> Result<Option<Worker>, Fault> {
    let row = tx.query_opt(ONE, params![id.0]).await?;
    Ok(row.as_ref().map(worker_of).transpose()?)
}

/// Workers in the order of their ids.
pub(super) async fn workers(
    tx: &mut Tx,
    after: Option<WorkerId>,
    limit: u32,
) -> Result<Vec<Worker>, Fault> {
    let after = after.map(|worker| worker.0);
    let rows = tx.query(SOME, params![after, i64::from(limit)]).await?;
    let workers: Result<_, StorageError> = rows.iter().map(worker_of).collect();
    Ok(workers?)
}

/// Removes workers that have no task and were last heard of too long ago to be listed.
pub(super) fn remove_silent(tx: &mut Tx, now: Timestamp) {
    tx.later(REMOVE_SILENT, params![now.minus(WORKERS_KEPT).as_millis()]);
}

fn worker_of(row: &Row) -> Result<Worker, StorageError> {
    let address: Option<&str> = get(row, 2)?;
    Ok(Worker {
        id: WorkerId(get::<Uuid>(row, 0)?),
        profile: Profile {
            name: WorkerName::parse(get(row, 1)?).map_err(StorageError::corrupt)?,
            address: address
                .map(Address::parse)
                .transpose()
                .map_err(StorageError::corrupt)?,
            capabilities: capabilities_of(get(row, 3)?)?,
            version: get(row, 4)?,
            started_at: Timestamp::from_millis(get(row, 5)?),
        },
        slots: get_u32(row, 6)?,
        load: get_u32(row, 7)?,
        told: worker_state_of(get_u8(row, 8)?)?,
        drain_asked: get(row, 9)?,
        heard_at: Timestamp::from_millis(get(row, 10)?),
    })
}
