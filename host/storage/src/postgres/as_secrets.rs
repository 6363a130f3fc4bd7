//! The backend as [`KeptSecrets`].

use async_trait::async_trait;
use futures_util::FutureExt;
use tokio_postgres::Row;

use super::PostgresStorage;
use super::call::Call;
use super::fault::{Fault, get};
use super::params::{Params, Raw, params};
use super::tx::{Mode, Tx, reading};
use crate::StorageError;
use crate::secrets::{KeptSecrets, PutSecret, SECRETS_MAX, SealedSecret};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::secret::{KnownSecret, SecretName};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

/// The advisory lock of a transaction that puts a secret: they are counted one after the other.
const PUTTING: i64 = 0x4366_6672_0005;

const IS_THERE: &str = "
    SELECT EXISTS (SELECT FROM cofferdam.secret WHERE tenant = $1 AND name = $2),
        (SELECT count(*) FROM cofferdam.secret WHERE tenant = $1)";
const PUT: &str = "
    INSERT INTO cofferdam.secret (tenant, name, sealed, created_at, updated_at)
    VALUES ($1, $2, $3, $4, $4)
    ON CONFLICT (tenant, name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at";
const GET: &str = "SELECT sealed FROM cofferdam.secret WHERE tenant = $1 AND name = $2";
const LIST: &str = "
    SELECT name, created_at, updated_at FROM cofferdam.secret WHERE tenant = $1 ORDER BY name";
const ALL: &str = "
    SELECT tenant, name, sealed FROM cofferdam.secret WHERE (tenant, name) > ($1, $2)
    ORDER BY tenant, name LIMIT $3";
const RESEAL: &str = "
    UPDATE cofferdam.secret SET sealed = $4 WHERE tenant = $1 AND name = $2 AND sealed = $3";
const REMOVE: &str = "DELETE FROM cofferdam.secret WHERE tenant = $1 AND name = $2 RETURNING 1";

#[async_trait]
impl KeptSecrets for PostgresStorage {
    async fn put_secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<PutSecret, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        let (whose, sealed) = (Whose::One(tenant.clone()), Raw(sealed.into()));
        self.write_of(&whose, move |call| {
            let (tenant, name, sealed) = (tenant.clone(), name.clone(), sealed.clone());
            async move { put(&call, &tenant, &name, sealed, now).await }.boxed()
        })
        .await
    }

    async fn secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let key = (tenant.to_string(), name.to_string());
            async move { reading!(call, tx, one(&mut tx, key)) }.boxed()
        })
        .await
    }

    async fn secrets(&self, tenant: &Tenant) -> Result<Vec<KnownSecret>, StorageError> {
        let tenant = tenant.clone();
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let tenant = tenant.to_string();
            async move { reading!(call, tx, list(&mut tx, tenant)) }.boxed()
        })
        .await
    }

    async fn remove_secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
    ) -> Result<bool, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.write_of(&Whose::One(tenant.clone()), move |call| {
            let key = params![tenant.to_string(), name.to_string()];
            async move {
                let mut tx = call.begin(Mode::Durable).await?;
                let removed = tx.query_opt(REMOVE, key).await?.is_some();
                tx.commit().await?;
                Ok(removed)
            }
            .boxed()
        })
        .await
    }

    async fn all_secrets(
        &self,
        after: Option<(Tenant, SecretName)>,
        limit: u32,
    ) -> Result<Vec<SealedSecret>, StorageError> {
        self.read(move |call| {
            // No name is empty.
            let (tenant, name) = match &after {
                None => (String::new(), String::new()),
                Some((tenant, name)) => (tenant.to_string(), name.to_string()),
            };
            let wanted = params![tenant, name, i64::from(limit)];
            async move { reading!(call, tx, all(&mut tx, wanted)) }.boxed()
        })
        .await
    }

    async fn reseal_secret(&self, old: SealedSecret, new: Vec<u8>) -> Result<(), StorageError> {
        let new = Raw(new.into());
        self.write_of(&Whose::One(old.tenant.clone()), move |call| {
            let old_form = Raw::copy(&old.sealed);
            let columns = params![
                old.tenant.to_string(),
                old.name.to_string(),
                old_form,
                new.clone()
            ];
            async move {
                let mut tx = call.begin(Mode::Durable).await?;
                tx.later(RESEAL, columns);
                tx.commit().await
            }
            .boxed()
        })
        .await
    }
}

async fn put(
    call: &Call,
    tenant: &Tenant,
    name: &SecretName,
    sealed: Raw,
    now: Timestamp,
) -> Result<PutSecret, Fault> {
    let mut tx = call.begin(Mode::Durable).await?;
    tx.query("SELECT pg_advisory_xact_lock($1)", params![PUTTING])
        .await?;
    let key = params![tenant.to_string(), name.to_string()];
    let row = tx.query_opt(IS_THERE, key).await?;
    let row = row.ok_or_else(|| StorageError::corrupt("a count gave no row"))?;
    let (was_there, kept): (bool, i64) = (get(&row, 0)?, get(&row, 1)?);
    if !was_there && u64::try_from(kept).unwrap_or(0) >= SECRETS_MAX {
        tx.rollback().await?;
        return Ok(PutSecret::TooMany);
    }
    let columns = params![
        tenant.to_string(),
        name.to_string(),
        sealed,
        now.as_millis()
    ];
    tx.later(PUT, columns);
    tx.commit().await?;
    Ok(match was_there {
        true => PutSecret::Replaced,
        false => PutSecret::Created,
    })
}

async fn one(tx: &mut Tx, (tenant, name): (String, String)) -> Result<Option<Vec<u8>>, Fault> {
    let row = tx.query_opt(GET, params![tenant, name]).await?;
    Ok(row.map(|row| get(&row, 0)).transpose()?)
}

async fn all(tx: &mut Tx, wanted: Params) -> Result<Vec<SealedSecret>, Fault> {
    let rows = tx.query(ALL, wanted).await?;
    let of_row = |row: &Row| -> Result<SealedSecret, StorageError> {
        Ok(SealedSecret {
            tenant: Tenant::parse(get(row, 0)?).map_err(StorageError::corrupt)?,
            name: SecretName::parse(get(row, 1)?).map_err(StorageError::corrupt)?,
            sealed: get(row, 2)?,
        })
    };
    let found: Result<_, StorageError> = rows.iter().map(of_row).collect();
    Ok(found?)
}

async fn list(tx: &mut Tx, tenant: String) -> Result<Vec<KnownSecret>, Fault> {
    let rows = tx.query(LIST, params![tenant]).await?;
    let secrets: Result<_, StorageError> = rows.iter().map(known).collect();
    Ok(secrets?)
}

fn known(row: &Row) -> Result<KnownSecret, StorageError> {
    Ok(KnownSecret {
        name: SecretName::parse(get(row, 0)?).map_err(StorageError::corrupt)?,
        created_at: Timestamp::from_millis(get(row, 1)?),
        updated_at: Timestamp::from_millis(get(row, 2)?),
    })
}
