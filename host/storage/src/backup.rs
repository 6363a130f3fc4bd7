//! A consistent copy of a data directory, whether a host is using it or not.
//!
//! The files are copied first, then the database in one read transaction, then the files that were
//! added meanwhile: a file is published before the database refers to it, and never changes
//! afterwards. A file that nothing refers to is swept when a host starts over the copy. Compiled
//! code, kept results and the directories of runs can be made again and are left out.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cofferdam_trees::{Next, open_root, walk};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::FileType;

use super::sqlite::database_path;

/// Entries of the data directory that can be made again or belong to one process.
const LEFT_OUT: [&str; 5] = ["lock", "scratch", "compiled", "opened", "results"];

/// The longest path below the data directory that is copied: an artifact's path with its prefix.
const PATH_BYTES_MAX: usize = 2048;

/// The content of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, the database among them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The source is not what it should be.
    #[error("{} is not a host's data directory: it has no {}", .0.display(), database_path(Path::new("")).display())]
    NoData(PathBuf),
    /// The target exists.
    #[error("{} already exists; a backup makes a new directory", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The database cannot be copied.
    #[error("the database cannot be copied: {0}")]
    Database(#[from] rusqlite::Error),
    /// The copy is damaged, and most likely the source is too.
    #[error("the copied database is damaged: {0}")]
    Damaged(String),
}

/// Copies the data directory `data` to the new directory `to`. Blocks.
pub fn backup(data: &Path, to: &Path) -> Result<Copied, BackupError> {
    let database = database_path(data);
    if !database.is_file() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // The copy has another name until it is complete.
    let draft = with_suffix(to, ".partial");
    match std::fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&draft)(error)),
        Ok(()) | Err(_) => {}
    }
    make_dir(&draft)?;
    let mut copied = Copied::default();
    copy_below(data, &draft, &mut copied)?;
    copy_database(&database, &database_path(&draft), &mut copied)?;
    copy_below(data, &draft, &mut copied)?;
    std::fs::rename(&draft, to).map_err(at(to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))?;
    Ok(copied)
}

/// One read transaction sees one state of the database and blocks nobody.
fn copy_database(from: &Path, to: &Path, copied: &mut Copied) -> Result<(), BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags)?;
    let target = to.to_string_lossy();
    source.execute("VACUUM INTO ?1", [&*target])?;
    let copy = Connection::open_with_flags(to, flags)?;
    let verdict: String = copy.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict != "ok" {
        return Err(BackupError::Damaged(verdict));
    }
    drop(copy);
    private(to)?;
    sync(to)?;
    copied.files += 1;
    copied.bytes += to.metadata().map_err(at(to))?.len();
    Ok(())
}

/// Copies every regular file below `from` that is not yet below `to`. A file that vanishes
/// meanwhile was removed by the host and is not needed, because the database is copied later. Files
/// under paths that no client can request, kept by older versions of the host, are left out.
fn copy_below(from: &Path, to: &Path, copied: &mut Copied) -> Result<(), BackupError> {
    let from = from.canonicalize().map_err(at(from))?;
    let root = open_root(&from).map_err(at(&from))?;
    let (mut dirs, mut failed) = (BTreeSet::from([to.to_owned()]), None);
    let unreadable = walk(root, &mut |entry| {
        let is_root = entry.prefix.is_empty();
        let name = entry.name.to_string_lossy();
        if is_root && (LEFT_OUT.contains(&&*name) || name.starts_with("cofferdam.db")) {
            return Next::Pass;
        }
        let path = entry.path().filter(|path| path.len() <= PATH_BYTES_MAX);
        let Some(path) = path.filter(|_| entry.kind == FileType::RegularFile) else {
            // A host keeps no links and pipes.
            return Next::Enter;
        };
        match copy_new(&from, to, Path::new(&path), &mut dirs, copied) {
            Ok(()) => Next::Enter,
            Err(error) => {
                failed = Some(error);
                Next::Stop
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if unreadable > 0 {
        tracing::warn!(
            unreadable,
            "directories that cannot be read are not in the backup"
        );
    }
    dirs.iter().try_for_each(|dir| sync(dir))
}

/// Copies the file at `path` unless it exists, and notes its directories.
fn copy_new(
    from: &Path,
    to: &Path,
    path: &Path,
    dirs: &mut BTreeSet<PathBuf>,
    copied: &mut Copied,
) -> Result<(), BackupError> {
    let target = to.join(path);
    if target.exists() {
        return Ok(());
    }
    let above = target.ancestors().skip(1).take_while(|dir| *dir != to);
    let new: Vec<_> = above.filter(|dir| !dirs.contains(*dir)).collect();
    for dir in new.into_iter().rev() {
        make_dir(dir)?;
        dirs.insert(dir.to_owned());
    }
    copy_file(&from.join(path), &target, copied)
}

fn copy_file(from: &Path, to: &Path, copied: &mut Copied) -> Result<(), BackupError> {
    match std::fs::copy(from, to) {
        Ok(bytes) => {
            sync(to)?;
            copied.files += 1;
            copied.bytes += bytes;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => Ok(()),
        Err(error) => Err(at(from)(error)),
    }
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(at(path))
}

/// Only its owner can read it, as with the database itself.
fn private(path: &Path) -> Result<(), BackupError> {
    use std::os::unix::fs::PermissionsExt;
    let only_owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, only_owner).map_err(at(path))
}

fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(at(path))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |cause| BackupError::File { path, cause }
}
