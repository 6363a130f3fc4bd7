//! The scratch root: where every attempt's directory is made, and the thread that removes them.
//!
//! Removing a directory can take seconds, so a separate thread does it, which is stopped and joined
//! here. The content of a directory does not matter here.

use std::ffi::CString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cofferdam_trees::{open_root, remove_tree};
use rustix::fd::{AsFd, OwnedFd};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi::filesystem::{Dir, WasiFilesystemCtx};
use wasmtime_wasi::{FsPerms, OpenMode, WasiCtxBuilder};

use crate::files::{Places, is_at, own};

/// Attempts' directories that exist at once, including those still to be removed. A run above this
/// number waits at its first file.
const SCRATCHES_MAX: usize = 4096;

/// An always empty directory in place of a guest's directories until it uses one.
const PLACEHOLDER: &str = ".empty";

/// The scratch root. Cheap to clone; all clones share the thread.
#[derive(Clone, Debug)]
pub struct Scratch {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    prefix: String,
    next: AtomicU64,
    room: Arc<Semaphore>,
    jobs: Sender<Job>,
    cleaner: Mutex<Option<JoinHandle<()>>>,
    stop_at: Arc<OnceLock<Instant>>,
    placeholder: Dir,
    blocking: Dir,
    placeholder_ctx: WasiFilesystemCtx,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// Bounded by [`SCRATCHES_MAX`]: each removal carries the permit of its directory.
enum Job {
    Remove {
        name: CString,
        _room: OwnedSemaphorePermit,
    },
    Sweep,
    Stop,
}

impl Scratch {
    /// Opens the root, or makes it, and starts the thread, which first removes what dead processes
    /// left. `incarnation` tells this process from every other that used the root.
    pub fn open(root: &Path, incarnation: u64) -> io::Result<Scratch> {
        private_dir().recursive(true).create(root)?;
        let placeholder_path = root.join(PLACEHOLDER);
        match private_dir().create(&placeholder_path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let prefix = format!("{incarnation:016x}-");
        let stop_at = Arc::new(OnceLock::new());
        let (jobs, queue) = channel();
        let cleaner = Cleaner {
            root: open_root(root)?,
            prefix: prefix.clone(),
            stop_at: Arc::clone(&stop_at),
        };
        let thread = std::thread::Builder::new()
            .name("scratch-cleaner".to_owned())
            .spawn(move || cleaner.work(&queue))?;
        let shared = Shared {
            root: root.to_owned(),
            prefix,
            next: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(SCRATCHES_MAX)),
            jobs,
            cleaner: Mutex::new(Some(thread)),
            stop_at,
            placeholder: Dir::new(
                File::from(open_root(&placeholder_path)?),
                FsPerms::ReadOnly,
                OpenMode::READ,
                false,
            ),
            blocking: Dir::new(
                File::from(open_root(&placeholder_path)?),
                FsPerms::ReadOnly,
                OpenMode::READ,
                true,
            ),
            placeholder_ctx: placeholder_ctx(&placeholder_path, &[])?,
        };
        let scratch = Scratch {
            shared: Arc::new(shared),
        };
        scratch.send(Job::Sweep);
        Ok(scratch)
    }

    /// Removes the waiting directories, for at most `grace`, and joins the thread. The next start
    /// removes the rest.
    pub fn close(&self, grace: Duration) {
        // In a second call the thread is already gone.
        let _first_call_decides = self.shared.stop_at.set(Instant::now() + grace);
        self.send(Job::Stop);
        let thread = self
            .shared
            .cleaner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the scratch cleaner panicked");
        }
    }

    /// Waits for room for one more directory.
    pub(super) async fn room(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.room)
            .acquire_owned()
            .await
            .map_err(|_| io::Error::other("the scratch root is closed"))
    }

    /// Makes an attempt's directory. Blocks.
    pub(super) fn create(&self, room: OwnedSemaphorePermit) -> io::Result<ScratchDir> {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", self.shared.prefix);
        let path = self.shared.root.join(&name);
        let name = CString::new(name).map_err(io::Error::other)?;
        private_dir().create(&path)?;
        Ok(ScratchDir {
            scratch: self.clone(),
            path,
            removal: Some((name, room)),
        })
    }

    /// Room for one more directory, if there is any now.
    pub(super) fn room_now(&self) -> io::Result<OwnedSemaphorePermit> {
        Arc::clone(&self.shared.room)
            .try_acquire_owned()
            .map_err(|_| io::Error::other("too many attempts' directories exist"))
    }

    /// Takes over the directory of an attempt that another process made. Whatever is at `from`, it is
    /// moved before it is looked at, so that nobody but the guest's leftovers is in the way. Blocks.
    pub(super) fn adopt(&self, room: OwnedSemaphorePermit, from: &Path) -> io::Result<ScratchDir> {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", self.shared.prefix);
        let path = self.shared.root.join(&name);
        let name = CString::new(name).map_err(io::Error::other)?;
        std::fs::rename(from, &path)?;
        let adopted = ScratchDir {
            scratch: self.clone(),
            path,
            removal: Some((name, room)),
        };
        open_root(&adopted.path)?;
        Ok(adopted)
    }

    /// The directory of an attempt in another process, which goes on.
    pub(super) fn of_another(&self, path: PathBuf) -> ScratchDir {
        ScratchDir {
            scratch: self.clone(),
            path,
            removal: None,
        }
    }

    /// The target of a descriptor until the guest uses it.
    pub(super) fn placeholder(&self) -> &Dir {
        &self.shared.placeholder
    }

    /// A directory whose calls may block, as the template of a copy.
    pub(super) fn blocking_dir(&self) -> &Dir {
        &self.shared.blocking
    }

    /// The placeholder without any rights.
    pub(super) fn placeholder_file(&self) -> Arc<File> {
        Arc::clone(&self.shared.placeholder.dir)
    }

    /// Preopens that all lead to the placeholder: those of the granted directories, then the
    /// standard ones. If a directory is granted, the placeholder is opened again for each, which
    /// needs no disk access.
    pub(super) fn placeholder_ctx(
        &self,
        granted: &[(String, FsPerms)],
    ) -> io::Result<WasiFilesystemCtx> {
        if granted.is_empty() {
            return Ok(self.shared.placeholder_ctx.clone());
        }
        placeholder_ctx(&self.shared.root.join(PLACEHOLDER), granted)
    }

    /// Waits until every attempt's directory is gone from the disk, but for so many.
    #[cfg(test)]
    pub(crate) async fn wait_until_removed(&self, but: usize) {
        let all = u32::try_from(SCRATCHES_MAX - but).unwrap();
        drop(self.shared.room.acquire_many(all).await.unwrap());
    }

    fn send(&self, job: Job) {
        // After `close` the thread is gone; the next start sweeps.
        let _swept_later = self.shared.jobs.send(job);
    }
}

fn placeholder_ctx(path: &Path, granted: &[(String, FsPerms)]) -> io::Result<WasiFilesystemCtx> {
    let mut builder = WasiCtxBuilder::new();
    let own = own(Places::Module, |at| {
        granted.iter().any(|(path, _)| is_at(path, at))
    });
    let granted = granted.iter().map(|(at, perms)| (at.as_str(), *perms));
    for (at, perms) in granted.chain(own.map(|preopen| (preopen.at, preopen.perms))) {
        builder
            .preopened_dir(path, at, perms)
            .map_err(io::Error::other)?;
    }
    Ok(builder.build().filesystem().clone())
}

/// Makes a directory that no other user of the machine can enter.
pub(super) fn private_dir() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// One attempt's directory. It is removed, on the cleaner's thread, when this is dropped.
#[derive(Debug)]
pub(super) struct ScratchDir {
    scratch: Scratch,
    path: PathBuf,
    removal: Option<(CString, OwnedSemaphorePermit)>,
}

impl ScratchDir {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to another process, and returns its name.
    pub(super) fn leave(mut self) -> Option<CString> {
        self.removal.take().map(|(name, _room)| name)
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Some((name, room)) = self.removal.take() {
            self.scratch.send(Job::Remove { name, _room: room });
        }
    }
}

struct Cleaner {
    root: OwnedFd,
    prefix: String,
    stop_at: Arc<OnceLock<Instant>>,
}

impl Cleaner {
    fn work(&self, queue: &Receiver<Job>) {
        for job in queue {
            match job {
                Job::Remove { name, _room } => self.remove(&name),
                Job::Sweep => self.sweep(),
                Job::Stop => return,
            }
        }
    }

    fn remove(&self, name: &CString) {
        let go_on = || {
            self.stop_at
                .get()
                .is_none_or(|stop_at| Instant::now() < *stop_at)
        };
        if let Err(error) = remove_tree(self.root.as_fd(), name, &go_on) {
            tracing::warn!(?name, %error, "a scratch directory is left for the next start");
        }
    }

    /// Removes everything that does not belong to this process.
    fn sweep(&self) {
        let entries = match rustix::fs::Dir::read_from(&self.root) {
            Ok(entries) => entries,
            Err(error) => return tracing::warn!(%error, "the scratch root cannot be read"),
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let bytes = name.to_bytes();
            let ours = bytes.starts_with(self.prefix.as_bytes())
                || matches!(bytes, b"." | b"..")
                || bytes == Path::new(PLACEHOLDER).as_os_str().as_bytes();
            if !ours {
                self.remove(&name.to_owned());
            }
        }
    }
}
