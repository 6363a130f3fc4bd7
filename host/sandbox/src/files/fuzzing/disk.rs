//! What is on disk below a guest's directories, counted without the ledger's help.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What a quota is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InUse {
    /// Apparent sizes of regular files, each once, however many names it has.
    pub(super) bytes: u64,
    /// Names of files, directories and links.
    pub(super) entries: u64,
}

/// What is below `folders`, and the files without a name that are among those held open.
pub(super) fn in_use<'a>(folders: &[&Path], held: impl Iterator<Item = &'a File>) -> InUse {
    let mut files = HashMap::new();
    let mut entries = 0;
    for folder in folders {
        look(folder, &mut files, &mut entries);
    }
    for file in held {
        note(&file.metadata().expect("an open file"), &mut files);
    }
    let bytes = files.values().sum();
    InUse { bytes, entries }
}

fn look(folder: &Path, files: &mut HashMap<(u64, u64), u64>, entries: &mut u64) {
    let Ok(listing) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in listing {
        let path = entry.expect("the directory can be listed").path();
        let found = std::fs::symlink_metadata(&path).expect("nobody else removes it");
        *entries += 1;
        note(&found, files);
        if found.is_dir() {
            look(&path, files, entries);
        }
    }
}

fn note(found: &Metadata, files: &mut HashMap<(u64, u64), u64>) {
    if found.is_file() {
        files.insert((found.dev(), found.ino()), found.len());
    }
}
