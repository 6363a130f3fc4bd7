//! The rows of modules.

use async_trait::async_trait;
use bytes::Bytes;

use crate::StorageError;
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::time::Timestamp;

/// Modules: their rows, and their bytes beside the database. Durable as [`Tasks`](crate::Tasks) are.
#[async_trait]
pub trait Modules: Send + Sync + 'static {
    /// Stores `wasm` under its digest and makes `name` refer to it.
    /// If `name` already refers to these bytes: [`PutModule::Unchanged`], and nothing is written.
    async fn put_module(
        &self,
        name: &ModuleName,
        info: &ModuleInfo,
        wasm: Bytes,
        now: Timestamp,
    ) -> Result<PutModule, StorageError>;

    /// The module that a name refers to, or the pinned version if that version was ever put under
    /// this name and is still kept.
    async fn find_module(
        &self,
        reference: &ModuleRef,
    ) -> Result<Option<StoredModule>, StorageError>;

    /// Modules by name, ascending, after `after`.
    async fn list_modules(
        &self,
        after: Option<&ModuleName>,
        limit: u32,
    ) -> Result<Vec<StoredModule>, StorageError>;

    /// Every version ever put under `name` that is still kept, newest first.
    async fn module_versions(&self, name: &ModuleName) -> Result<Vec<StoredModule>, StorageError>;

    /// The facts about a version, whatever its name.
    async fn module_info(&self, digest: &Digest) -> Result<Option<ModuleInfo>, StorageError>;

    /// The bytes as uploaded.
    async fn module_wasm(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError>;

    /// Forgets `name` and its versions. Versions that tasks still refer to stay loadable by
    /// digest until those tasks are pruned. False if there was no such name.
    async fn remove_module(&self, name: &ModuleName) -> Result<bool, StorageError>;
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
