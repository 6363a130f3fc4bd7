//! Compiled code on disk.
//!
//! Compiled code is native code: anyone who can plant a file here that is loaded owns the host. So
//! each file has a seal beside it, a MAC over its name, its label and its bytes under a key that
//! only the owner of this directory can read, and its path is given out only after the seal was
//! checked. Code that does not pass is removed and compiled again. `load` loads the code and reads
//! the labels.
//!
//! The seal protects against changes by anything that cannot read the key (a restored backup, a
//! shared volume, a fault of the disk). It does not protect against the host's own user.

mod entry;
mod key;

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::hash::{Hash, Hasher};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use rustix::fs::{FlockOperation, flock};
use wasmtime::Engine;

pub(crate) use self::entry::Draft;

use self::entry::{CODE, SEAL, Stamp};
use crate::EngineClass;
use crate::engine::{EngineShape, engine_config};
use crate::settings::SandboxConfig;
use cofferdam_domain::module::Digest;

/// Files whose seal is known to be good; a seal that fell out of this list is checked again.
const CHECKED_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");
/// The start of the names of files that are being written.
const DRAFT: &str = "draft-";

/// Why the cache could not do its work. Bad content is never an error: it is removed.
#[derive(Debug, thiserror::Error)]
pub enum CodeCacheError {
    /// A file or directory.
    #[error("the cache of compiled code: {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// No engine can be made of this configuration.
    #[error("the cache of compiled code: no engine: {0}")]
    Engine(String),
}

/// Machine code that this host compiled, and whose seal was found to be good. Nothing else can be
/// loaded, and only [`CodeCache::verified`] makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct VerifiedCode {
    path: PathBuf,
    class: EngineClass,
}

/// Where it is.
impl AsRef<Path> for VerifiedCode {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl VerifiedCode {
    /// The engine it was compiled for.
    pub(crate) fn class(&self) -> EngineClass {
        self.class
    }

    /// Code that a test compiled itself.
    #[cfg(test)]
    pub(crate) fn of_test(path: &Path, class: EngineClass) -> VerifiedCode {
        VerifiedCode {
            path: path.to_owned(),
            class,
        }
    }
}

/// The cache. Cheap to clone. Its calls touch the disk: call them where blocking is allowed.
#[derive(Clone)]
pub struct CodeCache {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    budget_bytes: u64,
    key: [u8; 32],
    /// The shape that an engine of each class accepts, in the order of [`EngineClass::ALL`].
    engines: [String; EngineClass::COUNT],
    checked: Mutex<LruCache<String, (Stamp, Arc<str>)>>,
    /// Held as long as a process uses the directory, so that no other process removes drafts.
    _in_use: File,
}

impl CodeCache {
    /// Opens `dir`, and makes it if it is absent; no other user may read it. Drafts of earlier
    /// processes are removed, and the cache is brought down to its budget.
    pub fn open(dir: &Path, config: &SandboxConfig) -> Result<CodeCache, CodeCacheError> {
        let io = |source| CodeCacheError::Io {
            path: dir.to_owned(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(io)?;
        let about = fs::metadata(dir).map_err(io)?;
        if about.uid() != rustix::process::geteuid().as_raw() {
            return Err(io(io::Error::other("it belongs to another user")));
        }
        if about.mode() & 0o077 != 0 {
            fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(io)?;
        }
        let in_use = hold(dir).map_err(io)?;
        let shared = Shared {
            dir: dir.to_owned(),
            budget_bytes: config.code_cache_bytes,
            key: key::read_or_make(dir).map_err(io)?,
            engines: engines(config)?,
            checked: Mutex::new(LruCache::new(CHECKED_MAX)),
            _in_use: in_use,
        };
        shared.shrink(None).map_err(io)?;
        Ok(CodeCache {
            shared: Arc::new(shared),
        })
    }

    /// The compiled code, if it is there and its seal is good. It may be removed to make room at
    /// any time, but what was mapped by then stays mapped.
    pub fn verified(
        &self,
        digest: &Digest,
        class: EngineClass,
    ) -> Result<Option<VerifiedCode>, CodeCacheError> {
        let found = self.find(digest, class)?;
        Ok(found.map(|name| VerifiedCode {
            path: self.shared.path(&name, CODE),
            class,
        }))
    }

    /// The label that the code was kept with, if the code is there and its seal is good.
    pub(crate) fn label(
        &self,
        digest: &Digest,
        class: EngineClass,
    ) -> Result<Option<Arc<str>>, CodeCacheError> {
        let Some(name) = self.find(digest, class)? else {
            return Ok(None);
        };
        let mut checked = self
            .shared
            .checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(checked.get(&name).map(|(_, label)| label.clone()))
    }

    /// What is left of the disk that it is on.
    pub(crate) fn free_bytes(&self) -> Result<u64, CodeCacheError> {
        let shared = &self.shared;
        let disk = rustix::fs::statvfs(shared.dir.as_path());
        let disk = disk.map_err(|error| shared.error(error.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// A file to write new code to. It is invisible until it is kept.
    pub(crate) fn draft(
        &self,
        digest: &Digest,
        class: EngineClass,
    ) -> Result<Draft, CodeCacheError> {
        let shared = &self.shared;
        let name = shared.name(digest, class);
        Draft::new(&shared.dir, name, &shared.key).map_err(|source| shared.error(source))
    }

    /// Seals and publishes the draft, and makes room for it.
    pub(crate) fn keep(&self, draft: Draft, label: &str) -> Result<(), CodeCacheError> {
        let shared = &self.shared;
        let keep = || {
            let name = draft.publish(&shared.dir, label)?;
            shared.shrink(Some(&name))
        };
        keep().map_err(|source| shared.error(source))
    }

    /// The name of the code, once it is known to be good.
    fn find(&self, digest: &Digest, class: EngineClass) -> Result<Option<String>, CodeCacheError> {
        let shared = &self.shared;
        let name = shared.name(digest, class);
        let path = shared.path(&name, CODE);
        let Some(stamp) = Stamp::of(&path).map_err(|source| shared.error(source))? else {
            return Ok(None);
        };
        let known = {
            let mut checked = shared
                .checked
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            checked.get(&name).is_some_and(|(known, _)| *known == stamp)
        };
        if !known {
            match entry::check(&shared.dir, &name, &shared.key) {
                Ok((stamp, label)) => {
                    let mut checked = shared
                        .checked
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    checked.put(name.clone(), (stamp, label));
                }
                Err(why) => {
                    tracing::warn!(code = name, %why, "removed compiled code");
                    shared.remove(&name);
                    return Ok(None);
                }
            }
        }
        entry::touch(&shared.path(&name, SEAL));
        Ok(Some(name))
    }
}

impl Shared {
    fn name(&self, digest: &Digest, class: EngineClass) -> String {
        let engine = &self.engines[class as usize];
        format!("{}-{}-{engine}", digest.hex(), class.as_str())
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{name}.{extension}"))
    }

    fn error(&self, source: io::Error) -> CodeCacheError {
        CodeCacheError::Io {
            path: self.dir.clone(),
            source,
        }
    }

    fn remove(&self, name: &str) {
        self.checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop(name);
        for extension in [CODE, SEAL] {
            // Another process may have removed it first.
            let _gone = fs::remove_file(self.path(name, extension));
        }
    }

    /// Removes the least recently used code until the rest fits the budget. The newest one stays,
    /// however large it is.
    fn shrink(&self, newest: Option<&str>) -> io::Result<()> {
        let mut entries = entry::list(&self.dir)?;
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        entries.sort_unstable_by_key(|entry| entry.used);
        for entry in entries {
            if total <= self.budget_bytes {
                break;
            }
            if Some(entry.name.as_str()) != newest {
                self.remove(&entry.name);
                total -= entry.bytes;
            }
        }
        Ok(())
    }
}

/// Marks the directory as in use. The first process in it removes old drafts.
fn hold(dir: &Path) -> io::Result<File> {
    let held = File::open(dir)?;
    if flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(DRAFT) {
                fs::remove_file(entry.path())?;
            }
        }
    }
    flock(&held, FlockOperation::LockShared)?;
    Ok(held)
}

/// Identifies the engine that code is for: wasmtime's own hash over its version, the processor's
/// features and every switch that matters.
fn engines(config: &SandboxConfig) -> Result<[String; EngineClass::COUNT], CodeCacheError> {
    let hash = |class: EngineClass| {
        let stack_bytes = class.stack_bytes(config);
        let engine = Engine::new(&engine_config(EngineShape { class, stack_bytes }))
            .map_err(|error| CodeCacheError::Engine(format!("{error:#}")))?;
        let mut hasher = Blake3(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(hasher.0.finalize().to_hex()[..ENGINE_HEX].to_owned())
    };
    let [fast, metered, interpreter, unchecked] = EngineClass::ALL.map(hash);
    Ok([fast?, metered?, interpreter?, unchecked?])
}

/// Digits of an engine's hash in the name of its compiled code.
const ENGINE_HEX: usize = 32;

/// A hash that stays the same from one version of Rust to the next, for what can only be hashed by
/// the standard library's trait.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        hash.as_bytes()[..8]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// Whether only this user can have written a file.
fn guarded(about: &Metadata) -> Result<(), &'static str> {
    if !about.is_file() {
        Err("is not a regular file")
    } else if about.uid() != rustix::process::geteuid().as_raw() {
        Err("belongs to another user")
    } else if about.mode() & 0o077 != 0 {
        Err("can be read or written by others")
    } else {
        Ok(())
    }
}
