//! Modules: the facts about each version, and versions by name. Their bytes are blobs.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::beside::Kept;
use super::db::Db;
use crate::blobs::BlobHash;
use crate::rows::{InfoRow, from_json, to_json};
use crate::{PutModule, StorageError, StoredModule};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::quota::{OverQuota, QuotaName};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::time::Timestamp;

/// Makes `name` refer to `info.digest`.
pub(super) fn put_module(
    db: &mut Db,
    (owner, name): (&Tenant, &ModuleName),
    info: &ModuleInfo,
    blob: BlobHash,
    storage_bytes: Option<u64>,
    now: Timestamp,
) -> Result<PutModule, StorageError> {
    db.conn
        .prepare_cached(
            "INSERT INTO module (digest, info, wasm, blob) VALUES (?1, ?2, x'', ?3)
             ON CONFLICT (digest) DO UPDATE SET wasm = x'', blob = ?3 WHERE blob IS NULL",
        )?
        .execute(params![
            info.digest.as_bytes(),
            to_json(&InfoRow::from(info))?,
            blob.0
        ])?;
    let current: Option<[u8; 32]> = db
        .conn
        .prepare_cached(
            "SELECT digest FROM module_version WHERE tenant = ?1 AND name = ?2
             ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([owner.as_str(), name.as_str()], |row| row.get(0))
        .optional()?;
    if current.as_ref() == Some(info.digest.as_bytes()) {
        return Ok(PutModule::Unchanged);
    }
    let is_known = db
        .conn
        .prepare_cached(
            "SELECT 1 FROM module_version WHERE tenant = ?1 AND name = ?2 AND digest = ?3",
        )?
        .exists(params![
            owner.as_str(),
            name.as_str(),
            info.digest.as_bytes()
        ])?;
    if !is_known {
        take_room(db, owner, info.size_bytes, storage_bytes)?;
    }
    // A version that is put again moves to the end: the name refers to the newest.
    db.conn
        .prepare_cached(
            "REPLACE INTO module_version (tenant, name, digest, created_at)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            owner.as_str(),
            name.as_str(),
            info.digest.as_bytes(),
            now.as_millis()
        ])?;
    Ok(PutModule::Created)
}

/// Counts a new version, or refuses it.
pub(super) fn take_room(
    db: &mut Db,
    owner: &Tenant,
    bytes: u64,
    storage_bytes: Option<u64>,
) -> Result<(), StorageError> {
    if let Some(limit) = storage_bytes {
        let kept = db.tallies.kept_of(&db.conn, owner.as_str())?;
        if kept.saturating_add(bytes) > limit {
            return Err(OverQuota::of(QuotaName::Storage, limit, kept).into());
        }
    }
    let bytes = i64::try_from(bytes).map_err(StorageError::corrupt)?;
    db.tallies.kept(owner.as_str(), bytes);
    Ok(())
}

/// Forgets a name; the bytes are removed once nothing refers to them.
pub(super) fn remove_module(
    db: &mut Db,
    owner: &Tenant,
    name: &ModuleName,
) -> Result<bool, StorageError> {
    let bytes: i64 = db
        .conn
        .prepare_cached(
            "SELECT coalesce(sum(json_extract(m.info, '$.size_bytes')), 0)
             FROM module_version v JOIN module m ON m.digest = v.digest
             WHERE v.tenant = ?1 AND v.name = ?2",
        )?
        .query_row([owner.as_str(), name.as_str()], |row| row.get(0))?;
    db.tallies.kept(owner.as_str(), -bytes);
    let removed = db
        .conn
        .prepare_cached("DELETE FROM module_version WHERE tenant = ?1 AND name = ?2")?
        .execute([owner.as_str(), name.as_str()])?;
    Ok(removed > 0)
}

/// The version that a reference names.
pub(super) fn find_module(
    conn: &Connection,
    owner: &Tenant,
    reference: &ModuleRef,
) -> Result<Option<StoredModule>, StorageError> {
    let digest = reference.digest.as_ref().map(Digest::as_bytes);
    conn.prepare_cached(
        "SELECT v.name, v.digest, v.created_at, m.info
         FROM module_version v JOIN module m ON m.digest = v.digest
         WHERE v.tenant = ?1 AND v.name = ?2 AND (?3 IS NULL OR v.digest = ?3)
         ORDER BY v.seq DESC LIMIT 1",
    )?
    .query_row(
        params![owner.as_str(), reference.name.as_str(), digest],
        version_row,
    )
    .optional()?
    .map(stored_module)
    .transpose()
}

/// The version of each name that a tenant may name, by name.
pub(super) fn list_modules(
    conn: &Connection,
    tenant: &Tenant,
    after: Option<&ModuleName>,
    limit: u32,
) -> Result<Vec<StoredModule>, StorageError> {
    let after = after.map_or("", ModuleName::as_str);
    let mut rows = some_modules(conn, tenant, (after, AFTER_ALL), limit)?;
    if *tenant != Tenant::DEFAULT {
        for prefix in [ModuleName::PUBLIC_PREFIX, ModuleName::RESERVED_PREFIX] {
            let last = format!("{prefix}{AFTER_ALL}");
            let from = after.max(prefix);
            rows.extend(some_modules(conn, &Tenant::DEFAULT, (from, &last), limit)?);
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    rows.into_iter().map(stored_module).collect()
}

/// Behind every name.
const AFTER_ALL: &str = "~";

/// The version of each of an owner's names between two texts, by name.
fn some_modules(
    conn: &Connection,
    owner: &Tenant,
    (after, before): (&str, &str),
    limit: u32,
) -> Result<Vec<VersionRow>, StorageError> {
    let rows = conn
        .prepare_cached(
            "SELECT v.name, v.digest, v.created_at, m.info
             FROM (SELECT name, max(seq) AS seq FROM module_version
                   WHERE tenant = ?1 AND name > ?2 AND name < ?3
                   GROUP BY name ORDER BY name LIMIT ?4) newest
             JOIN module_version v ON v.seq = newest.seq JOIN module m ON m.digest = v.digest
             ORDER BY v.name",
        )?
        .query_map(params![owner.as_str(), after, before, limit], version_row)?
        .collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Every version of a name, newest first.
pub(super) fn module_versions(
    conn: &Connection,
    owner: &Tenant,
    name: &ModuleName,
) -> Result<Vec<StoredModule>, StorageError> {
    let rows: Vec<VersionRow> = conn
        .prepare_cached(
            "SELECT v.name, v.digest, v.created_at, m.info
             FROM module_version v JOIN module m ON m.digest = v.digest
             WHERE v.tenant = ?1 AND v.name = ?2 ORDER BY v.seq DESC",
        )?
        .query_map([owner.as_str(), name.as_str()], version_row)?
        .collect::<Result<_, _>>()?;
    rows.into_iter().map(stored_module).collect()
}

/// The facts about a version.
pub(super) fn module_info(
    conn: &Connection,
    digest: Digest,
) -> Result<Option<ModuleInfo>, StorageError> {
    let info: Option<String> = conn
        .prepare_cached("SELECT info FROM module WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()?;
    info.map(|text| Ok(from_json::<InfoRow>(&text)?.with_digest(digest)))
        .transpose()
}

/// The bytes of a version, or their place.
pub(super) fn module_bytes(
    conn: &Connection,
    digest: Digest,
) -> Result<Option<Kept>, StorageError> {
    Ok(conn
        .prepare_cached("SELECT blob, wasm FROM module WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| {
            Ok(match row.get(0)? {
                Some(hash) => Kept::Blob(BlobHash(hash)),
                None => Kept::Inside(row.get(1)?),
            })
        })
        .optional()?)
}

/// The blob of a version, if it has one.
pub(super) fn module_blob(
    conn: &Connection,
    digest: Digest,
) -> Result<Option<BlobHash>, StorageError> {
    let found: Option<Option<[u8; 32]>> = conn
        .prepare_cached("SELECT blob FROM module WHERE digest = ?1")?
        .query_row([digest.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(found.flatten().map(BlobHash))
}

struct VersionRow {
    name: String,
    digest: [u8; 32],
    created_at: i64,
    info: String,
}

fn version_row(row: &Row<'_>) -> rusqlite::Result<VersionRow> {
    Ok(VersionRow {
        name: row.get(0)?,
        digest: row.get(1)?,
        created_at: row.get(2)?,
        info: row.get(3)?,
    })
}

fn stored_module(row: VersionRow) -> Result<StoredModule, StorageError> {
    let info: InfoRow = from_json(&row.info)?;
    Ok(StoredModule {
        name: ModuleName::parse(&row.name).map_err(StorageError::corrupt)?,
        info: info.with_digest(Digest::from_bytes(row.digest)),
        created_at: Timestamp::from_millis(row.created_at),
    })
}
