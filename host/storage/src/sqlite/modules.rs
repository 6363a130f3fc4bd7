//! Modules: the facts about each version, and versions by name. Their bytes are blobs.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::beside::Kept;
use super::db::Db;
use crate::blobs::BlobHash;
use crate::rows::{InfoRow, from_json, to_json};
use crate::{PutModule, StorageError, StoredModule};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::time::Timestamp;

/// Makes `name` refer to `info.digest`.
pub(super) fn put_module(
    db: &mut Db,
    name: &ModuleName,
    info: &ModuleInfo,
    blob: BlobHash,
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
            "SELECT digest FROM module_version WHERE name = ?1 ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()?;
    if current.as_ref() == Some(info.digest.as_bytes()) {
        return Ok(PutModule::Unchanged);
    }
    // A version that is put again moves to the end: the name refers to the newest.
    db.conn
        .prepare_cached(
            "REPLACE INTO module_version (name, digest, created_at) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![
            name.as_str(),
            info.digest.as_bytes(),
            now.as_millis()
        ])?;
    Ok(PutModule::Created)
}

/// Forgets a name; the bytes are removed once nothing refers to them.
pub(super) fn remove_module(db: &mut Db, name: &ModuleName) -> Result<bool, StorageError> {
    let removed = db
        .conn
        .prepare_cached("DELETE FROM module_version WHERE name = ?1")?
        .execute([name.as_str()])?;
    Ok(removed > 0)
}

/// The version that a reference names.
pub(super) fn find_module(
    conn: &Connection,
    reference: &ModuleRef,
) -> Result<Option<StoredModule>, StorageError> {
    let digest = reference.digest.as_ref().map(Digest::as_bytes);
    conn.prepare_cached(
        "SELECT v.name, v.digest, v.created_at, m.info
         FROM module_version v JOIN module m ON m.digest = v.digest
         WHERE v.name = ?1 AND (?2 IS NULL OR v.digest = ?2) ORDER BY v.seq DESC LIMIT 1",
    )?
    .query_row(params![reference.name.as_str(), digest], version_row)
    .optional()?
    .map(stored_module)
    .transpose()
}

/// The version of each name, by name.
pub(super) fn list_modules(
    conn: &Connection,
    after: Option<&ModuleName>,
    limit: u32,
) -> Result<Vec<StoredModule>, StorageError> {
    let rows: Vec<VersionRow> = conn
        .prepare_cached(
            "SELECT v.name, v.digest, v.created_at, m.info
             FROM (SELECT name, max(seq) AS seq FROM module_version WHERE name > ?1
                   GROUP BY name ORDER BY name LIMIT ?2) newest
             JOIN module_version v ON v.seq = newest.seq JOIN module m ON m.digest = v.digest
             ORDER BY v.name",
        )?
        .query_map(
            params![after.map_or("", ModuleName::as_str), limit],
            version_row,
        )?
        .collect::<Result<_, _>>()?;
    rows.into_iter().map(stored_module).collect()
}

/// Every version of a name, newest first.
pub(super) fn module_versions(
    conn: &Connection,
    name: &ModuleName,
) -> Result<Vec<StoredModule>, StorageError> {
    let rows: Vec<VersionRow> = conn
        .prepare_cached(
            "SELECT v.name, v.digest, v.created_at, m.info
             FROM module_version v JOIN module m ON m.digest = v.digest
             WHERE v.name = ?1 ORDER BY v.seq DESC",
        )?
        .query_map([name.as_str()], version_row)?
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
