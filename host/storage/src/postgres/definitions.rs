//! Definitions of workflows: versions of texts by name.

use tokio_postgres::Row;

use super::call::Call;
use super::fault::{Fault, get, get_hash};
use super::params::{Params, Raw, params, text};
use super::quotas;
use super::tx::{Mode, Tx};
use crate::definitions::KeptDefinition;
use crate::rows::tenant_of;
use crate::{DEFINITIONS_MAX, NewDefinition, PutDefinition, StorageError, StoredDefinition};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::Digest;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};

/// Puts of one tenant go one after the other, so that their number is what it is.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('definitions of ' || $1, 0))";
const CURRENT: &str = "
    SELECT digest FROM cofferdam.workflow_definition WHERE tenant = $1 AND name = $2
    ORDER BY seq DESC LIMIT 1";
const FORGET: &str = "
    DELETE FROM cofferdam.workflow_definition WHERE tenant = $1 AND name = $2 AND digest = $3
    RETURNING 1";
const COUNT: &str = "SELECT count(*) FROM cofferdam.workflow_definition WHERE tenant = $1";
const INSERT: &str = "
    INSERT INTO cofferdam.workflow_definition (tenant, name, digest, text, size_bytes, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)";
const FIND: &str = "
    SELECT name, digest, size_bytes, created_at, text FROM cofferdam.workflow_definition
    WHERE tenant = $1 AND name = $2 AND ($3::bytea IS NULL OR digest = $3) ORDER BY seq DESC LIMIT 1";
const LIST: &str = "
    SELECT d.name, d.digest, d.size_bytes, d.created_at
    FROM (SELECT name, max(seq) AS seq FROM cofferdam.workflow_definition
          WHERE tenant = $1 AND name > $2 GROUP BY name ORDER BY name LIMIT $3) newest
    JOIN cofferdam.workflow_definition d ON d.seq = newest.seq ORDER BY d.name";
const VERSIONS: &str = "
    SELECT name, digest, size_bytes, created_at FROM cofferdam.workflow_definition
    WHERE tenant = $1 AND name = $2 ORDER BY seq DESC";
const REMOVE: &str = "
    DELETE FROM cofferdam.workflow_definition WHERE tenant = $1 AND name = $2 RETURNING size_bytes";
const ALL: &str = "
    SELECT seq, tenant, name, digest, text FROM cofferdam.workflow_definition
    WHERE seq > $1 ORDER BY seq LIMIT $2";
const CHANGE: &str = "
    UPDATE cofferdam.workflow_definition SET text = $2 WHERE seq = $1 AND text = $3";

/// Keeps a version.
pub(super) async fn put(
    call: &Call,
    tenant: &Tenant,
    new: &NewDefinition,
    storage_bytes: Option<u64>,
    now: Timestamp,
) -> Result<PutDefinition, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let digest = || Raw::copy(new.digest.as_bytes());
    let named = || -> Params { params![tenant.to_string(), new.name.as_str().to_owned()] };
    let kept = quotas::kept_before(&mut tx, storage_bytes).await?;
    tx.query(LOCK, params![tenant.to_string()]).await?;
    let current = tx.query_opt(CURRENT, named()).await?;
    let current = current.map(|row| get_hash(&row, 0)).transpose()?;
    if current.as_ref() == Some(new.digest.as_bytes()) {
        tx.rollback().await?;
        return Ok(PutDefinition::Unchanged);
    }
    // A version that comes back moves to the end: the newest is what the name means.
    let mut version = named();
    version.extend(params![digest()]);
    if tx.query(FORGET, version).await?.is_empty() {
        let count = tx.query_opt(COUNT, params![tenant.to_string()]).await?;
        let count = count.map(|row| get::<i64>(&row, 0)).transpose()?;
        if count.unwrap_or(0).cast_unsigned() >= DEFINITIONS_MAX {
            tx.rollback().await?;
            return Ok(PutDefinition::TooMany);
        }
        if let Err(refusal) = quotas::take_room(&mut tx, kept, new.size_bytes) {
            tx.rollback().await?;
            return Err(refusal.into());
        }
    }
    let row = params![
        tenant.to_string(),
        new.name.as_str().to_owned(),
        digest(),
        text(&new.text),
        i64::try_from(new.size_bytes).map_err(StorageError::corrupt)?,
        now.as_millis(),
    ];
    tx.later(INSERT, row);
    tx.commit().await?;
    Ok(PutDefinition::Created)
}

/// What a reference means.
pub(super) async fn find(
    tx: &mut Tx,
    tenant: &Tenant,
    reference: &DefinitionRef,
) -> Result<Option<(StoredDefinition, String)>, Fault> {
    let digest = reference.digest.as_ref();
    let digest = digest.map(|digest| Raw::copy(digest.as_bytes()));
    let wanted = params![
        tenant.to_string(),
        reference.name.as_str().to_owned(),
        digest
    ];
    match tx.query_opt(FIND, wanted).await? {
        None => Ok(None),
        Some(row) => Ok(Some((stored_of(&row)?, get(&row, 4)?))),
    }
}

/// What each name behind `after` means.
pub(super) async fn list(
    tx: &mut Tx,
    tenant: &Tenant,
    after: Option<&DefinitionName>,
    limit: u32,
) -> Result<Vec<StoredDefinition>, Fault> {
    let after = after.map_or("", DefinitionName::as_str).to_owned();
    let wanted = params![tenant.to_string(), after, i64::from(limit)];
    all(&tx.query(LIST, wanted).await?)
}

/// Every version of a name, newest first.
pub(super) async fn versions(
    tx: &mut Tx,
    tenant: &Tenant,
    name: &DefinitionName,
) -> Result<Vec<StoredDefinition>, Fault> {
    let wanted = params![tenant.to_string(), name.as_str().to_owned()];
    all(&tx.query(VERSIONS, wanted).await?)
}

/// Removes a name.
pub(super) async fn remove(
    call: &Call,
    tenant: &Tenant,
    name: &DefinitionName,
) -> Result<bool, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![tenant.to_string(), name.as_str().to_owned()];
    let removed = tx.query(REMOVE, wanted).await?;
    for row in &removed {
        let bytes: i64 = get(row, 0)?;
        tx.kept_of_its_tenant(-bytes);
    }
    tx.commit().await?;
    Ok(!removed.is_empty())
}

/// Versions of all tenants behind a number.
pub(super) async fn all_behind(
    tx: &mut Tx,
    after: i64,
    limit: u32,
) -> Result<Vec<KeptDefinition>, Fault> {
    let rows = tx.query(ALL, params![after, i64::from(limit)]).await?;
    let kept = |row: &Row| -> Result<KeptDefinition, StorageError> {
        Ok(KeptDefinition {
            seq: get(row, 0)?,
            tenant: tenant_of(get(row, 1)?)?,
            name: DefinitionName::parse(get(row, 2)?).map_err(StorageError::corrupt)?,
            digest: Digest::from_bytes(get_hash(row, 3)?),
            text: get(row, 4)?,
        })
    };
    let found: Result<_, StorageError> = rows.iter().map(kept).collect();
    Ok(found?)
}

/// Keeps another form of a text.
pub(super) async fn change(call: &Call, old: &KeptDefinition, new: &str) -> Result<(), Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    tx.later(CHANGE, params![old.seq, text(new), text(&old.text)]);
    tx.commit().await
}

fn all(rows: &[Row]) -> Result<Vec<StoredDefinition>, Fault> {
    let found: Result<_, StorageError> = rows.iter().map(stored_of).collect();
    Ok(found?)
}

fn stored_of(row: &Row) -> Result<StoredDefinition, StorageError> {
    let size: i64 = get(row, 2)?;
    Ok(StoredDefinition {
        name: DefinitionName::parse(get(row, 0)?).map_err(StorageError::corrupt)?,
        digest: Digest::from_bytes(get_hash(row, 1)?),
        size_bytes: u64::try_from(size).map_err(StorageError::corrupt)?,
        created_at: Timestamp::from_millis(get(row, 3)?),
    })
}
