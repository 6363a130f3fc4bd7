//! The rows of spooled inputs, artifacts and files of executions.

pub(super) mod anew;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use uuid::Uuid;

use super::call::Call;
use super::fault::{Fault, get, get_hash};
use super::params::{Params, Raw, params};
use super::shared_bytes::{GRACE_SECONDS, count_bytes};
use super::tx::{Mode, Tx};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::files::cache::Address;
use crate::files::shared::{Found, NewContent, Owner};
use cofferdam_domain::task::{BlobId, TaskId};

/// Rows of one statement, and the bytes of short files in them.
const ROWS_MAX: usize = 1000;
const ROWS_BYTES_MAX: usize = 4 << 20;

/// The bytes are there, and stay for a while.
const PUT_INPUT: &str = "
    WITH b AS (
        UPDATE cofferdam.blob SET put_at = clock_timestamp() WHERE hash = $2 AND stored
        RETURNING hash)
    INSERT INTO cofferdam.input (id, blob, size_bytes) SELECT $1, b.hash, $3 FROM b
    ON CONFLICT (id) DO UPDATE SET put_at = clock_timestamp() RETURNING 1";
const FIND_INPUT: &str = "SELECT blob, size_bytes FROM cofferdam.input WHERE id = $1";
/// Removes those of the inputs $1 of which `$which` is true.
macro_rules! remove_inputs {
    ($which:literal) => {
        concat!(
            "WITH d AS (
                DELETE FROM cofferdam.input WHERE id = ANY($1::uuid[]) AND ",
            $which,
            " RETURNING blob)
             UPDATE cofferdam.blob b SET put_at = clock_timestamp()
             FROM (SELECT DISTINCT blob FROM d) u WHERE b.hash = u.blob"
        )
    };
}

const REMOVE_INPUTS: &str = remove_inputs!("true");
const UNREFERRED_INPUTS: &str = remove_inputs!("put_at IS NOT NULL");
const UNTOUCHED_INPUTS: &str = "
    SELECT id FROM cofferdam.input WHERE put_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY put_at LIMIT $2 FOR UPDATE SKIP LOCKED";
/// Its task takes it along.
const REFERRED_INPUTS: &str = "
    UPDATE cofferdam.input i SET put_at = NULL WHERE i.id = ANY($1::uuid[])
        AND EXISTS (SELECT 1 FROM cofferdam.task_spec s WHERE s.blob = i.id)";

/// Whoever removes the task waits for this, and then sees the files.
const TASK_IS_THERE: &str = "SELECT tenant FROM cofferdam.task_spec WHERE id = $1 FOR KEY SHARE";
const PUT_FILES: &str = "
    INSERT INTO cofferdam.file (owner, attempt, tenant, path, size_bytes, body, blob)
    SELECT $1, $2, $3, u.* FROM unnest($4::text[], $5::int8[], $6::bytea[], $7::bytea[]) AS u";
const FIND_FILE: &str = "
    SELECT body, blob, size_bytes FROM cofferdam.file
    WHERE owner = $1 AND attempt = $2 AND path = $3 AND path <> ''
        AND ($4::text IS NULL OR tenant = $4)";
const FILES_OF: &str = "
    SELECT body, blob, size_bytes, path FROM cofferdam.file
    WHERE owner = $1 AND attempt = 0 AND tenant = $2 ORDER BY path";
const OLD_EXECUTIONS: &str = "
    SELECT owner FROM cofferdam.file WHERE attempt = 0 AND path = '' AND owner < $1
        AND ($3::text IS NULL OR tenant = $3)
    ORDER BY owner LIMIT $2 FOR UPDATE SKIP LOCKED";

/// Removes the files that `$which` says of the owners $1, whose short ones are counted in the shard $2.
macro_rules! remove_files {
    ($which:literal) => {
        concat!(
            "WITH d AS (
                DELETE FROM cofferdam.file WHERE owner = ANY($1::uuid[]) AND ",
            $which,
            " RETURNING blob, octet_length(body) AS short),
            u AS (
                UPDATE cofferdam.blob b SET put_at = clock_timestamp()
                FROM (SELECT DISTINCT blob FROM d WHERE blob IS NOT NULL) l WHERE b.hash = l.blob)
            INSERT INTO cofferdam.blob_bytes AS c (shard, bytes)
            SELECT $2, -sum(short)::int8 FROM d HAVING sum(short) > 0
            ON CONFLICT (shard) DO UPDATE SET bytes = c.bytes + excluded.bytes"
        )
    };
}

const REMOVE_OF_TASKS: &str = remove_files!("attempt > 0");
const REMOVE_OF_EXECUTIONS: &str = remove_files!("attempt = 0");
const REMOVE_OF_ATTEMPT: &str = remove_files!("attempt = $3");

/// Names bytes that were put as an input.
pub(super) async fn put_input(
    call: &Call,
    id: BlobId,
    hash: BlobHash,
    size_bytes: u64,
) -> Result<(), Fault> {
    let size = i64::try_from(size_bytes).map_err(StorageError::corrupt)?;
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![id.0, Raw::copy(&hash.0), size];
    let put = tx.query(PUT_INPUT, wanted).await?;
    if put.is_empty() {
        let why = "the bytes of an input were removed while they were put";
        return Err(StorageError::Unavailable(why.to_owned()).into());
    }
    tx.commit().await
}

/// Where an input is.
pub(super) async fn find_input(tx: &mut Tx, id: BlobId) -> Result<Option<Address>, Fault> {
    let row = tx.query_opt(FIND_INPUT, params![id.0]).await?;
    let address = row.map(|row| {
        Ok::<_, StorageError>(Address {
            hash: BlobHash(get_hash(&row, 0)?),
            size_bytes: get::<i64>(&row, 1)?.cast_unsigned(),
        })
    });
    Ok(address.transpose()?)
}

/// Removes inputs, with the commit.
pub(super) fn remove_inputs(tx: &mut Tx, ids: Vec<Uuid>) {
    if !ids.is_empty() {
        tx.later(REMOVE_INPUTS, params![ids]);
    }
}

/// Removes inputs whose submit came to nothing; gives how many were looked at.
pub(super) async fn sweep_inputs(call: &Call, limit: i64) -> Result<i64, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let rows = tx
        .query(UNTOUCHED_INPUTS, params![GRACE_SECONDS, limit])
        .await?;
    if rows.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let ids: Result<Vec<Uuid>, StorageError> = rows.iter().map(|row| get(row, 0)).collect();
    let ids = ids?;
    tx.query(REFERRED_INPUTS, params![ids.clone()]).await?;
    tx.query(UNREFERRED_INPUTS, params![ids]).await?;
    tx.commit().await?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}

/// A file as it is written.
pub(super) struct Row {
    path: String,
    size: i64,
    body: Option<Raw>,
    blob: Option<Raw>,
}

impl Row {
    pub(super) fn new(path: String, content: &NewContent) -> Result<Row, StorageError> {
        let size = i64::try_from(content.size_bytes()).map_err(StorageError::corrupt)?;
        let (body, blob) = match content {
            NewContent::Short(bytes) => (Some(Raw(bytes.clone())), None),
            NewContent::Long(content) => (None, Some(Raw::copy(&content.hash().0))),
        };
        Ok(Row {
            path,
            size,
            body,
            blob,
        })
    }

    fn short_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.0.len())
    }
}

/// Keeps files in place of all that their owner had.
pub(super) async fn put_files(call: &Call, owner: &Owner, rows: &[Row]) -> Result<(), Fault> {
    let (id, attempt) = columns_of(owner)?;
    let mut tx = call.begin(Mode::Durable).await?;
    let tenant = tenant_of(&mut tx, owner).await?;
    let key = (id, attempt, &*tenant);
    let shard = call.db.shards.next();
    let before = params![vec![id], shard, attempt];
    tx.query(REMOVE_OF_ATTEMPT, before).await?;
    let mut rest = rows;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(ROWS_MAX).take_while(|row| {
            let is_first = bytes == 0;
            bytes += row.short_bytes();
            is_first || bytes <= ROWS_BYTES_MAX
        });
        let (some, others) = rest.split_at(fits.count().max(1));
        tx.query(PUT_FILES, as_params(key, some)).await?;
        rest = others;
    }
    if let Owner::Execution(..) = owner {
        let marker = Row {
            path: String::new(),
            size: 0,
            body: Some(Raw(Bytes::new())),
            blob: None,
        };
        tx.query(PUT_FILES, as_params(key, &[marker])).await?;
    }
    let short: usize = rows.iter().map(Row::short_bytes).sum();
    count_bytes(&mut tx, i64::try_from(short).unwrap_or(i64::MAX));
    tx.commit().await
}

/// Whose an owner's files are.
async fn tenant_of(tx: &mut Tx, owner: &Owner) -> Result<String, Fault> {
    match owner {
        Owner::Execution(tenant, _) => Ok(tenant.as_str().to_owned()),
        Owner::Attempt(TaskId(task), _) => {
            let found = tx.query_opt(TASK_IS_THERE, params![*task]).await?;
            let removed =
                || StorageError::Refused(format!("the task {task} was removed meanwhile"));
            Ok(get(&found.ok_or_else(removed)?, 0)?)
        }
    }
}

fn as_params((id, attempt, tenant): (Uuid, i32, &str), rows: &[Row]) -> Params {
    let paths: Vec<String> = rows.iter().map(|row| row.path.clone()).collect();
    let sizes: Vec<i64> = rows.iter().map(|row| row.size).collect();
    let bodies: Vec<Option<Raw>> = rows.iter().map(|row| row.body.clone()).collect();
    let blobs: Vec<Option<Raw>> = rows.iter().map(|row| row.blob.clone()).collect();
    params![id, attempt, tenant.to_owned(), paths, sizes, bodies, blobs]
}

/// An execution has no attempts; those of a task begin with 1.
fn columns_of(owner: &Owner) -> Result<(Uuid, i32), StorageError> {
    match owner {
        Owner::Execution(_, id) => Ok((*id, 0)),
        Owner::Attempt(task, number) => {
            let number = i32::try_from(*number).map_err(StorageError::corrupt)?;
            Ok((task.0, number))
        }
    }
}

/// One file.
pub(super) async fn find_file(
    tx: &mut Tx,
    owner: &Owner,
    path: &str,
) -> Result<Option<Found>, Fault> {
    // Such a path is that of no file, and the database does not take it.
    if path.contains('\0') {
        return Ok(None);
    }
    let (id, attempt) = columns_of(owner)?;
    // Whose an attempt is was asked of its task.
    let tenant = match owner {
        Owner::Execution(tenant, _) => Some(tenant.as_str().to_owned()),
        Owner::Attempt(..) => None,
    };
    let wanted = params![id, attempt, path.to_owned(), tenant];
    let row = tx.query_opt(FIND_FILE, wanted).await?;
    Ok(row.as_ref().map(found).transpose()?)
}

/// All files of an execution.
pub(super) async fn files_of(
    tx: &mut Tx,
    execution: Uuid,
) -> Result<Option<Vec<(String, Found)>>, Fault> {
    let wanted = params![execution, tx.tenant()];
    let rows = tx.query(FILES_OF, wanted).await?;
    let mut files = Vec::with_capacity(rows.len());
    for row in &rows {
        let path: String = get(row, 3)?;
        if !path.is_empty() {
            files.push((path, found(row)?));
        }
    }
    Ok((!rows.is_empty()).then_some(files))
}

fn found(row: &tokio_postgres::Row) -> Result<Found, StorageError> {
    if let Some(body) = get::<Option<&[u8]>>(row, 0)? {
        return Ok(Found::Short(Bytes::copy_from_slice(body)));
    }
    Ok(Found::Long(Address {
        hash: BlobHash(get_hash(row, 1)?),
        size_bytes: get::<i64>(row, 2)?.cast_unsigned(),
    }))
}

/// Removes the artifacts of tasks, with the commit, which removes the tasks too.
pub(super) fn remove_of_tasks(tx: &mut Tx, ids: Vec<Uuid>) {
    let shard = tx.call().db.shards.next();
    tx.later(REMOVE_OF_TASKS, params![ids, shard]);
}

/// Removes executions whose names are below `before`; gives how many.
pub(super) async fn remove_executions(call: &Call, before: Uuid, limit: i64) -> Result<i64, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![before, limit, tx.tenant()];
    let rows = tx.query(OLD_EXECUTIONS, wanted).await?;
    if rows.is_empty() {
        tx.rollback().await?;
        return Ok(0);
    }
    let ids: Result<Vec<Uuid>, StorageError> = rows.iter().map(|row| get(row, 0)).collect();
    let shard = call.db.shards.next();
    tx.query(REMOVE_OF_EXECUTIONS, params![ids?, shard]).await?;
    tx.commit().await?;
    Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX))
}
