//! The parts of the sandbox that the registry needs: the compiler, its cache, and mapping.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use cofferdam_domain::isolation::{Habit, IsolationPolicy};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Descriptor, Digest, ModuleKind};
use cofferdam_sandbox::compile::{Compiled, Compiler};
use cofferdam_sandbox::threads::GuestThreadsHandle;
use cofferdam_sandbox::{CompileError, EngineClass, LoadError, LoadedModule, Sandbox, Undescribed};

/// Compiles, maps and describes modules. The sandbox implements it; tests replace it.
#[async_trait]
pub trait Loader: Send + Sync + 'static {
    /// Checks and compiles, and leaves the code in the cache. Callers, each of whom has a number, take
    /// turns.
    async fn compile(
        &self,
        wasm: Bytes,
        class: EngineClass,
        caller: u64,
    ) -> Result<Compiled, CompileError>;

    /// Maps the code from the cache; `None` if the cache has no code that this host can use.
    async fn open(
        &self,
        digest: &Digest,
        class: EngineClass,
        kind: ModuleKind,
    ) -> Result<Option<Arc<LoadedModule>>, CompileError>;

    /// Asks a task module to describe itself, under limits.
    async fn describe(&self, module: Arc<LoadedModule>)
    -> Result<Option<Descriptor>, CompileError>;
}

/// The sandbox as a loader.
pub struct SandboxLoader {
    sandbox: Sandbox,
    compiler: Compiler,
    limits: Limits,
    isolation: IsolationPolicy,
    threads: GuestThreadsHandle,
}

impl SandboxLoader {
    /// Compiles with `compiler`, maps into `sandbox`, and lets modules describe themselves on
    /// `threads`, under `limits` and with the isolation of a run that does not ask.
    pub fn new(
        sandbox: Sandbox,
        compiler: Compiler,
        limits: Limits,
        isolation: IsolationPolicy,
        threads: GuestThreadsHandle,
    ) -> SandboxLoader {
        SandboxLoader {
            sandbox,
            compiler,
            limits,
            isolation,
            threads,
        }
    }
}

#[async_trait]
impl Loader for SandboxLoader {
    async fn compile(
        &self,
        wasm: Bytes,
        class: EngineClass,
        caller: u64,
    ) -> Result<Compiled, CompileError> {
        self.compiler.compile(wasm, class, caller).await
    }

    async fn open(
        &self,
        digest: &Digest,
        class: EngineClass,
        kind: ModuleKind,
    ) -> Result<Option<Arc<LoadedModule>>, CompileError> {
        let (sandbox, code_cache) = (self.sandbox.clone(), self.compiler.code_cache().clone());
        let digest = *digest;
        let open = move || {
            let code = code_cache
                .verified(&digest, class)
                .map_err(|error| CompileError::Host(error.to_string()))?;
            let Some(code) = code else { return Ok(None) };
            match sandbox.load(&code, kind) {
                Ok(module) => Ok(Some(module)),
                Err(LoadError::Refused(why)) => Err(CompileError::Refused(why)),
                Err(LoadError::Unusable(why)) => {
                    tracing::warn!(%digest, why, "compiled code is made again");
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
        // A description is guest code like any other, including its start functions.
        let (sandbox, limits) = (self.sandbox.clone(), self.limits);
        let isolation = self
            .isolation
            .resolve(None, module.kind(), Habit::Short, &limits);
        let describe = async move { sandbox.describe(&module, &limits, isolation).await };
        let described = self.threads.hand_over(describe).await;
        described.map_err(|error| match error {
            Undescribed::Failed(failure) => {
                CompileError::Refused(format!("describe() failed: {}", failure.message))
            }
            Undescribed::NoRoom(_) => CompileError::Busy,
        })
    }
}
