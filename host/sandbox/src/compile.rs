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

mod child;
mod confine;
mod flights;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inspect;
mod places;
mod process;
mod protocol;
mod survey;
mod wasi;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;
use sha2::{Digest as _, Sha256};

pub use self::child::child_main;
pub use self::protocol::Confinement;

use self::flights::Flights;
use self::places::Places;
use self::protocol::{Orders, Verdict, shortened};
use crate::cache::{CodeCache, CodeCacheError};
use crate::settings::SandboxConfig;
use crate::{CompileError, EngineClass};
use cofferdam_domain::module::{Descriptor, Digest, ModuleInfo, ModuleKind};

/// The word that makes this program a compiling child: `cofferdam compile-child …`.
pub const COMMAND: &str = "compile-child";

/// Threads of one child. More threads shorten a long compilation, but each needs its own stack and
/// heap out of the same address space.
const THREADS_MAX: usize = 4;
/// How many refusals are remembered.
const REFUSALS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");
/// How long a refusal is remembered. A module may have met the deadline only because the machine
/// was busy.
const REFUSAL_KEPT: Duration = Duration::from_secs(600);

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
    memory_bytes: u64,
    /// The shapes of the classes, in the order of [`EngineClass::ALL`].
    stack_bytes: [usize; 3],
    threads: usize,
    places: Places,
    flights: Flights<Key, Result<Compiled, CompileError>>,
    refusals: Mutex<LruCache<Key, (Instant, CompileError)>>,
    confinement: OnceLock<Confinement>,
}

impl Compiler {
    /// A compiler whose children are `program`, this very program, started with [`COMMAND`].
    pub fn new(config: &SandboxConfig, program: PathBuf, code_cache: CodeCache) -> Compiler {
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
            memory_bytes: config.compile_memory_bytes,
            stack_bytes: EngineClass::ALL.map(|class| class.stack_bytes(config)),
            threads: cores.min(THREADS_MAX),
            places: Places::new(children, config.queue_timeout),
            flights: Flights::new(),
            refusals: Mutex::new(LruCache::new(REFUSALS_MAX)),
            confinement: OnceLock::new(),
        };
        Compiler {
            shared: Arc::new(shared),
        }
    }

    /// Checks `wasm` (a binary or text) and makes sure that its code for `class` is in the cache.
    /// Dropping the future ends the child, unless another caller waits for the same module.
    pub async fn compile(&self, wasm: Bytes, class: EngineClass) -> Result<Compiled, CompileError> {
        let shared = &self.shared;
        let hashed = wasm.clone();
        let digest = blocking(move || Digest::from_bytes(Sha256::digest(&hashed).into())).await?;
        let key = (digest, class);
        if let Some(error) = shared.refused_before(&key) {
            return Err(error);
        }
        shared.flights.join(key, || shared.compile(key, wasm)).await
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
    async fn compile(&self, key: Key, wasm: Bytes) -> Result<Compiled, CompileError> {
        let started = Instant::now();
        let size_bytes = wasm.len() as u64;
        if let Some(verdict) = self.recall(key).await? {
            return Ok(compiled(key, size_bytes, verdict, started));
        }
        let _place = self.places.take(wasm.len()).await?;
        let started = Instant::now();
        let result = self.compile_in_child(key, wasm).await;
        match result {
            Ok(verdict) => Ok(compiled(key, size_bytes, verdict, started)),
            Err(error) => {
                let error = cut(error);
                self.remember(key, &error);
                Err(error)
            }
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

    async fn compile_in_child(&self, key: Key, wasm: Bytes) -> Result<Verdict, CompileError> {
        let (digest, class) = key;
        let code_cache = self.code_cache.clone();
        let draft = blocking(move || code_cache.draft(&digest, class))
            .await?
            .map_err(cache)?;
        let orders = Orders {
            class,
            stack_bytes: self.stack_bytes[class as usize],
            input_bytes: wasm.len() as u64,
            memory_bytes: self.memory_bytes,
            cpu_s: (self.timeout.as_secs() + 1) * self.threads as u64,
            threads: self.threads,
        };
        let answer = process::compile(&self.program, orders, self.timeout, wasm, draft).await?;
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

    fn refused_before(&self, key: &Key) -> Option<CompileError> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, error) = refusals.get(key)?;
        if since.elapsed() < REFUSAL_KEPT {
            return Some(error.clone());
        }
        refusals.pop(key);
        None
    }

    fn remember(&self, key: Key, error: &CompileError) {
        match error {
            CompileError::Refused(_) | CompileError::Limit(_) => {
                let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                refusals.put(key, (Instant::now(), error.clone()));
            }
            // The module is not at fault: the next try may go well.
            CompileError::Host(_) | CompileError::Full(_) | CompileError::Busy => {}
        }
    }
}

fn compiled(key: Key, size_bytes: u64, verdict: Verdict, started: Instant) -> Compiled {
    Compiled {
        digest: key.0,
        kind: verdict.kind.into(),
        size_bytes,
        imports: verdict.imports,
        needs: verdict.needs,
        compiled_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
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
