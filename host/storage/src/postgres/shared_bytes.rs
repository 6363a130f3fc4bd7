//! How many bytes hosts share, counted in shards as tasks are (`tallies`); and how long bytes stay that
//! nothing refers to.

use super::fault::{Fault, get};
use super::params::params;
use super::tx::Tx;

/// How long bytes stay that nothing refers to.
pub(super) const GRACE_SECONDS: f64 = 3600.0;

const COUNT_BYTES: &str = "
    INSERT INTO cofferdam.blob_bytes AS c (shard, bytes) VALUES ($1, $2)
    ON CONFLICT (shard) DO UPDATE SET bytes = c.bytes + excluded.bytes";
const BYTES: &str = "SELECT coalesce(sum(bytes), 0)::int8 FROM cofferdam.blob_bytes";

/// Counts bytes that come, or go if there are fewer than none, with the commit.
pub(super) fn count_bytes(tx: &mut Tx, bytes: i64) {
    let shard = tx.call().db.shards.next();
    tx.later(COUNT_BYTES, params![shard, bytes]);
}

/// Bytes of everything that hosts share.
pub(super) async fn bytes(tx: &mut Tx) -> Result<u64, Fault> {
    let row = tx.query_opt(BYTES, params![]).await?;
    let bytes: i64 = row.map(|row| get(&row, 0)).transpose()?.unwrap_or(0);
    Ok(u64::try_from(bytes).unwrap_or(0))
}
