//! Files and inputs whose form is changed: those that another key sealed.

use bytes::Bytes;
use uuid::Uuid;

use super::{columns_of, found};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::files::shared::{Found, NewContent, Owner, Which};
use crate::postgres::call::Call;
use crate::postgres::fault::{Fault, get};
use crate::postgres::params::{Raw, params};
use crate::postgres::shared_bytes::count_bytes;
use crate::postgres::tx::{Mode, Tx};
use crate::rows::tenant_of;
use cofferdam_domain::task::{BlobId, TaskId};

const INPUTS: &str = "SELECT id FROM cofferdam.input WHERE id > $1 ORDER BY id LIMIT $2";
const OWNERS: &str = "
    SELECT DISTINCT owner, attempt, tenant FROM (
        SELECT owner, attempt, tenant FROM cofferdam.file
        WHERE (owner, attempt) > ($1, $2) AND path <> ''
            AND ((body IS NOT NULL AND substring(body FROM 1 FOR octet_length($3)) <> $3)
                OR (blob IS NOT NULL AND $4))
        ORDER BY owner, attempt LIMIT $5) AS found
    ORDER BY owner, attempt";
const FILES: &str = "
    SELECT body, blob, size_bytes, path FROM cofferdam.file
    WHERE owner = $1 AND attempt = $2 AND path > $3
        AND ((body IS NOT NULL AND substring(body FROM 1 FOR octet_length($4)) <> $4)
            OR (blob IS NOT NULL AND $5))
    ORDER BY path LIMIT $6";
/// The old bytes go a while after nothing refers to them.
const CHANGE_INPUT: &str = "
    WITH b AS (UPDATE cofferdam.blob SET put_at = clock_timestamp() WHERE hash = $2)
    UPDATE cofferdam.input SET blob = $3, size_bytes = $4 WHERE id = $1 AND blob = $2";
const CHANGE_LONG: &str = "
    WITH b AS (UPDATE cofferdam.blob SET put_at = clock_timestamp() WHERE hash = $4)
    UPDATE cofferdam.file SET blob = $5, size_bytes = $6
    WHERE owner = $1 AND attempt = $2 AND path = $3 AND blob = $4";
const CHANGE_SHORT: &str = "
    UPDATE cofferdam.file SET body = $5, size_bytes = $6
    WHERE owner = $1 AND attempt = $2 AND path = $3 AND body = $4 RETURNING 1";

/// Inputs by name.
pub(in crate::postgres) async fn inputs_after(
    tx: &mut Tx,
    after: Option<BlobId>,
    limit: u32,
) -> Result<Vec<BlobId>, Fault> {
    let after = after.map_or(Uuid::nil(), |after| after.0);
    let rows = tx.query(INPUTS, params![after, i64::from(limit)]).await?;
    let ids: Result<_, StorageError> = rows.iter().map(|row| Ok(BlobId(get(row, 0)?))).collect();
    Ok(ids?)
}

/// Owners of files.
pub(in crate::postgres) async fn owners_after(
    tx: &mut Tx,
    after: Option<&Owner>,
    which: &Which,
    limit: u32,
) -> Result<Vec<Owner>, Fault> {
    let (id, attempt) = match after {
        None => (Uuid::nil(), -1),
        Some(after) => columns_of(after)?,
    };
    let begins = Raw(which.begins.clone());
    let wanted = params![id, attempt, begins, which.long_too, i64::from(limit)];
    let rows = tx.query(OWNERS, wanted).await?;
    let owner = |row: &tokio_postgres::Row| {
        let (id, attempt): (Uuid, i32) = (get(row, 0)?, get(row, 1)?);
        Ok(match u32::try_from(attempt) {
            Ok(number @ 1..) => Owner::Attempt(TaskId(id), number),
            Ok(0) | Err(_) => Owner::Execution(tenant_of(get(row, 2)?)?, id),
        })
    };
    let owners: Result<_, StorageError> = rows.iter().map(owner).collect();
    Ok(owners?)
}

/// Files of one.
pub(in crate::postgres) async fn files_after(
    tx: &mut Tx,
    owner: &Owner,
    path: &str,
    which: &Which,
    limit: u32,
) -> Result<Vec<(String, Found)>, Fault> {
    let (id, attempt) = columns_of(owner)?;
    let begins = Raw(which.begins.clone());
    let limit = i64::from(limit);
    let wanted = params![id, attempt, path.to_owned(), begins, which.long_too, limit];
    let rows = tx.query(FILES, wanted).await?;
    let files: Result<_, StorageError> = rows
        .iter()
        .map(|row| Ok((get(row, 3)?, found(row)?)))
        .collect();
    Ok(files?)
}

/// Names other bytes as an input.
pub(in crate::postgres) async fn change_input(
    call: &Call,
    id: BlobId,
    old: BlobHash,
    (new, size_bytes): (BlobHash, u64),
) -> Result<(), Fault> {
    let size = i64::try_from(size_bytes).map_err(StorageError::corrupt)?;
    let mut tx = call.begin(Mode::Referring).await?;
    let change = params![id.0, Raw::copy(&old.0), Raw::copy(&new.0), size];
    tx.query(CHANGE_INPUT, change).await?;
    tx.commit().await
}

/// Keeps another form of a file.
pub(in crate::postgres) async fn change_file(
    call: &Call,
    (owner, path): (&Owner, &str),
    old: &Found,
    new: &NewContent,
) -> Result<(), Fault> {
    let (id, attempt) = columns_of(owner)?;
    let size = i64::try_from(new.size_bytes()).map_err(StorageError::corrupt)?;
    let mut tx = call.begin(Mode::Referring).await?;
    let key = params![id, attempt, path.to_owned()];
    match (old, new) {
        (Found::Long(old), NewContent::Long(new)) => {
            let forms = params![Raw::copy(&old.hash.0), Raw::copy(&new.hash().0), size];
            let change = key.into_iter().chain(forms).collect();
            tx.query(CHANGE_LONG, change).await?;
        }
        (Found::Short(old), NewContent::Short(new)) => {
            let length = |bytes: &Bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            let more = length(new) - length(old);
            let forms = params![Raw(old.clone()), Raw(new.clone()), size];
            let change = key.into_iter().chain(forms).collect();
            if !tx.query(CHANGE_SHORT, change).await?.is_empty() {
                count_bytes(&mut tx, more);
            }
        }
        (Found::Long(_), NewContent::Short(_)) | (Found::Short(_), NewContent::Long(_)) => {
            return Err(StorageError::corrupt("a file is as long as it was").into());
        }
    }
    tx.commit().await
}
