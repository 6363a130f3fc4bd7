//! The rows of modules.

use async_trait::async_trait;
use bytes::Bytes;

use crate::StorageError;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::time::Timestamp;

/// Modules: their rows, and their bytes beside the database. A name is its tenant's, unless it is
/// everybody's ([`ModuleName::owner`]); the facts about a version and its bytes are kept once, whoever put
/// them, so a caller of those has found the digest under a name or a task of its own. Durable as [`Tasks`](crate::Tasks) are.
#[async_trait]
pub trait Modules: Send + Sync + 'static {
    /// Stores `wasm` under its digest and makes `name` refer to it.
    /// If `name` already refers to these bytes: [`PutModule::Unchanged`], and nothing is written.
    /// [`StorageError::OverQuota`] if its owner would have more than `storage_bytes` then.
    async fn put_module(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
        info: &ModuleInfo,
        wasm: Bytes,
        storage_bytes: Option<u64>,
        now: Timestamp,
    ) -> Result<PutModule, StorageError>;

    /// The module that a name refers to, or the pinned version if that version was ever put under
    /// this name and is still kept.
    async fn find_module(
        &self,
        tenant: &Tenant,
        reference: &ModuleRef,
    ) -> Result<Option<StoredModule>, StorageError>;

    /// Modules that the tenant may name, by name, ascending, after `after`.
    async fn list_modules(
        &self,
        tenant: &Tenant,
        after: Option<&ModuleName>,
        limit: u32,
    ) -> Result<Vec<StoredModule>, StorageError>;

    /// Every version ever put under `name` that is still kept, newest first.
    async fn module_versions(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
    ) -> Result<Vec<StoredModule>, StorageError>;

    /// The facts about a version, whatever its name.
    async fn module_info(&self, digest: &Digest) -> Result<Option<ModuleInfo>, StorageError>;

    /// The bytes as uploaded.
    async fn module_wasm(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError>;

    /// Forgets `name` and its versions. Versions that tasks still refer to stay loadable by
    /// digest until those tasks are pruned. False if there was no such name.
    async fn remove_module(&self, tenant: &Tenant, name: &ModuleName)
    -> Result<bool, StorageError>;
}

/// The result of putting a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutModule {
    /// The name is new or referred to other bytes.
    Created,
    /// The name already referred to these bytes.
    Unchanged,
}

/// A module version under a name.
#[derive(Clone, Debug)]
pub struct StoredModule {
    /// The name.
    pub name: ModuleName,
    /// The version.
    pub info: ModuleInfo,
    /// When it was put under this name.
    pub created_at: Timestamp,
}
