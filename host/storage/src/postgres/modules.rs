//! Modules: the facts about each version, and versions by name. Their bytes are blobs.

use tokio_postgres::Row;

use super::blobs::Stored;
use super::call::Call;
use super::fault::{Fault, get, get_hash};
use super::params::{Raw, params};
use super::quotas;
use super::tx::{Mode, Tx};
use crate::blobs::BlobHash;
use crate::rows::{InfoRow, from_json, to_json};
use crate::{PutModule, StorageError, StoredModule};
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::time::Timestamp;

macro_rules! select_versions {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT v.name, v.digest, v.created_at, m.info FROM ",
            $from,
            " JOIN cofferdam.module m ON m.digest = v.digest ",
            $rest
        )
    };
}

/// Puts of one name go one after the other.
const LOCK_NAME: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
const PUT: &str = "
    INSERT INTO cofferdam.module (digest, info, blob) VALUES ($1, $2, $3)
    ON CONFLICT (digest) DO NOTHING";
const CURRENT: &str = "
    SELECT digest FROM cofferdam.module_version WHERE tenant = $1 AND name = $2
    ORDER BY seq DESC LIMIT 1";
const FORGET: &str = "
    DELETE FROM cofferdam.module_version WHERE tenant = $1 AND name = $2 AND digest = $3
    RETURNING 1";
const NAME: &str = "
    INSERT INTO cofferdam.module_version (tenant, name, digest, created_at)
    VALUES ($1, $2, $3, $4)";
const FIND: &str = select_versions!(
    "cofferdam.module_version v",
    "WHERE v.tenant = $1 AND v.name = $2 AND ($3::bytea IS NULL OR v.digest = $3)
     ORDER BY v.seq DESC LIMIT 1"
);
const LIST: &str = select_versions!(
    "(SELECT name, max(seq) AS seq FROM cofferdam.module_version
      WHERE name > $2 AND (tenant = $1 OR (tenant = 'default' AND
        (starts_with(name, 'public/') OR starts_with(name, 'interpreters/'))))
      GROUP BY name ORDER BY name LIMIT $3) newest
     JOIN cofferdam.module_version v ON v.seq = newest.seq",
    "ORDER BY v.name"
);
const VERSIONS: &str = select_versions!(
    "cofferdam.module_version v",
    "WHERE v.tenant = $1 AND v.name = $2 ORDER BY v.seq DESC"
);

/// Makes `name` mean `info.digest`, whose bytes were put.
pub(super) async fn put_module(
    call: &Call,
    name: &ModuleName,
    info: &ModuleInfo,
    stored: Stored,
    storage_bytes: Option<u64>,
    now: Timestamp,
) -> Result<PutModule, Fault> {
    let mut tx = call.begin(Mode::Referring).await?;
    let text = || name.as_str().to_owned();
    let owner = tx.tenant();
    let owner = || owner.clone();
    let digest = || Raw::copy(info.digest.as_bytes());
    let kept = quotas::kept_before(&mut tx, storage_bytes).await?;
    tx.query(LOCK_NAME, params![text()]).await?;
    let row = to_json(&InfoRow::from(info))?;
    tx.query(PUT, params![digest(), row, Raw::copy(&stored.hash().0)])
        .await?;
    let current = tx.query_opt(CURRENT, params![owner(), text()]).await?;
    let current = current.map(|row| get_hash(&row, 0)).transpose()?;
    let put = match current.as_ref() == Some(info.digest.as_bytes()) {
        true => PutModule::Unchanged,
        false => {
            // A version that comes back moves to the end: the newest is what the name means.
            let forgot = tx.query(FORGET, params![owner(), text(), digest()]).await?;
            if forgot.is_empty()
                && let Err(refusal) = quotas::take_room(&mut tx, kept, info.size_bytes)
            {
                tx.rollback().await?;
                return Err(refusal.into());
            }
            let named = params![owner(), text(), digest(), now.as_millis()];
            tx.later(NAME, named);
            PutModule::Created
        }
    };
    tx.commit().await?;
    Ok(put)
}

/// Forgets a name; the bytes are removed once nothing refers to them.
pub(super) async fn remove_module(call: &Call, name: &ModuleName) -> Result<bool, Fault> {
    const SQL: &str = "
        WITH gone AS (
            DELETE FROM cofferdam.module_version WHERE tenant = $1 AND name = $2 RETURNING digest)
        SELECT coalesce((m.info::json ->> 'size_bytes')::int8, 0)
        FROM gone LEFT JOIN cofferdam.module m ON m.digest = gone.digest";
    let mut tx = call.begin(Mode::Durable).await?;
    let wanted = params![tx.tenant(), name.as_str().to_owned()];
    let removed = tx.query(SQL, wanted).await?;
    for row in &removed {
        let bytes: i64 = get(row, 0)?;
        tx.kept_of_its_tenant(-bytes);
    }
    tx.commit().await?;
    Ok(!removed.is_empty())
}

/// The version that a reference names.
pub(super) async fn find_module(
    tx: &mut Tx,
    reference: &ModuleRef,
) -> Result<Option<StoredModule>, Fault> {
    let digest = reference
        .digest
        .as_ref()
        .map(|digest| Raw::copy(digest.as_bytes()));
    let wanted = params![tx.tenant(), reference.name.as_str().to_owned(), digest];
    let row = tx.query_opt(FIND, wanted).await?;
    Ok(row.as_ref().map(stored_module).transpose()?)
}

/// The version of each name that the tenant may name, by name.
pub(super) async fn list_modules(
    tx: &mut Tx,
    after: Option<&ModuleName>,
    limit: u32,
) -> Result<Vec<StoredModule>, Fault> {
    let after = after.map_or("", ModuleName::as_str).to_owned();
    let wanted = params![tx.tenant(), after, i64::from(limit)];
    let rows = tx.query(LIST, wanted).await?;
    all(&rows)
}

/// Every version of a name, newest first.
pub(super) async fn module_versions(
    tx: &mut Tx,
    name: &ModuleName,
) -> Result<Vec<StoredModule>, Fault> {
    let rows = tx
        .query(VERSIONS, params![tx.tenant(), name.as_str().to_owned()])
        .await?;
    all(&rows)
}

/// The facts about a version.
pub(super) async fn module_info(tx: &mut Tx, digest: Digest) -> Result<Option<ModuleInfo>, Fault> {
    const SQL: &str = "SELECT info FROM cofferdam.module WHERE digest = $1";
    let row = tx
        .query_opt(SQL, params![Raw::copy(digest.as_bytes())])
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let info: InfoRow = from_json(get(&row, 0)?)?;
    Ok(Some(info.with_digest(digest)))
}

/// Where the bytes of a version are.
pub(super) async fn blob_of(tx: &mut Tx, digest: Digest) -> Result<Option<BlobHash>, Fault> {
    const SQL: &str = "SELECT blob FROM cofferdam.module WHERE digest = $1";
    let found = tx
        .query_opt(SQL, params![Raw::copy(digest.as_bytes())])
        .await?;
    let hash = found.map(|row| get_hash(&row, 0)).transpose()?;
    Ok(hash.map(BlobHash))
}

fn all(rows: &[Row]) -> Result<Vec<StoredModule>, Fault> {
    let modules: Result<_, StorageError> = rows.iter().map(stored_module).collect();
    Ok(modules?)
}

fn stored_module(row: &Row) -> Result<StoredModule, StorageError> {
    let info: InfoRow = from_json(get(row, 3)?)?;
    Ok(StoredModule {
        name: ModuleName::parse(get(row, 0)?).map_err(StorageError::corrupt)?,
        info: info.with_digest(Digest::from_bytes(get_hash(row, 1)?)),
        created_at: Timestamp::from_millis(get(row, 2)?),
    })
}
