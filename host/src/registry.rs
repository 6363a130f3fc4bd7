//! Modules: upload, resolve, load. The one door for changes to modules.

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::module::{ModuleInfo, ModuleName, ModuleRef};
use crate::sandbox::{CompileError, EngineClass, LoadedModule};
use crate::storage::{PutModule, StorageError};

/// The registry. Cheap to share behind an `Arc`.
pub struct Registry {}

/// Why the sandbox does not accept a module; part of this module's errors, so that those who answer
/// for them need not know the sandbox.
pub type CompileFailure = CompileError;

/// Why a module could not be put, found or loaded.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No module of that name (and version).
    #[error("there is no module {0}")]
    Unknown(ModuleRef),
    /// The bytes cannot be accepted.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Registry {
    /// Checks, compiles and stores `wasm`, and makes `name` mean it.
    pub async fn put(
        &self,
        _name: &ModuleName,
        _wasm: Bytes,
    ) -> Result<(PutModule, Arc<ModuleInfo>), RegistryError> {
        todo!()
    }

    /// What `reference` means now.
    pub async fn resolve(&self, _reference: &ModuleRef) -> Result<Arc<ModuleInfo>, RegistryError> {
        todo!()
    }

    /// The compiled module, ready to run: from memory, else from disk, else compiled anew.
    pub async fn load(
        &self,
        _info: &ModuleInfo,
        _class: EngineClass,
    ) -> Result<Arc<LoadedModule>, RegistryError> {
        todo!()
    }

    /// Forgets a name. False if there was none.
    pub async fn remove(&self, _name: &ModuleName) -> Result<bool, RegistryError> {
        todo!()
    }
}
