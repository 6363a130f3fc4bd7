//! Modules: upload, resolve, load. The one entry point for changes to modules.
//!
//! Storage resolves names and keeps the bytes as uploaded; the sandbox compiles and maps them. This
//! file has the order of these steps and the caches for the common case: names in use, mapped
//! modules, compiled schemas. Each is bounded.

mod changes;
mod fits;
mod loaded;
pub mod loader;
mod names;
pub mod schema;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lru::LruCache;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::registry::loaded::LoadedModules;
use crate::registry::names::Names;
use crate::registry::schema::{Misfit, Schemas, Text, Which};
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::{Caller, Forbidden, Scope, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::module::{
    Descriptor, Digest, Language, ModuleInfo, ModuleKind, ModuleName, ModuleRef,
};
use cofferdam_domain::said;
use cofferdam_sandbox::compile::Compiled;
use cofferdam_sandbox::{CompileError, EngineClass, LoadedModule};
use cofferdam_storage::{Modules, PutModule, Remedy, StorageError};

pub use crate::registry::changes::NameChanges;
pub use crate::registry::loader::{Loader, SandboxLoader};

/// The registry. Cheap to share behind an `Arc`.
pub struct Registry {
    storage: Arc<dyn Modules>,
    loader: Arc<dyn Loader>,
    clock: Clock,
    metrics: Arc<Metrics>,
    names: Names,
    loaded: LoadedModules<LoadedModule>,
    schemas: Schemas,
    /// The facts about versions that attempts ran recently; a version never changes.
    versions: Mutex<LruCache<Digest, Arc<ModuleInfo>>>,
    changes: watch::Sender<NameChanges>,
}

/// The most versions remembered.
const VERSIONS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// A core module whose `_start` does nothing.
const CONTROL: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";

/// Why the sandbox does not accept a module; it is re-exported, so that users of this module's
/// errors need not know the sandbox.
pub type CompileFailure = CompileError;

/// Why a module could not be put, found or loaded.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No module of that name (and version).
    #[error("there is no module {0}")]
    Unknown(ModuleRef),
    /// The version's bytes are gone: it was removed while something still referred to it.
    #[error("the module {0} is no longer kept")]
    Gone(Digest),
    /// The bytes cannot be accepted.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The name is one of the host's own.
    #[error(
        "{0} is one of the host's own names; names that begin with interpreters/ cannot be changed"
    )]
    Reserved(ModuleName),
    /// The caller has no right to change modules.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl RegistryError {
    /// Whether the disk, or what this host may have of it, was too full.
    pub fn wants_room(&self) -> bool {
        match self {
            RegistryError::Compile(CompileError::Full(_)) => true,
            RegistryError::Storage(error) => error.remedy() == Remedy::Room,
            RegistryError::Compile(
                CompileError::Refused(_)
                | CompileError::Limit(_)
                | CompileError::Host(_)
                | CompileError::Busy,
            )
            | RegistryError::Unknown(_)
            | RegistryError::Gone(_)
            | RegistryError::Reserved(_)
            | RegistryError::Forbidden(_) => false,
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            RegistryError::Unknown(_)
            | RegistryError::Gone(_)
            | RegistryError::Reserved(_)
            | RegistryError::Forbidden(_) => false,
            RegistryError::Compile(error) => match error {
                CompileError::Refused(_) | CompileError::Limit(_) | CompileError::Host(_) => false,
                CompileError::Full(_) | CompileError::Busy => true,
            },
            RegistryError::Storage(error) => error.remedy() != Remedy::Nothing,
        }
    }
}

impl Registry {
    /// A registry that keeps `loaded_modules_max` modules of each class mapped and checks values
    /// with `schemas`.
    pub fn new(
        storage: Arc<dyn Modules>,
        loader: Arc<dyn Loader>,
        loaded_modules_max: usize,
        schemas: Schemas,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Registry {
        Registry {
            storage,
            loader,
            clock,
            metrics,
            names: Names::default(),
            loaded: LoadedModules::new(loaded_modules_max),
            schemas,
            versions: Mutex::new(LruCache::new(VERSIONS_MAX)),
            changes: watch::Sender::default(),
        }
    }

    /// Gives up the memory of mapped modules that nothing runs; each is mapped again at its next use.
    pub fn shed(&self) {
        self.loaded.clear();
    }

    /// Tells whenever a name came to mean something else. Changes that come close together may be told
    /// as one, and what was asked for and not done may be told too.
    pub fn changes(&self) -> watch::Receiver<NameChanges> {
        self.changes.subscribe()
    }

    /// Forgets what a tenant's name meant, and says so.
    fn changed(&self, tenant: &Tenant, name: &ModuleName) {
        self.names.forget(&name.owner(tenant), name);
        self.changes
            .send_modify(|changes| changes.note(tenant, name));
    }

    /// Checks, compiles and stores `wasm`, and makes `name` mean it.
    pub async fn put(
        &self,
        caller: &Caller,
        name: &ModuleName,
        wasm: Bytes,
    ) -> Result<(PutModule, Arc<ModuleInfo>), RegistryError> {
        free(caller, name)?;
        let class = EngineClass::Fast;
        let compiled = self.compile(wasm.clone(), class, caller.number()).await?;
        let descriptor = self.describe(&compiled, class).await?;
        let info = Arc::new(compiled.into_info(descriptor));
        let put = self.store(caller, name, &info, wasm).await?;
        Ok((put, info))
    }

    /// Stores a script that its interpreter accepts, and makes `name` refer to it.
    pub async fn put_script(
        &self,
        caller: &Caller,
        name: &ModuleName,
        language: Language,
        source: Bytes,
        descriptor: Descriptor,
    ) -> Result<(PutModule, Arc<ModuleInfo>), RegistryError> {
        free(caller, name)?;
        self.schemas
            .check_descriptor(&descriptor, schema::said_by_script)
            .await
            .map_err(CompileError::Refused)?;
        // The language is part of the address: one text can be valid in two languages.
        let address = Sha256::new()
            .chain_update(language.as_str())
            .chain_update(b"\0")
            .chain_update(&source)
            .finalize();
        let info = Arc::new(ModuleInfo {
            digest: Digest::from_bytes(address.into()),
            kind: ModuleKind::Script(language),
            size_bytes: source.len() as u64,
            imports: Vec::new(),
            needs: Vec::new(),
            descriptor: Some(descriptor),
            compiled_ms: 0,
        });
        let put = self.store(caller, name, &info, source).await?;
        Ok((put, info))
    }

    /// Compiles and loads one of the host's interpreters, and stores it as the module that tasks
    /// name, so that each attempt runs the version it was submitted for.
    pub async fn install(
        &self,
        language: Language,
        wasm: Bytes,
    ) -> Result<(Arc<ModuleInfo>, Arc<LoadedModule>), RegistryError> {
        let class = EngineClass::Interpreter;
        let host = Caller::local().number();
        let mut compiled = self.compile(wasm.clone(), class, host).await?;
        compiled.kind = ModuleKind::Interpreter(language);
        let descriptor = self.describe(&compiled, class).await?;
        let info = Arc::new(compiled.into_info(descriptor));
        let module = self.load(&info, class, host).await?;
        let reference = ModuleRef {
            name: language.module(),
            digest: None,
        };
        let own = &Tenant::DEFAULT;
        let known = self.storage.find_module(own, &reference).await?;
        if known.is_none_or(|known| known.info.digest != info.digest) {
            let host = Caller::local();
            self.store(&host, &reference.name, &info, wasm).await?;
        }
        Ok((info, module))
    }

    /// The module that nodes of workflows name where the host itself does what they do: every task names a version
    /// that is kept. It does nothing, and is stored when it is first named.
    pub async fn control(&self) -> Result<ModuleRef, RegistryError> {
        let digest = Digest::from_bytes(Sha256::digest(CONTROL).into());
        let reference = ModuleRef {
            name: ModuleName::workflow(),
            digest: Some(digest),
        };
        match self.resolve(&Tenant::DEFAULT, &reference).await {
            Ok(_known) => return Ok(reference),
            Err(RegistryError::Unknown(_)) => {}
            Err(error) => return Err(error),
        }
        let info = ModuleInfo {
            digest,
            kind: ModuleKind::CoreCommand,
            size_bytes: CONTROL.len() as u64,
            imports: Vec::new(),
            needs: Vec::new(),
            descriptor: None,
            compiled_ms: 0,
        };
        let bytes = Bytes::from_static(CONTROL);
        self.store(&Caller::local(), &reference.name, &info, bytes)
            .await?;
        Ok(reference)
    }

    /// The source of a script.
    pub async fn source(&self, digest: Digest) -> Result<Bytes, RegistryError> {
        let source = self.storage.module_wasm(&digest).await?;
        source.ok_or(RegistryError::Gone(digest))
    }

    /// The facts about a version by its digest, as a claimed task names it.
    pub async fn info(&self, digest: Digest) -> Result<Arc<ModuleInfo>, RegistryError> {
        if let Some(info) = self.versions().get(&digest) {
            return Ok(Arc::clone(info));
        }
        let info = self.storage.module_info(&digest).await?;
        let info = Arc::new(info.ok_or(RegistryError::Gone(digest))?);
        self.versions().put(digest, Arc::clone(&info));
        Ok(info)
    }

    async fn store(
        &self,
        caller: &Caller,
        name: &ModuleName,
        info: &ModuleInfo,
        bytes: Bytes,
    ) -> Result<PutModule, RegistryError> {
        let (tenant, now) = (caller.tenant(), self.clock.now());
        // What is everybody's is kept for its owner.
        let is_own = name.owner(tenant) == *tenant;
        let quota = caller.task_quotas().storage_bytes.filter(|_| is_own);
        let put = self
            .storage
            .put_module(tenant, name, info, bytes, quota, now);
        let put = put.await;
        // Also where it failed: the answer to the commit may be all that was lost.
        self.changed(tenant, name);
        Ok(put?)
    }

    /// The version that a tenant's `reference` names.
    pub async fn resolve(
        &self,
        tenant: &Tenant,
        reference: &ModuleRef,
    ) -> Result<Arc<ModuleInfo>, RegistryError> {
        let owner = reference.name.owner(tenant);
        if let Some(info) = self.names.get(&owner, reference) {
            return Ok(info);
        }
        let era = self.names.era();
        match self.storage.find_module(&owner, reference).await? {
            Some(found) => {
                let info = Arc::new(found.info);
                self.names.learn(era, (&owner, reference), &info);
                Ok(info)
            }
            None => Err(RegistryError::Unknown(reference.clone())),
        }
    }

    /// The compiled module, ready to run: from memory, else from disk, else compiled again for the
    /// caller with this number.
    pub async fn load(
        &self,
        info: &ModuleInfo,
        class: EngineClass,
        caller: u64,
    ) -> Result<Arc<LoadedModule>, RegistryError> {
        self.load_version(info.digest, info.kind, class, caller)
            .await
    }

    /// The compiled module, if it is in memory.
    pub fn loaded(&self, digest: Digest, class: EngineClass) -> Option<Arc<LoadedModule>> {
        self.loaded.get(digest, class)
    }

    /// Holds an input against the module's schema, where it has one. JSON is held whatever the
    /// content type calls it, because many clients send JSON under another name. What is not JSON and
    /// does not claim to be is the module's own affair: a schema says nothing of a picture.
    pub async fn check_input(
        &self,
        info: &ModuleInfo,
        content_type: &str,
        input: Text,
    ) -> Result<(), Misfit> {
        match self.check(info, Which::Input, input).await {
            Err(Misfit::NotJson(_)) if !said::is_json(content_type) => Ok(()),
            checked => checked,
        }
    }

    /// Checks an output against the module's output schema. A module with such a schema answers
    /// with JSON, whatever the content type says.
    pub async fn check_output(&self, info: &ModuleInfo, output: &Payload) -> Result<(), Misfit> {
        let output = Text::Memory(output.body.clone());
        self.check(info, Which::Output, output).await
    }

    async fn check(&self, info: &ModuleInfo, which: Which, text: Text) -> Result<(), Misfit> {
        let descriptor = info.descriptor.as_ref();
        let schema = descriptor.and_then(|descriptor| match which {
            Which::Input => descriptor.input_schema.as_deref(),
            Which::Output => descriptor.output_schema.as_deref(),
        });
        match schema {
            Some(schema) => self.schemas.check(info.digest, which, schema, text).await,
            None => Ok(()),
        }
    }

    /// Forgets a name. False if there was no such name.
    pub async fn remove(&self, caller: &Caller, name: &ModuleName) -> Result<bool, RegistryError> {
        free(caller, name)?;
        let removed = self.storage.remove_module(caller.tenant(), name).await;
        self.changed(caller.tenant(), name);
        Ok(removed?)
    }

    /// Forgets versions that storage no longer keeps. Their compiled code leaves the disk when the
    /// cache needs the room.
    pub(crate) fn discard(&self, digests: &[Digest]) {
        for digest in digests {
            self.loaded.remove(*digest);
            self.schemas.remove(*digest);
            self.versions().pop(digest);
        }
    }

    fn versions(&self) -> MutexGuard<'_, LruCache<Digest, Arc<ModuleInfo>>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load_version(
        &self,
        digest: Digest,
        kind: ModuleKind,
        class: EngineClass,
        caller: u64,
    ) -> Result<Arc<LoadedModule>, RegistryError> {
        let load = || async {
            if let Some(module) = self.loader.open(&digest, class, kind).await? {
                return Ok(module);
            }
            let wasm = self
                .storage
                .module_wasm(&digest)
                .await?
                .ok_or(RegistryError::Gone(digest))?;
            self.compile(wasm, class, caller).await?;
            self.open(&digest, class, kind).await
        };
        self.loaded.get_or_load(digest, class, load).await
    }

    async fn compile(
        &self,
        wasm: Bytes,
        class: EngineClass,
        caller: u64,
    ) -> Result<Compiled, CompileError> {
        let compiled = self.loader.compile(wasm, class, caller).await?;
        let took = std::time::Duration::from_millis(compiled.compiled_ms);
        self.metrics.module_compiled(class.as_str(), took);
        Ok(compiled)
    }

    /// Maps code that was just compiled.
    async fn open(
        &self,
        digest: &Digest,
        class: EngineClass,
        kind: ModuleKind,
    ) -> Result<Arc<LoadedModule>, RegistryError> {
        let missing = || CompileError::Host("the code vanished after it was made".to_owned());
        let module = self.loader.open(digest, class, kind).await?;
        Ok(module.ok_or_else(missing)?)
    }

    async fn describe(
        &self,
        compiled: &Compiled,
        class: EngineClass,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let Compiled { digest, kind, .. } = compiled;
        // Loading it is part of the check: a command, too, is refused here if it cannot be linked.
        let open = || self.open(digest, class, *kind);
        let module = self.loaded.get_or_load(*digest, class, open).await?;
        match kind {
            ModuleKind::Command | ModuleKind::CoreCommand => Ok(None),
            ModuleKind::Task | ModuleKind::Interpreter(_) | ModuleKind::Script(_) => {
                let descriptor = self.loader.describe(module).await?;
                if let Some(descriptor) = &descriptor {
                    self.schemas
                        .check_descriptor(descriptor, schema::said_by_component)
                        .await
                        .map_err(CompileError::Refused)?;
                }
                Ok(descriptor)
            }
        }
    }
}

/// Refuses a change that this caller, or any caller, may not make.
fn free(caller: &Caller, name: &ModuleName) -> Result<(), RegistryError> {
    caller.may(Scope::Modules)?;
    if name.is_public() {
        caller.may(Scope::Admin)?;
    }
    match name.is_reserved() {
        true => Err(RegistryError::Reserved(name.clone())),
        false => Ok(()),
    }
}
