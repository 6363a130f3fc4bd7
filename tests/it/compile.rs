//! The compiler's entry: what it accepts, what it refuses and why, and that no upload costs the
//! host more than its limits.
//!
//! The bombs are made here, byte by byte, because no assembler would make them.

#[path = "compile/bombs.rs"]
mod bombs;
#[path = "compile/children.rs"]
mod children;
#[path = "compile/code_cache.rs"]
mod code_cache;
#[path = "compile/verdicts.rs"]
mod verdicts;
#[path = "compile/wasm.rs"]
mod wasm;

use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam_domain::memory::{Budget, Share};
use cofferdam_sandbox::cache::CodeCache;
use cofferdam_sandbox::compile::{Compiled, Compiler};
use cofferdam_sandbox::memory::budget;
use cofferdam_sandbox::settings::SandboxConfig;
use cofferdam_sandbox::{CompileError, EngineClass};

/// A compiler over its own directory.
struct Bench {
    compiler: Compiler,
    memory: Budget,
    dir: tempfile::TempDir,
}

/// Small limits, so that a bomb does not hold up the tests.
fn small() -> SandboxConfig {
    SandboxConfig {
        compile_timeout: Duration::from_secs(2),
        compile_memory_bytes: 300 * 1024 * 1024,
        ..SandboxConfig::default()
    }
}

/// Limits that no honest module of these tests reaches, however busy the machine is.
fn ample() -> SandboxConfig {
    SandboxConfig {
        compile_timeout: Duration::from_secs(60),
        ..SandboxConfig::default()
    }
}

impl Bench {
    fn new(config: &SandboxConfig) -> Bench {
        Bench::with_program(config, |_| PathBuf::from(env!("CARGO_BIN_EXE_cofferdam")))
    }

    /// With a fake child; `program` gets a directory to put it into.
    fn with_program(config: &SandboxConfig, program: impl FnOnce(&Path) -> PathBuf) -> Bench {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let program = program(dir.path());
        Bench::over(config, dir, program)
    }

    /// The same over a directory that was prepared.
    fn over(config: &SandboxConfig, dir: tempfile::TempDir, program: PathBuf) -> Bench {
        let memory = budget(config, Share::NONE);
        let code_cache = CodeCache::open(&dir.path().join("compiled"), config).expect("a cache");
        let compiler = Compiler::new(config, memory.clone(), program, code_cache);
        Bench {
            compiler,
            memory,
            dir,
        }
    }

    async fn compile(&self, wasm: impl Into<Vec<u8>>) -> Result<Compiled, CompileError> {
        self.compiler
            .compile(wasm.into().into(), EngineClass::Fast, 0)
            .await
    }

    /// The reason of a refusal.
    async fn refusal(&self, wasm: impl Into<Vec<u8>>) -> String {
        match self.compile(wasm).await {
            Err(CompileError::Refused(why)) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The limit that was reached.
    async fn limit(&self, wasm: impl Into<Vec<u8>>) -> String {
        match self.compile(wasm).await {
            Err(CompileError::Limit(which)) => which,
            other => panic!("no limit: {other:?}"),
        }
    }
}
