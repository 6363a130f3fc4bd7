//! Makes an attempt's directories, puts its input files there, and opens the granted ones.
//!
//! Everything here blocks and runs on a blocking thread, once per attempt and only if its guest
//! uses files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use cofferdam_trees::DIRECTORY;
use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::sync::OwnedSemaphorePermit;

use crate::files::counted::facts;
use crate::files::quota::{DiskExceeded, Ledger, Refusal, Zone};
use crate::files::scratch::{Scratch, ScratchDir, private_dir};
use crate::files::{FilesError, FilesPlan, InputContent, InputFile, InputPlace, Places};

/// An attempt's directory and every preopen, in their order.
pub(super) struct OpenedDirs {
    pub(super) scratch: ScratchDir,
    pub(super) dirs: Vec<Arc<File>>,
}

/// The names inside an attempt's directory.
const DIRS: [&str; 3] = ["work", "out", "in"];

/// The further directories of code. The last two are only visible: `/mnt/data` leads elsewhere.
const CODE_DIRS: [&str; 3] = ["tmp", "mnt", "mnt/data"];

pub(super) fn make(
    scratch_root: &Scratch,
    room: OwnedSemaphorePermit,
    plan: &FilesPlan,
    ledger: &mut Ledger,
) -> Result<OpenedDirs, FilesError> {
    let scratch = scratch_root.create(room).map_err(FilesError::Scratch)?;
    let mut dirs = Vec::new();
    for mount in &plan.mounts {
        // The operator's own path may go through links.
        let opened = openat(
            CWD,
            &mount.path,
            DIRECTORY.difference(OFlags::NOFOLLOW),
            Mode::empty(),
        )
        .map_err(|error| FilesError::Mount {
            at: mount.at.clone(),
            source: error.into(),
        })?;
        dirs.push(Arc::new(File::from(opened)));
    }
    let inputs = plan.has_inputs();
    let names = match plan.places {
        Places::Module => DIRS.iter().chain(&[]),
        Places::Code => DIRS.iter().chain(&CODE_DIRS),
    };
    for name in names {
        if *name != "in" || inputs {
            let path = scratch.path().join(name);
            private_dir().create(&path).map_err(FilesError::Scratch)?;
        }
    }
    for preopen in plan.own() {
        dirs.push(match preopen.dir {
            // It is always empty, so the placeholder directory serves.
            "in" if !inputs => scratch_root.placeholder_file(),
            name => open_dir(&scratch.path().join(name)).map_err(FilesError::Scratch)?,
        });
    }
    if let Some(payload) = &plan.payload {
        let at = scratch.path().join("in/payload");
        link_or_copy(payload, &at).map_err(|source| FilesError::Input {
            name: "/in/payload".to_owned(),
            source,
        })?;
    }
    for input in &plan.inputs {
        put(input, scratch.path(), ledger)?;
    }
    Ok(OpenedDirs { scratch, dirs })
}

fn open_dir(path: &Path) -> io::Result<Arc<File>> {
    Ok(Arc::new(File::from(openat(
        CWD,
        path,
        DIRECTORY,
        Mode::empty(),
    )?)))
}

/// A link costs nothing and cannot be written through, because `/in` is read-only. Where the spool
/// is on another file system, a copy.
fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        Err(_) => copy(from, to),
    }
}

/// A copy of the content alone; its mode is that of every file here.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut to = new_file(to)?;
    io::copy(&mut File::open(from)?, &mut to).map(|_bytes| ())
}

fn put(input: &InputFile, scratch: &Path, ledger: &mut Ledger) -> Result<(), FilesError> {
    let failed = |source| FilesError::Input {
        name: input.name().to_owned(),
        source,
    };
    let (root, counted) = match input.place {
        InputPlace::In => (scratch.join("in"), false),
        InputPlace::Work => (scratch.join("work"), true),
    };
    for parent in input.parents(&root) {
        match private_dir().create(&parent) {
            Ok(()) if counted => count_entry(ledger)?,
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let at = root.join(input.name());
    if !counted {
        return match &input.content {
            InputContent::Bytes(bytes) => write_new(&at, bytes).map_err(failed),
            InputContent::File(from) => link_or_copy(from, &at).map_err(failed),
        };
    }
    let length = match &input.content {
        InputContent::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        InputContent::File(from) => fs::metadata(from).map_err(failed)?.len(),
    };
    count_entry(ledger)?;
    ledger.admit(length, 0).map_err(over)?;
    match &input.content {
        InputContent::Bytes(bytes) => write_new(&at, bytes).map_err(failed)?,
        InputContent::File(from) => copy(from, &at).map_err(failed)?,
    }
    let made = File::open(&at)
        .and_then(|file| facts(&file))
        .map_err(failed)?;
    ledger.resized(Zone::Scratch, 0, &made);
    Ok(())
}

fn write_new(at: &Path, bytes: &[u8]) -> io::Result<()> {
    new_file(at)?.write_all(bytes)
}

fn new_file(at: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(at)
}

fn count_entry(ledger: &mut Ledger) -> Result<(), DiskExceeded> {
    ledger.admit(0, 1).map_err(over)?;
    ledger.entered();
    Ok(())
}

/// No guest exists yet that could see the refusal, so the run fails with the figures.
fn over(refusal: Refusal) -> DiskExceeded {
    match refusal {
        Refusal::Kill(exceeded) | Refusal::NoSpace(exceeded) => exceeded,
    }
}
