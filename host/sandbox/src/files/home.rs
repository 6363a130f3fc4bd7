//! What crosses between processes: the directory that a run left, and the home of a process that runs
//! guests, in which the directories of its runs are.
//!
//! The process may write below its home whatever it likes, so the host trusts nothing there: it moves a
//! run's directory out before it looks into it, and follows no link.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime_wasi::runtime::spawn_blocking;

use crate::files::OutputFiles;
use crate::files::scratch::{Scratch, ScratchDir, private_dir};

/// The prefix of the directories' names in a home: a process there is alone.
pub(crate) const INCARNATION: u64 = 0;

/// Where the runs' directories are.
const RUNS: &str = "runs";
/// Where the host puts files for them; the process may only read there.
const GIVEN: &str = "given";

/// The directory of a run that ended, not yet listed.
#[derive(Clone)]
pub(crate) struct Left(Arc<ScratchDir>);

impl Left {
    pub(super) fn new(dir: Arc<ScratchDir>) -> Left {
        Left(dir)
    }

    /// Lists the files.
    pub(crate) async fn list(self) -> OutputFiles {
        spawn_blocking(move || OutputFiles::list(self.0)).await
    }

    /// Leaves the directory to the process above, and says its number.
    pub(crate) fn leave(self) -> Option<u64> {
        let name = Arc::into_inner(self.0)?.leave()?;
        name.to_str().ok()?.split_once('-')?.1.parse().ok()
    }

    /// The number of a directory that is still in use.
    pub(crate) fn number(&self) -> Option<u64> {
        let name = self.0.path().file_name()?.to_str()?;
        name.split_once('-')?.1.parse().ok()
    }
}

/// The home of one process. It is removed, in the background, when this is dropped.
#[derive(Debug)]
pub(crate) struct Home {
    scratch: Scratch,
    dir: ScratchDir,
}

/// A file of the host that a process may read, until this is dropped.
pub(crate) struct Given {
    /// Where it is.
    pub(crate) at: PathBuf,
    /// Its length.
    pub(crate) bytes: u64,
    _home: Arc<Home>,
}

impl Drop for Given {
    fn drop(&mut self) {
        // What stays goes with the home.
        let _goes_later = fs::remove_file(&self.at);
    }
}

impl Home {
    /// Makes one. Blocks.
    pub(crate) fn new(scratch: &Scratch) -> io::Result<Home> {
        let dir = scratch.create(scratch.room_now()?)?;
        let home = Home {
            scratch: scratch.clone(),
            dir,
        };
        private_dir().create(home.runs())?;
        private_dir().create(home.given())?;
        Ok(home)
    }

    /// The directory that the process may write to.
    pub(crate) fn runs(&self) -> PathBuf {
        self.dir.path().join(RUNS)
    }

    /// The directory that it may read.
    pub(crate) fn given(&self) -> PathBuf {
        self.dir.path().join(GIVEN)
    }

    /// Puts a file of the host there, under this name. Blocks.
    pub(crate) fn give(self: &Arc<Home>, from: &Path, name: &str) -> io::Result<Given> {
        let at = self.given().join(name);
        // A link is as good as a copy, because the process may not write here.
        match fs::hard_link(from, &at) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(_) => {
                io::copy(&mut File::open(from)?, &mut File::create_new(&at)?)?;
            }
        }
        let bytes = fs::metadata(&at)?.len();
        Ok(Given {
            at,
            bytes,
            _home: Arc::clone(self),
        })
    }

    /// Room for the directory of one run.
    pub(crate) async fn room(scratch: &Scratch) -> io::Result<OwnedSemaphorePermit> {
        scratch.room().await
    }

    /// Takes the directory with this number out. Blocks.
    pub(crate) fn adopt(&self, number: u64, room: OwnedSemaphorePermit) -> io::Result<Left> {
        let adopted = self.scratch.adopt(room, &self.at(number))?;
        Ok(Left(Arc::new(adopted)))
    }

    /// The directory with this number, whose run goes on.
    pub(crate) fn so_far(&self, number: u64) -> Left {
        Left(Arc::new(self.scratch.of_another(self.at(number))))
    }

    fn at(&self, number: u64) -> PathBuf {
        self.runs().join(format!("{INCARNATION:016x}-{number}"))
    }
}
