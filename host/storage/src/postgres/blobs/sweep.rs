//! Removes large bytes that nothing refers to.
//!
//! A row is looked at when nobody has put its bytes, or ceased to refer to them, for as long as they may
//! stay. One that something refers to is not looked at again until that changes. The row of an object is
//! exchanged for one that only says that the object is to be removed, which goes once the bucket has
//! confirmed that. So a host may end between any two steps: another one goes on.

use futures_util::FutureExt;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::StorageError;
use crate::postgres::PostgresStorage;
use crate::postgres::bucket::Bucket;
use crate::postgres::call::Call;
use crate::postgres::fault::{Fault, get};
use crate::postgres::files;
use crate::postgres::params::{Raw, params};
use crate::postgres::shared_bytes::GRACE_SECONDS;
use crate::postgres::tx::{Mode, Tx, reading};

/// Rows looked at in one transaction, and transactions of one sweep.
const ROWS_MAX: i64 = 200;
const ROUNDS_MAX: u32 = 50;

const UNTOUCHED: &str = "
    SELECT hash FROM cofferdam.blob WHERE put_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY put_at LIMIT $2 FOR UPDATE SKIP LOCKED";
/// A statement of its own, which sees what was committed before the rows were locked. Whoever ceases to
/// refer to one of them from now on waits for the lock, and then has it looked at anew.
const REFERRED: &str = "
    UPDATE cofferdam.blob b SET put_at = NULL WHERE b.hash = ANY($1::bytea[]) AND (
        EXISTS (SELECT 1 FROM cofferdam.module m WHERE m.blob = b.hash)
        OR EXISTS (SELECT 1 FROM cofferdam.output o WHERE o.blob = b.hash)
        OR EXISTS (SELECT 1 FROM cofferdam.input i WHERE i.blob = b.hash)
        OR EXISTS (SELECT 1 FROM cofferdam.file f WHERE f.blob = b.hash))";
const REMOVE: &str = "
    WITH gone AS (
        DELETE FROM cofferdam.blob b WHERE b.hash = ANY($1::bytea[]) AND b.put_at IS NOT NULL
        RETURNING b.hash, b.object, b.size_bytes),
    bytes AS (
        INSERT INTO cofferdam.blob_bytes AS c (shard, bytes)
        SELECT $2, -sum(size_bytes)::int8 FROM gone HAVING count(*) > 0
        ON CONFLICT (shard) DO UPDATE SET bytes = c.bytes + excluded.bytes),
    parts AS (DELETE FROM cofferdam.blob_part p USING gone g WHERE p.hash = g.hash)
    INSERT INTO cofferdam.blob_gone (object) SELECT object FROM gone WHERE object IS NOT NULL";
const UNREFER: &str = "
    UPDATE cofferdam.blob SET put_at = clock_timestamp() WHERE hash = ANY($1::bytea[])";
/// Whoever still sends an object has ended by the time that it is removed.
const OBJECTS: &str = "
    SELECT object FROM cofferdam.blob_gone
    WHERE since < clock_timestamp() - make_interval(secs => $1) ORDER BY since LIMIT $2";
const REMOVED: &str = "DELETE FROM cofferdam.blob_gone WHERE object = ANY($1::uuid[])";

/// The hashes in a column of rows.
pub(in crate::postgres) fn hashes(rows: &[Row], column: usize) -> Result<Vec<Raw>, StorageError> {
    let hashes = rows.iter().map(|row| Ok(Raw::copy(get(row, column)?)));
    hashes.collect()
}

/// Has bytes looked at again that lose a reference in this transaction.
pub(in crate::postgres) fn unrefer(tx: &mut Tx, hashes: Vec<Raw>) {
    if !hashes.is_empty() {
        tx.later(UNREFER, params![hashes]);
    }
}

impl PostgresStorage {
    /// Removes what nothing has referred to for a while.
    pub(in crate::postgres) async fn sweep_blobs(&self) -> Result<(), StorageError> {
        for _ in 0..ROUNDS_MAX {
            let swept = self.write(|call| {
                async move {
                    let inputs = files::sweep_inputs(&call, ROWS_MAX).await?;
                    Ok(inputs.max(sweep_rows(&call).await?))
                }
                .boxed()
            });
            if swept.await? < ROWS_MAX {
                break;
            }
        }
        match &self.bucket {
            Some(bucket) => self.sweep_objects(bucket).await,
            None => Ok(()),
        }
    }

    async fn sweep_objects(&self, bucket: &Bucket) -> Result<(), StorageError> {
        for _ in 0..ROUNDS_MAX {
            let found = self
                .read(|call| async move { reading!(call, tx, objects(&mut tx)) }.boxed())
                .await?;
            if found.is_empty() {
                break;
            }
            for object in &found {
                bucket.remove(*object).await?;
            }
            self.write(move |call| {
                let found = found.clone();
                async move { removed(&call, found).await }.boxed()
            })
            .await?;
        }
        Ok(())
    }
}

/// How many rows were looked at.
async fn sweep_rows(call: &Call) -> Result<i64, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![GRACE_SECONDS, ROWS_MAX];
    let rows = tx.query(UNTOUCHED, wanted).await?;
    if rows.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let hashes = hashes(&rows, 0)?;
    tx.query(REFERRED, params![hashes.clone()]).await?;
    let shard = call.db.shards.next();
    tx.query(REMOVE, params![hashes, shard]).await?;
    tx.commit().await?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}

async fn objects(tx: &mut Tx) -> Result<Vec<Uuid>, Fault> {
    let rows = tx.query(OBJECTS, params![GRACE_SECONDS, ROWS_MAX]).await?;
    let objects: Result<_, StorageError> = rows.iter().map(|row| get(row, 0)).collect();
    Ok(objects?)
}

async fn removed(call: &Call, objects: Vec<Uuid>) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    tx.query(REMOVED, params![objects]).await?;
    tx.commit().await
}
