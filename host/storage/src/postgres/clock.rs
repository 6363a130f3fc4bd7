//! One clock for all hosts: the database's.
//!
//! A host asks the database for the time at its start and at every heartbeat, and counts on from the
//! answer by a clock that nobody sets. So what hosts write is dated alike, to within a round trip,
//! whatever their own clocks say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::Row;

use super::call::{Call, Db};
use super::crashes::{ERA, Era};
use super::fault::{Fault, get};
use super::params::params;
use super::tx::Mode;
use crate::StorageError;
use cofferdam_domain::time::Timestamp;

/// An answer that took longer says too little; the next one will do.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);
/// How often the first answer is asked for.
const FIRST_TRIES: u32 = 10;

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8";

/// Sets the host's clock for the first time.
pub(super) async fn follow(db: &Arc<Db>) -> Result<(), StorageError> {
    let call = Call::new(db, super::WRITE_TIMEOUT);
    for _ in 0..FIRST_TRIES {
        if ask(&call).await.map_err(|fault| fault.error)? {
            return Ok(());
        }
    }
    Err(StorageError::Unavailable(
        "the database answers too slowly to tell what time it is".to_owned(),
    ))
}

/// Sets the host's clock once more.
pub(super) async fn set(call: &Call) -> Result<(), Fault> {
    ask(call).await.map(|_set_or_too_late| ())
}

async fn ask(call: &Call) -> Result<bool, Fault> {
    let mut tx = call.begin(Mode::Read).await?;
    let asked = Instant::now();
    let row = tx.query_opt(&format!("{NOW}, {ERA}"), params![]).await?;
    let took = asked.elapsed();
    tx.commit().await?;
    let row = row.ok_or_else(|| StorageError::corrupt("the database knows no time"))?;
    let at_half_way = Timestamp::from_millis(get(&row, 0)?);
    let is_exact = took <= ROUND_TRIP_MAX;
    if is_exact {
        call.db.clock.set(at_half_way.plus(took / 2));
    }
    begin_era(call, &row).await?;
    Ok(is_exact)
}

/// Behind a pooler a connection outlives a crash of the server, which is noticed here.
async fn begin_era(call: &Call, row: &Row) -> Result<(), Fault> {
    let era = Era::named(get(row, 1)?);
    if !call.db.eras.has_begun(&era) {
        let lease = call.db.writers.get(call.deadline).await?;
        call.db.eras.begin_first(lease.client(), &era).await?;
        lease.give_back();
    }
    Ok(())
}
