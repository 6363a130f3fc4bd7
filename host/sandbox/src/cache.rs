//! Compiled artefacts on disk.
//!
//! An artefact is native code: whoever can put one here and have it loaded owns the host. So each
//! has a seal beside it, a MAC over its name, its label and its bytes under a key that only the
//! owner of this directory can read, and its path is given out only after the seal was checked.
//! What does not pass is removed and compiled anew. Loading it is `load`'s business, not this
//! file's, and so is what a label says.
//!
//! The seal holds against whoever can write here without reading the key (a restored backup, a
//! shared volume, a fault of the disk). It does not hold against the host's own user.

mod entry;
mod key;

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use rustix::fs::{FlockOperation, flock};
use wasmtime::Engine;

pub(crate) use self::entry::Draft;

use self::entry::{ARTEFACT, SEAL, Stamp};
use crate::EngineClass;
use crate::engine::{EngineShape, engine_config};
use crate::settings::SandboxConfig;
use cofferdam_domain::module::Digest;

/// Artefacts whose seal is known to be good; beyond, a seal is checked again.
const CHECKED_MAX: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not zero");
/// The start of the names of files that are being written.
const DRAFT: &str = "draft-";

/// Why the cache could not do its work. What it holds is never an error: it is removed.
#[derive(Debug, thiserror::Error)]
pub enum ArtefactError {
    /// A file or directory.
    #[error("the artefact cache: {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// No engine can be made of this configuration.
    #[error("the artefact cache: no engine: {0}")]
    Engine(String),
}

/// The cache. Cheap to clone. Its calls touch the disk: call them where blocking is allowed.
#[derive(Clone)]
pub struct Artefacts {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    budget_bytes: u64,
    key: [u8; 32],
    /// What an engine of each class accepts, in the order of [`EngineClass::ALL`].
    engines: [String; 3],
    checked: Mutex<LruCache<String, (Stamp, Arc<str>)>>,
    /// Held as long as a process uses the directory, so that nobody clears drafts away.
    _in_use: File,
}

impl Artefacts {
    /// Opens `dir`, making it if need be; nobody else may look into it. What an earlier process
    /// left half written is cleared away, and the cache is brought down to its budget.
    pub fn open(dir: &Path, config: &SandboxConfig) -> Result<Artefacts, ArtefactError> {
        let io = |source| ArtefactError::Io {
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
            budget_bytes: config.artefact_cache_bytes,
            key: key::read_or_make(dir).map_err(io)?,
            engines: engines(config)?,
            checked: Mutex::new(LruCache::new(CHECKED_MAX)),
            _in_use: in_use,
        };
        shared.shrink(None).map_err(io)?;
        Ok(Artefacts {
            shared: Arc::new(shared),
        })
    }

    /// Where the artefact is, if it is there and its seal is good. It may be removed to make room
    /// at any time, but what was mapped by then stays mapped.
    pub fn verified(
        &self,
        digest: &Digest,
        class: EngineClass,
    ) -> Result<Option<PathBuf>, ArtefactError> {
        let found = self.find(digest, class)?;
        Ok(found.map(|name| self.shared.path(&name, ARTEFACT)))
    }

    /// What was written on the artefact when it was kept, if it is there and its seal is good.
    pub(crate) fn label(
        &self,
        digest: &Digest,
        class: EngineClass,
    ) -> Result<Option<Arc<str>>, ArtefactError> {
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

    /// A file to write a new artefact to. Nothing is seen of it until it is kept.
    pub(crate) fn draft(
        &self,
        digest: &Digest,
        class: EngineClass,
    ) -> Result<Draft, ArtefactError> {
        let shared = &self.shared;
        let name = shared.name(digest, class);
        Draft::new(&shared.dir, name, &shared.key).map_err(|source| shared.error(source))
    }

    /// Seals and publishes what was written, and makes room for it.
    pub(crate) fn keep(&self, draft: Draft, label: &str) -> Result<(), ArtefactError> {
        let shared = &self.shared;
        let keep = || {
            let name = draft.publish(&shared.dir, label)?;
            shared.shrink(Some(&name))
        };
        keep().map_err(|source| shared.error(source))
    }

    /// The name of the artefact, once it is known to be good.
    fn find(&self, digest: &Digest, class: EngineClass) -> Result<Option<String>, ArtefactError> {
        let shared = &self.shared;
        let name = shared.name(digest, class);
        let path = shared.path(&name, ARTEFACT);
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
                    tracing::warn!(artefact = name, %why, "removed an artefact");
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
        let [fast, metered, interpreter] = &self.engines;
        let engine = match class {
            EngineClass::Fast => fast,
            EngineClass::Metered => metered,
            EngineClass::Interpreter => interpreter,
        };
        format!("{}-{}-{engine}", digest.hex(), class.as_str())
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.dir.join(format!("{name}.{extension}"))
    }

    fn error(&self, source: io::Error) -> ArtefactError {
        ArtefactError::Io {
            path: self.dir.clone(),
            source,
        }
    }

    fn remove(&self, name: &str) {
        self.checked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop(name);
        for extension in [ARTEFACT, SEAL] {
            // Somebody else may have been faster.
            let _gone = fs::remove_file(self.path(name, extension));
        }
    }

    /// Removes the least recently used artefacts until the rest fits the budget. The one just made
    /// stays, however large it is.
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

/// Marks the directory as in use. The first process in it clears away old drafts.
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

/// What tells artefacts of one engine from those of another: wasmtime's own hash over its version,
/// the processor's features and every switch that matters.
fn engines(config: &SandboxConfig) -> Result<[String; 3], ArtefactError> {
    let hash = |class: EngineClass| {
        let stack_bytes = class.stack_bytes(config);
        let engine = Engine::new(&engine_config(EngineShape { class, stack_bytes }))
            .map_err(|error| ArtefactError::Engine(format!("{error:#}")))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(format!("{:016x}", hasher.finish()))
    };
    Ok([
        hash(EngineClass::Fast)?,
        hash(EngineClass::Metered)?,
        hash(EngineClass::Interpreter)?,
    ])
}

/// Whether only we can have written a file.
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
