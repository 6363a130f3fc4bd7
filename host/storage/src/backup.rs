//! A consistent copy of a data directory, whether a host is using it or not.
//!
//! The files are copied first, then the database in one read transaction, then the files that came
//! meanwhile: what the copied database refers to was published before it was referred to, and files
//! never change once they are published. A file that nothing refers to is swept when a host starts
//! over the copy. What can be made anew is left out: compiled code and the directories of runs.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::sqlite::database_path;

/// What is made anew or belongs to one process, by its name in the data directory.
const LEFT_OUT: [&str; 3] = ["lock", "scratch", "artefacts"];

/// What a copy holds.
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
    #[error("{} is not a host's data directory: it holds no {}", .0.display(), database_path(Path::new("")).display())]
    NoData(PathBuf),
    /// The target is there.
    #[error("{} exists already; a backup makes a new directory", .0.display())]
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
    /// The copy is damaged, and so, most likely, is the source.
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
    // Under another name until it is whole.
    let draft = with_suffix(to, ".partial");
    match std::fs::remove_dir_all(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&draft)(error)),
        Ok(()) | Err(_) => {}
    }
    make_dir(&draft)?;
    let mut copied = Copied::default();
    copy_below(data, &draft, true, &mut copied)?;
    copy_database(&database, &database_path(&draft), &mut copied)?;
    copy_below(data, &draft, true, &mut copied)?;
    std::fs::rename(&draft, to).map_err(at(to))?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or(Path::new(".")))?;
    Ok(copied)
}

/// One read transaction sees one state of the database and makes nobody wait.
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

/// Copies every regular file below `from` that is not below `to` yet. One that vanishes meanwhile
/// was removed by the host and is not missed: the database is copied later.
fn copy_below(
    from: &Path,
    to: &Path,
    is_root: bool,
    copied: &mut Copied,
) -> Result<(), BackupError> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(from))?,
    };
    for entry in entries {
        let entry = entry.map_err(at(from))?;
        let (name, path) = (entry.file_name(), entry.path());
        let plain = name.to_string_lossy();
        if is_root && (LEFT_OUT.contains(&&*plain) || plain.starts_with("cofferdam.db")) {
            continue;
        }
        let target = to.join(&name);
        match entry.file_type().map_err(at(&path))? {
            kind if kind.is_dir() => {
                if !target.is_dir() {
                    make_dir(&target)?;
                }
                copy_below(&path, &target, false, copied)?;
            }
            kind if kind.is_file() && !target.exists() => copy_file(&path, &target, copied)?,
            // Links and pipes are nothing that a host keeps.
            _ => {}
        }
    }
    sync(to)
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

/// Only for its owner, as the database itself is.
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
