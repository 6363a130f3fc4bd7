//! Large bytes in the database, in parts, by the SHA-256 of what they are.
//!
//! They are put in a transaction of their own before a row refers to them. What no row refers to is
//! removed by a prune, but not before [`GRACE_SECONDS`] after somebody last put it: whoever does has
//! committed the row by then or was told that the call failed.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::call::Call;
use super::fault::{Fault, get};
use super::params::{Raw, params};
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::blobs::BlobHash;

/// Bytes of a part.
const PART_BYTES: usize = 1 << 20;
/// How long bytes stay that nothing refers to.
const GRACE_SECONDS: f64 = 3600.0;
/// Blobs that one prune removes.
const REMOVED_MAX: i64 = 100;

/// Writing over what is there waits for whoever is writing the same, and keeps it from being removed.
const PUT: &str = "
    INSERT INTO cofferdam.blob AS b (hash, size_bytes) VALUES ($1, $2)
    ON CONFLICT (hash) DO UPDATE SET put_at = clock_timestamp() RETURNING xmax = 0";
const PUT_PART: &str = "INSERT INTO cofferdam.blob_part (hash, part, bytes) VALUES ($1, $2, $3)";
const PARTS: &str =
    "SELECT bytes FROM cofferdam.blob_part WHERE hash = $1 AND part >= $2 ORDER BY part LIMIT $3";
const REMOVE: &str = "
    WITH unused AS MATERIALIZED (
        SELECT b.hash FROM cofferdam.blob b
        WHERE b.put_at < clock_timestamp() - make_interval(secs => $1)
            AND NOT EXISTS (SELECT 1 FROM cofferdam.module m WHERE m.blob = b.hash)
            AND NOT EXISTS (SELECT 1 FROM cofferdam.output o WHERE o.blob = b.hash)
        LIMIT $2 FOR UPDATE OF b SKIP LOCKED),
    gone AS (
        DELETE FROM cofferdam.blob b USING unused u WHERE b.hash = u.hash RETURNING b.hash)
    DELETE FROM cofferdam.blob_part p USING gone g WHERE p.hash = g.hash";

/// Bytes that were put.
#[derive(Clone, Copy)]
pub(super) struct Stored(BlobHash);

impl Stored {
    pub(super) fn hash(&self) -> BlobHash {
        self.0
    }
}

/// Keeps bytes; durable when it returns.
pub(super) async fn put(call: &Call, bytes: &Bytes) -> Result<Stored, Fault> {
    let hash = BlobHash(Sha256::digest(bytes).into());
    let mut tx = call.begin(Mode::Durable).await?;
    let size = i64::try_from(bytes.len()).map_err(StorageError::corrupt)?;
    let row = tx
        .query_opt(PUT, params![Raw::copy(&hash.0), size])
        .await?
        .ok_or_else(|| StorageError::corrupt("bytes that were put are not there"))?;
    if get::<bool>(&row, 0)? {
        let mut part = 0_i32;
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let some = rest.split_to(PART_BYTES.min(rest.len()));
            tx.query(PUT_PART, params![Raw::copy(&hash.0), part, Raw(some)])
                .await?;
            part += 1;
        }
    }
    tx.commit().await?;
    Ok(Stored(hash))
}

/// The bytes, which are what they were; `None` if they are gone.
pub(super) async fn get_bytes(tx: &mut Tx, hash: BlobHash) -> Result<Option<Bytes>, Fault> {
    let sql = "SELECT size_bytes FROM cofferdam.blob WHERE hash = $1";
    let Some(row) = tx.query_opt(sql, params![Raw::copy(&hash.0)]).await? else {
        return Ok(None);
    };
    let size = usize::try_from(get::<i64>(&row, 0)?).map_err(StorageError::corrupt)?;
    let mut bytes = BytesMut::with_capacity(size);
    let mut part = 0_i32;
    while bytes.len() < size {
        let wanted = params![Raw::copy(&hash.0), part, 8_i64];
        let rows = tx.query(PARTS, wanted).await?;
        if rows.is_empty() {
            break;
        }
        for row in &rows {
            bytes.extend_from_slice(get(row, 0)?);
            part += 1;
        }
    }
    let found: [u8; 32] = Sha256::digest(&bytes).into();
    match bytes.len() == size && found == hash.0 {
        true => Ok(Some(bytes.freeze())),
        false => Err(StorageError::corrupt("bytes are not what they were").into()),
    }
}

/// Removes what nothing refers to any more.
pub(super) async fn remove_unused(call: &Call) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Hasty).await?;
    tx.query(REMOVE, params![GRACE_SECONDS, REMOVED_MAX])
        .await?;
    tx.commit().await
}
