//! The backend as [`KeptSecrets`].

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStorage;
use crate::StorageError;
use crate::secrets::{KeptSecrets, PutSecret, SECRETS_MAX, SealedSecret};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::secret::{KnownSecret, SecretName};
use cofferdam_domain::time::Timestamp;

const PUT: &str = "
    INSERT INTO secret (tenant, name, sealed, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4)
    ON CONFLICT (tenant, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at";
const ALL: &str = "
    SELECT tenant, name, sealed FROM secret WHERE (tenant, name) > (?1, ?2)
    ORDER BY tenant, name LIMIT ?3";
const RESEAL: &str = "
    UPDATE secret SET sealed = ?4 WHERE tenant = ?1 AND name = ?2 AND sealed = ?3";
const LIST: &str =
    "SELECT name, created_at, updated_at FROM secret WHERE tenant = ?1 ORDER BY name";

#[async_trait]
impl KeptSecrets for SqliteStorage {
    async fn put_secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<PutSecret, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.writer
            .call(move |db| put(&db.conn, &tenant, &name, &sealed, now))
            .await
    }

    async fn secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.readers
            .call(move |conn| {
                let sealed = conn
                    .prepare_cached("SELECT sealed FROM secret WHERE tenant = ?1 AND name = ?2")?
                    .query_row([tenant.as_str(), name.as_str()], |row| row.get(0))
                    .optional()?;
                Ok(sealed)
            })
            .await
    }

    async fn secrets(&self, tenant: &Tenant) -> Result<Vec<KnownSecret>, StorageError> {
        let tenant = tenant.clone();
        self.readers.call(move |conn| list(conn, &tenant)).await
    }

    async fn remove_secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
    ) -> Result<bool, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.writer
            .call(move |db| {
                let removed = db
                    .conn
                    .prepare_cached("DELETE FROM secret WHERE tenant = ?1 AND name = ?2")?
                    .execute([tenant.as_str(), name.as_str()])?;
                Ok(removed > 0)
            })
            .await
    }

    async fn all_secrets(
        &self,
        after: Option<(Tenant, SecretName)>,
        limit: u32,
    ) -> Result<Vec<SealedSecret>, StorageError> {
        self.readers
            .call(move |conn| all(conn, after.as_ref(), limit))
            .await
    }

    async fn reseal_secret(&self, old: SealedSecret, new: Vec<u8>) -> Result<(), StorageError> {
        self.writer
            .call(move |db| {
                let key = (old.tenant.as_str(), old.name.as_str());
                db.conn
                    .prepare_cached(RESEAL)?
                    .execute(params![key.0, key.1, old.sealed, new])?;
                Ok(())
            })
            .await
    }
}

fn put(
    conn: &Connection,
    tenant: &Tenant,
    name: &SecretName,
    sealed: &[u8],
    now: Timestamp,
) -> Result<PutSecret, StorageError> {
    let was_there = conn
        .prepare_cached("SELECT 1 FROM secret WHERE tenant = ?1 AND name = ?2")?
        .exists([tenant.as_str(), name.as_str()])?;
    if !was_there {
        let kept: i64 = conn
            .prepare_cached("SELECT count(*) FROM secret WHERE tenant = ?1")?
            .query_row([tenant.as_str()], |row| row.get(0))?;
        if u64::try_from(kept).unwrap_or(0) >= SECRETS_MAX {
            return Ok(PutSecret::TooMany);
        }
    }
    conn.prepare_cached(PUT)?.execute(params![
        tenant.as_str(),
        name.as_str(),
        sealed,
        now.as_millis()
    ])?;
    Ok(match was_there {
        true => PutSecret::Replaced,
        false => PutSecret::Created,
    })
}

fn all(
    conn: &Connection,
    after: Option<&(Tenant, SecretName)>,
    limit: u32,
) -> Result<Vec<SealedSecret>, StorageError> {
    // No name is empty.
    let (tenant, name) = after.map_or(("", ""), |(tenant, name)| (tenant.as_str(), name.as_str()));
    let mut statement = conn.prepare_cached(ALL)?;
    let mut rows = statement.query(params![tenant, name, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (tenant, name): (String, String) = (row.get(0)?, row.get(1)?);
        found.push(SealedSecret {
            tenant: Tenant::parse(&tenant).map_err(StorageError::corrupt)?,
            name: SecretName::parse(&name).map_err(StorageError::corrupt)?,
            sealed: row.get(2)?,
        });
    }
    Ok(found)
}

fn list(conn: &Connection, tenant: &Tenant) -> Result<Vec<KnownSecret>, StorageError> {
    let mut statement = conn.prepare_cached(LIST)?;
    let mut rows = statement.query([tenant.as_str()])?;
    let mut secrets = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        secrets.push(KnownSecret {
            name: SecretName::parse(&name).map_err(StorageError::corrupt)?,
            created_at: Timestamp::from_millis(row.get(1)?),
            updated_at: Timestamp::from_millis(row.get(2)?),
        });
    }
    Ok(secrets)
}
