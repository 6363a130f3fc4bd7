//! What the registry needs of the sandbox: a compiler, its artefacts, a way to map them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Descriptor, Digest, ModuleKind};
use cofferdam_sandbox::compile::{Compiled, Compiler};
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_sandbox::{CompileError, EngineClass, LoadError, LoadedModule, Sandbox};

/// Compiles, maps and describes modules. The sandbox does; tests put something in its place.
#[async_trait]
pub trait Loader: Send + Sync + 'static {
    /// Checks and compiles, and leaves the artefact in the cache.
    async fn compile(&self, wasm: Bytes, class: EngineClass) -> Result<Compiled, CompileError>;

    /// Maps the artefact from the cache; `None` if this host can use none of them.
    async fn open(
        &self,
        digest: &Digest,
        class: EngineClass,
        kind: ModuleKind,
    ) -> Result<Option<Arc<LoadedModule>>, CompileError>;

    /// Asks a task module what it is, under limits.
    async fn describe(&self, module: Arc<LoadedModule>)
    -> Result<Option<Descriptor>, CompileError>;
}

/// The sandbox as a loader.
pub struct SandboxLoader {
    sandbox: Sandbox,
    compiler: Compiler,
    limits: Limits,
    threads: GuestThreadsHandle,
}

impl SandboxLoader {
    /// Compiles with `compiler`, maps into `sandbox`, and lets modules describe themselves on
    /// `threads`, under `limits`.
    pub fn new(
        sandbox: Sandbox,
        compiler: Compiler,
        limits: Limits,
        threads: GuestThreadsHandle,
    ) -> SandboxLoader {
        SandboxLoader {
            sandbox,
            compiler,
            limits,
            threads,
        }
    }
}

#[async_trait]
impl Loader for SandboxLoader {
    async fn compile(&self, wasm: Bytes, class: EngineClass) -> Result<Compiled, CompileError> {
        self.compiler.compile(wasm, class).await
    }

    async fn open(
        &self,
        digest: &Digest,
        class: EngineClass,
        kind: ModuleKind,
    ) -> Result<Option<Arc<LoadedModule>>, CompileError> {
        let (sandbox, artefacts) = (self.sandbox.clone(), self.compiler.artefacts().clone());
        let digest = *digest;
        let open = move || {
            let path = artefacts
                .verified(&digest, class)
                .map_err(|error| CompileError::Host(error.to_string()))?;
            let Some(path) = path else { return Ok(None) };
            match sandbox.load_file(&path, class, kind) {
                Ok(module) => Ok(Some(module)),
                Err(LoadError::Refused(why)) => Err(CompileError::Refused(why)),
                Err(LoadError::Artefact(why)) => {
                    tracing::warn!(%digest, why, "an artefact is made anew");
                    Ok(None)
                }
            }
        };
        let failed = |error: tokio::task::JoinError| CompileError::Host(error.to_string());
        tokio::task::spawn_blocking(open).await.map_err(failed)?
    }

    async fn describe(
        &self,
        module: Arc<LoadedModule>,
    ) -> Result<Option<Descriptor>, CompileError> {
        // A description is a guest's work like any other, its start functions included.
        let (sandbox, limits) = (self.sandbox.clone(), self.limits);
        let describe = async move { sandbox.describe(&module, &limits).await };
        let described = self.threads.hand_over(describe).await;
        described.map_err(|failure| {
            CompileError::Refused(format!("describe() failed: {}", failure.message))
        })
    }
}
