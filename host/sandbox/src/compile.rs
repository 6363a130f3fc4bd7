//! The compiler: one upload becomes one checked, authenticated file of compiled code.
//!
//! Compiling untrusted code is the most expensive thing a stranger can ask of the host, and the
//! most complicated code that it runs for them. So it happens in a child process (`child`,
//! `confine`; `process` is the parent's side); few run at once; equal uploads wait for one child;
//! and a refusal is remembered for a while, without another child.
//!
//! The child compiles on several threads, though `RLIMIT_CPU` counts them together and is set to
//! the deadline times their number: one thread would exceed the deadline with yosys (69 MB), which
//! two threads compile in half of it. Their number is bounded because each costs address space.
//!
//! A child takes its address space from the host's memory budget. That is far less than the limit for
//! most modules, so a child is first tried with what a module of its size is likely to need, and one
//! that runs out of it is followed by another with more.

mod child;
mod confine;
mod flights;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inspect;
mod places;
mod process;
mod protocol;
mod remembered;
mod survey;
mod wasi;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

pub use self::child::child_main;
pub use self::protocol::Confinement;

use self::flights::Flights;
use self::places::{Place, Places};
use self::process::Failed;
use self::protocol::{Orders, Verdict, shortened};
use self::remembered::Remembered;
use crate::cache::{CodeCache, CodeCacheError};
use crate::settings::SandboxConfig;
use crate::{CompileError, EngineClass};
use cofferdam_domain::limits::MIB;
use cofferdam_domain::memory::{Budget, Purpose};
use cofferdam_domain::module::{Descriptor, Digest, ModuleInfo, ModuleKind};

/// The word that makes this program a compiling child: `cofferdam compile-child …`.
pub const COMMAND: &str = "compile-child";

/// Threads of one child. More threads shorten a long compilation, but each needs its own stack and
/// heap out of the same address space.
const THREADS_MAX: usize = 4;
/// The memory that the first child has …
const LIKELY_BYTES: u64 = 96 * MIB;
/// … and what it has in addition for each byte of the module.
const LIKELY_BYTES_PER_BYTE: u64 = 12;
/// How many times as much the next child has.
const NEXT_TIMES: u64 = 4;

/// A checked module; its code is in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The address of the bytes as uploaded.
    pub digest: Digest,
    /// How it is linked and called.
    pub kind: ModuleKind,
    /// The length of the bytes as uploaded.
    pub size_bytes: u64,
    /// What it imports, sorted.
    pub imports: Vec<String>,
    /// The grants without which some of these imports only answer "denied", sorted.
    pub needs: Vec<String>,
    /// How long checking and compiling took, without the wait for a child.
    pub compiled_ms: u64,
}

impl Compiled {
    /// The domain's form, with the module's description of itself.
    pub fn into_info(self, descriptor: Option<Descriptor>) -> ModuleInfo {
        ModuleInfo {
            digest: self.digest,
            kind: self.kind,
            size_bytes: self.size_bytes,
            imports: self.imports,
            needs: self.needs,
            descriptor,
            compiled_ms: self.compiled_ms,
        }
    }
}

/// The module and the engine of one compilation.
type Key = (Digest, EngineClass);

/// The compiler. Cheap to clone; all clones share the cache, the children and the memory.
#[derive(Clone)]
pub struct Compiler {
    shared: Arc<Shared>,
}

struct Shared {
    program: PathBuf,
    code_cache: CodeCache,
    timeout: Duration,
    /// The most that a child may have.
    memory_bytes: u64,
    /// The shapes of the classes, in the order of [`EngineClass::ALL`].
    stack_bytes: [usize; EngineClass::COUNT],
    threads: usize,
    places: Places,
    flights: Flights<Key, Result<Compiled, CompileError>>,
    remembered: Remembered,
    confinement: OnceLock<Confinement>,
}

impl Compiler {
    /// A compiler whose children are `program`, this very program, started with [`COMMAND`]. They take
    /// their memory from `memory`.
    pub fn new(
        config: &SandboxConfig,
        memory: Budget,
        program: PathBuf,
        code_cache: CodeCache,
    ) -> Compiler {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let children = if config.compiles_max == 0 {
            cores
        } else {
            config.compiles_max
        };
        let shared = Shared {
            program,
            code_cache,
            timeout: config.compile_timeout,
            memory_bytes: memory
                .most_bytes(Purpose::Compiles)
                .min(config.compile_memory_bytes),
            stack_bytes: EngineClass::ALL.map(|class| class.stack_bytes(config)),
            threads: cores.min(THREADS_MAX),
            places: Places::new(children, memory, config.queue_timeout),
            flights: Flights::new(),
            remembered: Remembered::nothing(),
            confinement: OnceLock::new(),
        };
        Compiler {
            shared: Arc::new(shared),
        }
    }

    /// Checks `wasm` (a binary or text) and makes sure that its code for `class` is in the cache.
    /// Those who wait for a child take turns by `caller`. Dropping the future ends the child, unless
    /// another caller waits for the same module.
    pub async fn compile(
        &self,
        wasm: Bytes,
        class: EngineClass,
        caller: u64,
    ) -> Result<Compiled, CompileError> {
        let shared = &self.shared;
        let hashed = wasm.clone();
        let digest = blocking(move || Digest::from_bytes(Sha256::digest(&hashed).into())).await?;
        let key = (digest, class);
        if let Some(error) = shared.remembered.refusal(&key) {
            return Err(error);
        }
        let work = || shared.compile(key, wasm, caller);
        shared.flights.join(key, work).await
    }

    /// The cache of compiled code that this compiler makes.
    pub fn code_cache(&self) -> &CodeCache {
        &self.shared.code_cache
    }

    /// The confinement that the first child reported; `None` before.
    pub fn confinement(&self) -> Option<Confinement> {
        self.shared.confinement.get().copied()
    }
}

impl Shared {
    async fn compile(&self, key: Key, wasm: Bytes, caller: u64) -> Result<Compiled, CompileError> {
        let started = Instant::now();
        let size_bytes = wasm.len() as u64;
        if let Some(verdict) = self.recall(key).await? {
            return Ok(compiled(key, size_bytes, verdict, started.elapsed()));
        }
        if let Some(code_bytes) = self.remembered.size(&key) {
            self.see_to_room(code_bytes).await?;
        }
        let mut place = self.places.take(wasm.len(), caller).await?;
        match self.compile_in_children(&mut place, key, wasm).await {
            Ok((verdict, took)) => Ok(compiled(key, size_bytes, verdict, took)),
            Err(error) => {
                let error = cut(error);
                self.remembered.refused(key, &error);
                Err(error)
            }
        }
    }

    /// Compiles with as little memory as does; also says how long it took.
    async fn compile_in_children(
        &self,
        place: &mut Place<'_>,
        key: Key,
        wasm: Bytes,
    ) -> Result<(Verdict, Duration), CompileError> {
        let mut memory_bytes = likely_bytes(wasm.len()).min(self.memory_bytes);
        let mut left = self.timeout;
        loop {
            let time = place.time().map_or(left, |time| time.min(left));
            let memory = place.memory(memory_bytes).await?;
            let began = Instant::now();
            let tried = self
                .compile_in_child(key, wasm.clone(), memory_bytes, time)
                .await;
            left = left.saturating_sub(began.elapsed());
            // Before it waits for more: two that wait for each other's would wait in vain.
            drop(memory);
            match tried {
                Ok(verdict) => return Ok((verdict, self.timeout.saturating_sub(left))),
                Err(Failed::OutOfMemory) if memory_bytes < self.memory_bytes => {
                    memory_bytes = (memory_bytes * NEXT_TIMES).min(self.memory_bytes);
                }
                Err(Failed::OutOfMemory) => return Err(too_much_memory(memory_bytes)),
                Err(Failed::OutOfTime) if !left.is_zero() && place.time().is_some() => {
                    place.change().await?;
                }
                Err(Failed::OutOfTime) => return Err(too_long(self.timeout)),
                Err(Failed::NoRoom { code_bytes, why }) => {
                    self.remembered.without_room(key, code_bytes);
                    return Err(CompileError::Full(why));
                }
                Err(Failed::Otherwise(error)) => return Err(error),
            }
        }
    }

    /// Refuses to make code again that there is still no room for.
    async fn see_to_room(&self, code_bytes: u64) -> Result<(), CompileError> {
        let code_cache = self.code_cache.clone();
        let free = blocking(move || code_cache.free_bytes()).await?;
        match free.map_err(cache)? {
            free if free < code_bytes => Err(CompileError::Full(format!(
                "it takes at least {code_bytes} bytes, and {free} are free"
            ))),
            _enough => Ok(()),
        }
    }

    /// The verdict of an earlier compilation, perhaps by an earlier process.
    async fn recall(&self, (digest, class): Key) -> Result<Option<Verdict>, CompileError> {
        let code_cache = self.code_cache.clone();
        let label = blocking(move || code_cache.label(&digest, class))
            .await?
            .map_err(cache)?;
        // A label with a valid MAC that cannot be read is from another version of this program.
        Ok(label.and_then(|label| serde_json::from_str(&label).ok()))
    }

    async fn compile_in_child(
        &self,
        key: Key,
        wasm: Bytes,
        memory_bytes: u64,
        time: Duration,
    ) -> Result<Verdict, Failed> {
        let (digest, class) = key;
        let code_cache = self.code_cache.clone();
        let draft = blocking(move || code_cache.draft(&digest, class))
            .await?
            .map_err(cache)?;
        let orders = Orders {
            class,
            stack_bytes: self.stack_bytes[class as usize],
            input_bytes: wasm.len() as u64,
            memory_bytes,
            cpu_s: (self.timeout.as_secs() + 1) * self.threads as u64,
            threads: self.threads,
        };
        let answer = process::compile(&self.program, orders, time, wasm, draft).await?;
        self.note(answer.confinement);
        let (verdict, draft) = answer.result?;
        let label = serde_json::to_string(&verdict)
            .map_err(|error| CompileError::Host(error.to_string()))?;
        let code_cache = self.code_cache.clone();
        blocking(move || code_cache.keep(draft, &label))
            .await?
            .map_err(cache)?;
        Ok(verdict)
    }

    fn note(&self, confinement: Confinement) {
        if self.confinement.set(confinement).is_err() {
            return;
        }
        let Confinement { landlock, seccomp } = confinement;
        if landlock && seccomp {
            tracing::info!(
                landlock,
                seccomp,
                "modules are compiled in a confined process"
            );
        } else {
            tracing::warn!(
                landlock,
                seccomp,
                "this kernel confines the compiling process only in part"
            );
        }
    }
}

fn compiled(key: Key, size_bytes: u64, verdict: Verdict, took: Duration) -> Compiled {
    Compiled {
        digest: key.0,
        kind: verdict.kind.into(),
        size_bytes,
        imports: verdict.imports,
        needs: verdict.needs,
        compiled_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// The memory that most modules of this size compile in.
fn likely_bytes(size_bytes: usize) -> u64 {
    let size_bytes = u64::try_from(size_bytes).unwrap_or(u64::MAX);
    LIKELY_BYTES.saturating_add(size_bytes.saturating_mul(LIKELY_BYTES_PER_BYTE))
}

fn too_long(limit: Duration) -> CompileError {
    let seconds = limit.as_secs_f64();
    CompileError::Limit(format!(
        "checking and compiling the module took longer than {seconds} s"
    ))
}

fn too_much_memory(memory_bytes: u64) -> CompileError {
    let mib = memory_bytes / MIB;
    CompileError::Limit(format!(
        "compiling the module takes more than {mib} MiB of memory"
    ))
}

fn cut(error: CompileError) -> CompileError {
    match error {
        CompileError::Refused(why) => CompileError::Refused(shortened(why)),
        CompileError::Limit(why) => CompileError::Limit(shortened(why)),
        CompileError::Host(why) => CompileError::Host(shortened(why)),
        CompileError::Full(why) => CompileError::Full(shortened(why)),
        CompileError::Busy => CompileError::Busy,
    }
}

fn cache(error: CodeCacheError) -> CompileError {
    match &error {
        CodeCacheError::Io { source, .. } if no_room(source) => {
            CompileError::Full(error.to_string())
        }
        CodeCacheError::Io { .. } | CodeCacheError::Engine(_) => {
            CompileError::Host(error.to_string())
        }
    }
}

/// Whether the disk, or this user's share of it, is full.
fn no_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    [StorageFull, QuotaExceeded, FileTooLarge].contains(&error.kind())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CompileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| CompileError::Host(error.to_string()))
}
