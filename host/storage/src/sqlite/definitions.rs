//! Definitions of workflows: versions of texts by name.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db::Db;
use super::modules::take_room;
use crate::definitions::KeptDefinition;
use crate::rows::tenant_of;
use crate::{DEFINITIONS_MAX, NewDefinition, PutDefinition, StorageError, StoredDefinition};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::Digest;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};

const CURRENT: &str = "
    SELECT digest FROM workflow_definition WHERE tenant = ?1 AND name = ?2 ORDER BY seq DESC LIMIT 1";
const FORGET: &str = "
    DELETE FROM workflow_definition WHERE tenant = ?1 AND name = ?2 AND digest = ?3";
const COUNT: &str = "SELECT count(*) FROM workflow_definition WHERE tenant = ?1";
const INSERT: &str = "
    INSERT INTO workflow_definition (tenant, name, digest, text, size_bytes, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const FIND: &str = "
    SELECT name, digest, size_bytes, created_at, text FROM workflow_definition
    WHERE tenant = ?1 AND name = ?2 AND (?3 IS NULL OR digest = ?3) ORDER BY seq DESC LIMIT 1";
const LIST: &str = "
    SELECT d.name, d.digest, d.size_bytes, d.created_at
    FROM (SELECT name, max(seq) AS seq FROM workflow_definition WHERE tenant = ?1 AND name > ?2
          GROUP BY name ORDER BY name LIMIT ?3) newest
    JOIN workflow_definition d ON d.seq = newest.seq ORDER BY d.name";
const VERSIONS: &str = "
    SELECT name, digest, size_bytes, created_at FROM workflow_definition
    WHERE tenant = ?1 AND name = ?2 ORDER BY seq DESC";
const BYTES: &str = "
    SELECT coalesce(sum(size_bytes), 0) FROM workflow_definition WHERE tenant = ?1 AND name = ?2";
const ALL: &str = "
    SELECT seq, tenant, name, digest, text FROM workflow_definition WHERE seq > ?1 ORDER BY seq LIMIT ?2";
const CHANGE: &str = "UPDATE workflow_definition SET text = ?2 WHERE seq = ?1 AND text = ?3";

/// Keeps a version.
pub(super) fn put(
    db: &mut Db,
    tenant: &Tenant,
    new: &NewDefinition,
    storage_bytes: Option<u64>,
    now: Timestamp,
) -> Result<PutDefinition, StorageError> {
    let (name, digest) = (new.name.as_str(), new.digest.as_bytes());
    let current: Option<[u8; 32]> = db
        .conn
        .prepare_cached(CURRENT)?
        .query_row([tenant.as_str(), name], |row| row.get(0))
        .optional()?;
    if current.as_ref() == Some(digest) {
        return Ok(PutDefinition::Unchanged);
    }
    // A version that comes back moves to the end: the newest is what the name means.
    let forgot = db
        .conn
        .prepare_cached(FORGET)?
        .execute(params![tenant.as_str(), name, digest])?;
    if forgot == 0 {
        let kept: i64 = db
            .conn
            .prepare_cached(COUNT)?
            .query_row([tenant.as_str()], |row| row.get(0))?;
        if kept.cast_unsigned() >= DEFINITIONS_MAX {
            return Ok(PutDefinition::TooMany);
        }
        take_room(db, tenant, new.size_bytes, storage_bytes)?;
    }
    db.conn.prepare_cached(INSERT)?.execute(params![
        tenant.as_str(),
        name,
        digest,
        new.text,
        i64::try_from(new.size_bytes).map_err(StorageError::corrupt)?,
        now.as_millis(),
    ])?;
    Ok(PutDefinition::Created)
}

/// What a reference means.
pub(super) fn find(
    conn: &Connection,
    tenant: &Tenant,
    reference: &DefinitionRef,
) -> Result<Option<(StoredDefinition, String)>, StorageError> {
    let digest = reference.digest.as_ref().map(Digest::as_bytes);
    let mut statement = conn.prepare_cached(FIND)?;
    let mut rows = statement.query(params![tenant.as_str(), reference.name.as_str(), digest])?;
    match rows.next()? {
        None => Ok(None),
        Some(row) => Ok(Some((stored_of(row)?, row.get(4)?))),
    }
}

/// What each name behind `after` means.
pub(super) fn list(
    conn: &Connection,
    tenant: &Tenant,
    after: Option<&DefinitionName>,
    limit: u32,
) -> Result<Vec<StoredDefinition>, StorageError> {
    let after = after.map_or("", DefinitionName::as_str);
    all(conn, LIST, params![tenant.as_str(), after, limit])
}

/// Every version of a name, newest first.
pub(super) fn versions(
    conn: &Connection,
    tenant: &Tenant,
    name: &DefinitionName,
) -> Result<Vec<StoredDefinition>, StorageError> {
    all(conn, VERSIONS, [tenant.as_str(), name.as_str()])
}

/// Removes a name.
pub(super) fn remove(
    db: &mut Db,
    tenant: &Tenant,
    name: &DefinitionName,
) -> Result<bool, StorageError> {
    let of = [tenant.as_str(), name.as_str()];
    let bytes: i64 = db
        .conn
        .prepare_cached(BYTES)?
        .query_row(of, |row| row.get(0))?;
    let removed = db
        .conn
        .prepare_cached("DELETE FROM workflow_definition WHERE tenant = ?1 AND name = ?2")?
        .execute(of)?;
    db.tallies.kept(tenant.as_str(), -bytes);
    Ok(removed > 0)
}

/// Versions of all tenants behind a number.
pub(super) fn all_behind(
    conn: &Connection,
    after: i64,
    limit: u32,
) -> Result<Vec<KeptDefinition>, StorageError> {
    let mut statement = conn.prepare_cached(ALL)?;
    let mut rows = statement.query(params![after, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (tenant, name): (String, String) = (row.get(1)?, row.get(2)?);
        found.push(KeptDefinition {
            seq: row.get(0)?,
            tenant: tenant_of(&tenant)?,
            name: DefinitionName::parse(&name).map_err(StorageError::corrupt)?,
            digest: Digest::from_bytes(row.get(3)?),
            text: row.get(4)?,
        });
    }
    Ok(found)
}

/// Keeps another form of a text.
pub(super) fn change(
    conn: &Connection,
    old: &KeptDefinition,
    text: &str,
) -> Result<(), StorageError> {
    conn.prepare_cached(CHANGE)?
        .execute(params![old.seq, text, old.text])?;
    Ok(())
}

fn all(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<StoredDefinition>, StorageError> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(stored_of(row)?);
    }
    Ok(found)
}

fn stored_of(row: &Row<'_>) -> Result<StoredDefinition, StorageError> {
    let (name, size): (String, i64) = (row.get(0)?, row.get(2)?);
    Ok(StoredDefinition {
        name: DefinitionName::parse(&name).map_err(StorageError::corrupt)?,
        digest: Digest::from_bytes(row.get(1)?),
        size_bytes: u64::try_from(size).map_err(StorageError::corrupt)?,
        created_at: Timestamp::from_millis(row.get(3)?),
    })
}
