//! Large bytes that hosts share, by the SHA-256 of what they are: parts in the database, or an object in
//! a bucket. A row for each says which, and whether all of it is there.
//!
//! They are put before a row refers to them, in steps of their own, so that no transaction lasts as long
//! as an upload. What no row refers to is removed by a prune (`sweep`), but not before
//! [`GRACE_SECONDS`](super::shared_bytes::GRACE_SECONDS) after somebody last put it: whoever does has committed the row by then or was told that the call
//! failed.

mod sweep;
#[cfg(test)]
pub(super) mod tests;

use std::fs::File;

use bytes::Bytes;
use futures_util::FutureExt;
use uuid::Uuid;

use super::bucket::Bucket;
use super::call::Call;
use super::fault::{Fault, get};
use super::params::{Raw, params};
use super::shared_bytes::count_bytes;
use super::tx::{Mode, Tx, reading};
use super::{PostgresStorage, UPLOAD_TIMEOUT};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::blobs::content::{Content, PIECE_BYTES, Sink};
use crate::files::cache::Address;

pub(super) use self::sweep::{hashes, unrefer};

/// Bytes of a part in the database.
const PART_BYTES: usize = 1 << 20;
/// Shorter bytes are in the database even where there is a bucket: a row is sooner there than an object.
const OBJECT_BYTES_MIN: u64 = 256 << 10;
/// How often bytes are put anew that others put and remove at the same moment.
const TRIES_MAX: u32 = 5;

/// Writing over what is there waits for whoever is writing the same, and keeps it from being removed.
/// Whoever finds an upload that is not finished goes on with it under the same name.
const REGISTER: &str = "
    INSERT INTO cofferdam.blob AS b (hash, size_bytes, object, stored) VALUES ($1, $2, $3, false)
    ON CONFLICT (hash) DO UPDATE SET put_at = clock_timestamp(),
        object = CASE WHEN b.stored THEN b.object ELSE coalesce(b.object, excluded.object) END
    RETURNING b.stored, b.object, b.xmax = 0";
const OBJECT_IS_THERE: &str = "
    UPDATE cofferdam.blob SET stored = true, put_at = clock_timestamp()
    WHERE hash = $1 AND object = $2 RETURNING 1";
/// An upload that goes on keeps its row.
const TOUCH: &str = "
    UPDATE cofferdam.blob SET put_at = clock_timestamp() WHERE hash = $1
    RETURNING stored, object, false";
/// Bytes that no bucket took are in the database; what was sent of them is to be removed.
const FORGET_OBJECT: &str = "
    WITH o AS (INSERT INTO cofferdam.blob_gone (object) VALUES ($2))
    UPDATE cofferdam.blob SET object = NULL WHERE hash = $1";
const PUT_PART: &str = "
    INSERT INTO cofferdam.blob_part (hash, part, bytes) VALUES ($1, $2, $3)
    ON CONFLICT (hash, part) DO NOTHING";
const PARTS_ARE_THERE: &str = "UPDATE cofferdam.blob SET stored = true WHERE hash = $1";
const LOCATE: &str = "SELECT size_bytes, object FROM cofferdam.blob WHERE hash = $1 AND stored";
const PARTS: &str =
    "SELECT bytes FROM cofferdam.blob_part WHERE hash = $1 AND part >= $2 ORDER BY part LIMIT $3";

/// Bytes that were put.
#[derive(Clone, Copy)]
pub(super) struct Stored(BlobHash);

impl Stored {
    pub(super) fn hash(&self) -> BlobHash {
        self.0
    }
}

/// What becomes of bytes that the bucket does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outage {
    /// The caller is told, and may try again.
    Refuse,
    /// They are what an attempt left, which nobody can make again: the database keeps them.
    Database,
}

/// Where bytes are.
#[derive(Clone, Copy)]
struct Located {
    hash: BlobHash,
    size_bytes: u64,
    object: Option<Uuid>,
}

/// What an upload found.
enum Registered {
    Stored,
    Under(Option<Uuid>),
}

impl PostgresStorage {
    /// Keeps bytes; durable when it returns.
    pub(super) async fn put_blob(
        &self,
        content: &Content,
        outage: Outage,
    ) -> Result<Stored, StorageError> {
        let bucket = self.bucket.as_ref();
        let Some(bucket) = bucket.filter(|_| content.size_bytes() >= OBJECT_BYTES_MIN) else {
            return self.put_parts(content).await;
        };
        match self.put_object(bucket, content).await {
            Err(StorageError::BlobsUnavailable(cause)) if outage == Outage::Database => {
                tracing::warn!(cause, "the bucket takes no bytes; the database keeps them");
                self.put_parts(content).await
            }
            done => done,
        }
    }

    async fn put_object(&self, bucket: &Bucket, content: &Content) -> Result<Stored, StorageError> {
        let (hash, size) = (content.hash(), size_of(content)?);
        for _ in 0..TRIES_MAX {
            let new = self.db.random_id();
            let registering = self
                .write(move |call| async move { register(&call, hash, size, new).await }.boxed());
            let object = match registering.await? {
                Registered::Stored => return Ok(Stored(hash)),
                Registered::Under(object) => object.unwrap_or(new),
            };
            bucket.put(object, content).await?;
            let told = self.write(move |call| {
                async move { object_is_there(&call, hash, object).await }.boxed()
            });
            if told.await? {
                return Ok(Stored(hash));
            }
        }
        Err(StorageError::Unavailable(
            "others put and removed the same bytes meanwhile".to_owned(),
        ))
    }

    /// Each transaction takes a piece, and lasts no longer than that.
    async fn put_parts(&self, content: &Content) -> Result<Stored, StorageError> {
        let (hash, size) = (content.hash(), size_of(content)?);
        let mut pieces = content.pieces().await?;
        let mut next = pieces.next().await?;
        let mut part = 0_i32;
        loop {
            let piece = next.take().unwrap_or_default();
            next = pieces.next().await?;
            let step = Step {
                hash,
                size,
                part,
                is_last: next.is_none(),
            };
            let parts = piece.len().div_ceil(PART_BYTES);
            let writing = Call::new(&self.db, UPLOAD_TIMEOUT).repeated(move |call| {
                let piece = piece.clone();
                async move { put_piece(&call, step, piece).await }.boxed()
            });
            if self.engine.run(writing).await? {
                return Ok(Stored(hash));
            }
            part += i32::try_from(parts).map_err(StorageError::corrupt)?;
        }
    }

    /// The bytes, which are what they were; `None` if they are gone.
    pub(super) async fn blob_bytes(&self, hash: BlobHash) -> Result<Option<Bytes>, StorageError> {
        let Some(at) = self.locate(hash).await? else {
            return Ok(None);
        };
        let sink = self.fetch(at, Sink::memory()).await?;
        sink.into_checked(hash, at.size_bytes).map(Some)
    }

    /// Writes the bytes into a file; they are what they were.
    pub(super) async fn blob_into(&self, from: Address, file: File) -> Result<(), StorageError> {
        let at = self.locate(from.hash).await?;
        let at = at.ok_or_else(|| StorageError::corrupt("bytes that a row names are not there"))?;
        let sink = self.fetch(at, Sink::file(file)).await?;
        sink.into_checked(from.hash, from.size_bytes).map(|_| ())
    }

    async fn locate(&self, hash: BlobHash) -> Result<Option<Located>, StorageError> {
        self.read(move |call| async move { reading!(call, tx, locate(&mut tx, hash)) }.boxed())
            .await
    }

    async fn fetch(&self, at: Located, mut sink: Sink) -> Result<Sink, StorageError> {
        let mut from = 0;
        while from < at.size_bytes {
            let piece = self.piece(at, from).await?;
            let (length, wanted) = (piece.len() as u64, at.size_bytes - from);
            sink = sink.take(piece).await?;
            from += length;
            // Fewer bytes than there should be: the digest will tell.
            if length < wanted.min(PIECE_BYTES as u64) {
                break;
            }
        }
        Ok(sink)
    }

    /// The piece behind the first `from` bytes, which are whole pieces.
    async fn piece(&self, at: Located, from: u64) -> Result<Bytes, StorageError> {
        let Some(object) = at.object else {
            let reading = Call::new(&self.db, UPLOAD_TIMEOUT).repeated(move |call| {
                async move { reading!(call, tx, parts(&mut tx, at.hash, from)) }.boxed()
            });
            return self.engine.run(reading).await;
        };
        let bucket = self.bucket.as_ref().ok_or_else(|| {
            let why = "bytes are in a bucket, and this host is told of none (storage.blobs)";
            StorageError::BlobsUnavailable(why.to_owned())
        })?;
        let until = at.size_bytes.min(from + PIECE_BYTES as u64);
        bucket.get(object, from..until).await
    }
}

fn size_of(content: &Content) -> Result<i64, StorageError> {
    i64::try_from(content.size_bytes()).map_err(StorageError::corrupt)
}

async fn register(call: &Call, hash: BlobHash, size: i64, new: Uuid) -> Result<Registered, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![Raw::copy(&hash.0), size, Some(new)];
    let row = tx.query_opt(REGISTER, wanted).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("bytes that were put are not there"))?;
    if get(&row, 2)? {
        count_bytes(&mut tx, size);
    }
    tx.commit().await?;
    Ok(match get(&row, 0)? {
        true => Registered::Stored,
        false => Registered::Under(get(&row, 1)?),
    })
}

async fn object_is_there(call: &Call, hash: BlobHash, object: Uuid) -> Result<bool, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![Raw::copy(&hash.0), object];
    let told = tx.query(OBJECT_IS_THERE, wanted).await?;
    tx.commit().await?;
    Ok(!told.is_empty())
}

/// One step of an upload into the database.
#[derive(Clone, Copy)]
struct Step {
    hash: BlobHash,
    size: i64,
    part: i32,
    is_last: bool,
}

/// Writes a piece; true once all of it is there.
async fn put_piece(call: &Call, step: Step, mut piece: Bytes) -> Result<bool, Fault> {
    let hash = || Raw::copy(&step.hash.0);
    let mut tx = call.begin(Mode::Durable).await?;
    let row = match step.part {
        0 => {
            let wanted = params![hash(), step.size, None::<Uuid>];
            tx.query_opt(REGISTER, wanted).await?
        }
        _ => tx.query_opt(TOUCH, params![hash()]).await?,
    };
    let row = row.ok_or_else(|| {
        StorageError::Unavailable("bytes were removed while they were put".to_owned())
    })?;
    if get(&row, 0)? {
        tx.commit().await?;
        return Ok(true);
    }
    if get(&row, 2)? {
        count_bytes(&mut tx, step.size);
    }
    if let Some(object) = get::<Option<Uuid>>(&row, 1)? {
        tx.query(FORGET_OBJECT, params![hash(), object]).await?;
    }
    for number in step.part.. {
        if piece.is_empty() {
            break;
        }
        let some = piece.split_to(PART_BYTES.min(piece.len()));
        tx.query(PUT_PART, params![hash(), number, Raw(some)])
            .await?;
    }
    if step.is_last {
        tx.later(PARTS_ARE_THERE, params![hash()]);
    }
    tx.commit().await?;
    Ok(step.is_last)
}

async fn locate(tx: &mut Tx, hash: BlobHash) -> Result<Option<Located>, Fault> {
    let Some(row) = tx.query_opt(LOCATE, params![Raw::copy(&hash.0)]).await? else {
        return Ok(None);
    };
    Ok(Some(Located {
        hash,
        size_bytes: u64::try_from(get::<i64>(&row, 0)?).map_err(StorageError::corrupt)?,
        object: get(&row, 1)?,
    }))
}

/// Parts from byte `from` on: as many as make a piece.
async fn parts(tx: &mut Tx, hash: BlobHash, from: u64) -> Result<Bytes, Fault> {
    let first = i32::try_from(from / PART_BYTES as u64).map_err(StorageError::corrupt)?;
    let most = i64::try_from(PIECE_BYTES / PART_BYTES).map_err(StorageError::corrupt)?;
    let wanted = params![Raw::copy(&hash.0), first, most];
    let mut piece = Vec::new();
    for row in tx.query(PARTS, wanted).await? {
        piece.extend_from_slice(get(&row, 0)?);
    }
    Ok(Bytes::from(piece))
}
