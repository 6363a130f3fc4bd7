//! Secrets of tenants: the one entry point for their changes, and where the host itself gets their values.
//!
//! A value goes in and is never given back to a caller: only the doors that use it ask for it, at the moment
//! of use ([`Secrets::value`]). How values are sealed is storage's.

use std::fmt;
use std::time::Duration;

use crate::shutdown::Shutdown;
use cofferdam_domain::caller::{Caller, Forbidden, Scope, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::secret::{KnownSecret, SecretName, SecretValue};
use cofferdam_storage::{PutSecret, Remedy, Resealed, SECRETS_MAX, Secrets as Kept, StorageError};

/// How long it takes to the next try, if storage refused one.
const RESEAL_PAUSE: Duration = Duration::from_secs(30);

/// The secrets of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    storage: Kept,
    clock: Clock,
}

/// Nothing of the secrets is shown.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

/// Why a secret cannot be put, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The caller has no right to change secrets.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no such secret.
    #[error("there is no secret {0}")]
    Unknown(SecretName),
    /// The tenant has as many as it may.
    #[error("a tenant has at most {SECRETS_MAX} secrets")]
    TooMany,
    /// The host cannot seal anything.
    #[error(
        "this host keeps no secrets, because it has no key to seal them with; its operator sets \
         storage.encryption_keys"
    )]
    NoKeys,
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl SecretsError {
    /// Whether the same may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            SecretsError::Storage(error) => match error.remedy() {
                Remedy::Time | Remedy::Room => true,
                Remedy::Nothing => false,
            },
            SecretsError::Forbidden(_)
            | SecretsError::Unknown(_)
            | SecretsError::TooMany
            | SecretsError::NoKeys => false,
        }
    }
}

impl Secrets {
    /// The secrets in `storage`, dated by its clock.
    pub fn new(storage: Kept, clock: Clock) -> Secrets {
        Secrets { storage, clock }
    }

    /// Keeps a secret of the caller's tenant, in place of an earlier one of that name; whether it is new.
    pub async fn put(
        &self,
        caller: &Caller,
        name: &SecretName,
        value: &SecretValue,
    ) -> Result<bool, SecretsError> {
        caller.may(Scope::Modules)?;
        let put = self
            .storage
            .put(caller.tenant(), name, value, self.clock.now());
        let is_new = match put.await? {
            PutSecret::Created => true,
            PutSecret::Replaced => false,
            PutSecret::TooMany => return Err(SecretsError::TooMany),
            PutSecret::NoKeys => return Err(SecretsError::NoKeys),
        };
        tracing::info!(secret = %name, is_new, %caller, "a secret was put");
        Ok(is_new)
    }

    /// What the caller's tenant has, by name.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<KnownSecret>, SecretsError> {
        caller.may(Scope::Read)?;
        Ok(self.storage.list(caller.tenant()).await?)
    }

    /// Forgets a secret of the caller's tenant.
    pub async fn remove(&self, caller: &Caller, name: &SecretName) -> Result<(), SecretsError> {
        caller.may(Scope::Modules)?;
        if !self.storage.remove(caller.tenant(), name).await? {
            return Err(SecretsError::Unknown(name.clone()));
        }
        tracing::info!(secret = %name, %caller, "a secret was removed");
        Ok(())
    }

    /// Seals all secrets with the first of the operator's keys, in the background; what another one sealed is
    /// sealed anew. It is tried again until it was done or `shutdown` is requested.
    pub fn reseal(&self, shutdown: &Shutdown) {
        if !self.storage.seals() {
            return;
        }
        let (storage, stop) = (self.storage.clone(), shutdown.clone());
        shutdown.spawn("secrets", async move {
            tokio::select! {
                () = reseal(&storage) => {}
                () = stop.requested() => {}
            }
        });
    }

    /// The value of a secret, for a door that uses it. It goes into nothing that a caller or a guest sees.
    pub async fn value(
        &self,
        tenant: &Tenant,
        name: &SecretName,
    ) -> Result<SecretValue, SecretsError> {
        let value = self.storage.value(tenant, name).await?;
        value.ok_or_else(|| SecretsError::Unknown(name.clone()))
    }
}

async fn reseal(storage: &Kept) {
    loop {
        match storage.reseal().await {
            Ok(found) => {
                let Resealed {
                    resealed,
                    unreadable,
                } = found;
                return tracing::info!(
                    resealed,
                    unreadable,
                    "secrets are sealed with the first key"
                );
            }
            Err(error) => tracing::warn!(%error, "secrets cannot be sealed anew yet"),
        }
        tokio::time::sleep(RESEAL_PAUSE).await;
    }
}
