//! Keys and tenants.

use async_trait::async_trait;

use crate::StorageError;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::{Key, KeyId, SecretHash};
use cofferdam_domain::caller::tenant::{KnownTenant, TenantRules};
use cofferdam_domain::time::Timestamp;

/// Keys that are kept at once, those that open nothing any more included.
pub const KEYS_MAX: u64 = 10_000;
/// Tenants that are kept at once.
pub const TENANTS_MAX: u64 = 10_000;
/// How long a key is listed after it ceased to open anything.
pub const DEAD_KEYS_KEPT: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 60 * 60);

/// Keys and tenants: few rows, which each host has in memory. Durable as [`Tasks`](crate::Tasks) are.
///
/// Once there was a key there always is one, because a dead key is removed only when another is made.
#[async_trait]
pub trait Access: Send + Sync + 'static {
    /// Everything, if it has changed since it had the version `known`.
    async fn access(&self, known: Option<i64>) -> Result<Option<AccessState>, StorageError>;

    /// Keeps a new key, and forgets those that have been dead for [`DEAD_KEYS_KEPT`].
    async fn put_key(&self, key: Key, now: Timestamp) -> Result<PutKey, StorageError>;

    /// Gives a live key a successor, which has its tenant, name, scopes, rate and end; the key itself ends
    /// at `until`, if it does not earlier.
    async fn rotate_key(
        &self,
        old: KeyId,
        new: (KeyId, SecretHash),
        until: Timestamp,
        now: Timestamp,
    ) -> Result<RotatedKey, StorageError>;

    /// Revokes a key. The key as it is now; none if there is none.
    async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<Option<Key>, StorageError>;

    /// Makes a tenant, or replaces what was said of it.
    async fn put_tenant(
        &self,
        name: &Tenant,
        rules: &TenantRules,
        now: Timestamp,
    ) -> Result<PutTenant, StorageError>;

    /// Revokes every key of a tenant and removes its schedules, so that nothing of it comes any more. Returns when
    /// the last key was revoked; none if it has none.
    async fn close_tenant(
        &self,
        name: &Tenant,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError>;

    /// Removes a tenant that has no live key, no task and no module, with what was counted of it. Its dead keys
    /// stay as long as any.
    async fn remove_tenant(
        &self,
        name: &Tenant,
        now: Timestamp,
    ) -> Result<RemovedTenant, StorageError>;
}

/// Every key and every tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessState {
    /// Counts the changes.
    pub version: i64,
    /// The keys, by their ids.
    pub keys: Vec<Key>,
    /// The tenants, by their names.
    pub tenants: Vec<KnownTenant>,
}

/// The result of putting a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutKey {
    /// It is kept.
    Stored,
    /// There is no such tenant.
    NoTenant,
    /// There are as many keys as may be.
    TooMany,
}

/// The result of rotating a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotatedKey {
    /// Its successor.
    Replaced(Box<Key>),
    /// There is no such key, or it opens nothing any more.
    NotLive,
    /// There are as many keys as may be.
    TooMany,
}

/// The result of putting a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutTenant {
    /// It is new.
    Created,
    /// It was there.
    Replaced,
    /// There are as many tenants as may be.
    TooMany,
}

/// The result of removing a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedTenant {
    /// It is gone.
    Removed,
    /// It has something: live keys, tasks, modules.
    NotEmpty {
        /// Keys that open something.
        keys: u64,
        /// Tasks, final ones included, as far as a thousand.
        tasks: u64,
        /// Names of modules, as far as a thousand.
        modules: u64,
    },
    /// There is no such tenant.
    Unknown,
}
