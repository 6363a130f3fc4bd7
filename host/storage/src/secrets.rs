//! Secrets of tenants. They are sealed before a database sees them, and are kept no other way: a host
//! without keys takes none.

use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::StorageError;
use crate::seal::{Place, Sealer};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::secret::{KnownSecret, SecretName, SecretValue};
use cofferdam_domain::time::Timestamp;

/// Secrets that one tenant may have.
pub const SECRETS_MAX: u64 = 256;

/// What backends keep of secrets. Durable as [`Tasks`](crate::Tasks) are.
#[async_trait]
pub(crate) trait KeptSecrets: Send + Sync + 'static {
    /// Keeps a value, in place of an earlier one of that name.
    async fn put_secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<PutSecret, StorageError>;

    /// A value as it was put.
    async fn secret(
        &self,
        tenant: &Tenant,
        name: &SecretName,
    ) -> Result<Option<Vec<u8>>, StorageError>;

    /// What a tenant has, by name.
    async fn secrets(&self, tenant: &Tenant) -> Result<Vec<KnownSecret>, StorageError>;

    /// Forgets a value; false if there is none.
    async fn remove_secret(&self, tenant: &Tenant, name: &SecretName)
    -> Result<bool, StorageError>;

    /// The first `limit` secrets behind `after`, whosever they are, by tenant and name.
    async fn all_secrets(
        &self,
        after: Option<(Tenant, SecretName)>,
        limit: u32,
    ) -> Result<Vec<SealedSecret>, StorageError>;

    /// Keeps another form of a value, unless it was put or removed meanwhile.
    async fn reseal_secret(&self, old: SealedSecret, new: Vec<u8>) -> Result<(), StorageError>;
}

/// A secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SealedSecret {
    pub(crate) tenant: Tenant,
    pub(crate) name: SecretName,
    pub(crate) sealed: Vec<u8>,
}

/// Secrets that are looked at together when keys have changed.
const BATCH: u32 = 50;

/// What a look at all secrets found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Those that are sealed with the first key now and were not before.
    pub resealed: u64,
    /// Those that no key of this host opens.
    pub unreadable: u64,
}

/// The result of putting a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSecret {
    /// It is new.
    Created,
    /// It took the place of an earlier one.
    Replaced,
    /// The tenant has [`SECRETS_MAX`] already.
    TooMany,
    /// There is no key to seal it with.
    NoKeys,
}

/// The secrets of all tenants.
#[derive(Clone)]
pub struct Secrets {
    kept: Arc<dyn KeptSecrets>,
    sealer: Arc<Sealer>,
}

impl Secrets {
    pub(crate) fn new(kept: Arc<dyn KeptSecrets>, sealer: &Arc<Sealer>) -> Secrets {
        let sealer = Arc::clone(sealer);
        Secrets { kept, sealer }
    }

    /// Keeps a secret, in place of an earlier one of that name.
    pub async fn put(
        &self,
        tenant: &Tenant,
        name: &SecretName,
        value: &SecretValue,
        now: Timestamp,
    ) -> Result<PutSecret, StorageError> {
        let Some(sealed) = self.sealer.seal(&place(tenant, name), value.reveal()) else {
            return Ok(PutSecret::NoKeys);
        };
        self.kept.put_secret(tenant, name, sealed, now).await
    }

    /// The value of a secret; `None` if the tenant has none of that name.
    pub async fn value(
        &self,
        tenant: &Tenant,
        name: &SecretName,
    ) -> Result<Option<SecretValue>, StorageError> {
        let Some(sealed) = self.kept.secret(tenant, name).await? else {
            return Ok(None);
        };
        let value = self.sealer.unseal(&place(tenant, name), &sealed)?;
        SecretValue::new(value)
            .map(Some)
            .map_err(StorageError::corrupt)
    }

    /// Whether this host has a key to seal them with.
    pub fn seals(&self) -> bool {
        self.sealer.seals()
    }

    /// Seals everything with the first key that is sealed with another one, in small batches.
    pub async fn reseal(&self) -> Result<Resealed, StorageError> {
        let mut found = Resealed::default();
        let mut after = None;
        while self.sealer.seals() {
            let batch = self.kept.all_secrets(after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = Some((last.tenant.clone(), last.name.clone()));
            for old in batch {
                if self.sealer.is_newest(&old.sealed) {
                    continue;
                }
                let place = place(&old.tenant, &old.name);
                match self.sealer.unseal(&place, &old.sealed) {
                    Ok(plain) => {
                        let plain = Zeroizing::new(plain);
                        let new = self.sealer.seal(&place, &plain).expect("it has a key");
                        self.kept.reseal_secret(old, new).await?;
                        found.resealed += 1;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a secret cannot be read");
                        found.unreadable += 1;
                    }
                }
            }
        }
        Ok(found)
    }

    /// What a tenant has, by name.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<KnownSecret>, StorageError> {
        self.kept.secrets(tenant).await
    }

    /// Forgets a secret; false if there is none.
    pub async fn remove(&self, tenant: &Tenant, name: &SecretName) -> Result<bool, StorageError> {
        self.kept.remove_secret(tenant, name).await
    }
}

fn place<'a>(tenant: &'a Tenant, name: &'a SecretName) -> Place<'a> {
    Place {
        tenant: tenant.as_str(),
        column: ("secret", "sealed"),
        row: name.as_str(),
    }
}
