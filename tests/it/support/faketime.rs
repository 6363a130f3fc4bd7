//! Hosts whose clocks are wrong, or go wrong while they run: Debian's `faketime`.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A clock that a test sets.
pub(crate) struct SetClock {
    folder: TempDir,
    moves_time: bool,
}

impl SetClock {
    /// One that shows another time of day and nothing else.
    pub(crate) fn of_day() -> SetClock {
        SetClock::new(false)
    }

    /// One on which time passes wherever it is measured.
    pub(crate) fn of_everything() -> SetClock {
        SetClock::new(true)
    }

    fn new(moves_time: bool) -> SetClock {
        let folder = TempDir::new().expect("a temporary directory");
        let clock = SetClock { folder, moves_time };
        clock.set("+0");
        clock
    }

    /// From about a second later on it is off by so much, such as `+1h`.
    pub(crate) fn set(&self, by: &str) {
        // Whoever reads it meanwhile reads the old one or the new one.
        let next = self.folder.path().join("next");
        std::fs::write(&next, format!("{by}\n")).expect("writable");
        std::fs::rename(next, self.file()).expect("writable");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// What a host needs in its configuration to read it.
    pub(crate) fn config(&self) -> String {
        format!("[dirs.clock]\npath = {:?}\n", self.folder.path())
    }

    /// What a host needs in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
        ];
        if !self.moves_time {
            environment.push(("DONT_FAKE_MONOTONIC", "1".to_owned()));
        }
        environment
    }
}

/// The library that shows a process another time.
pub(crate) fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let library = |folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1");
    let mut found = folders.map(|folder| library(folder.path()));
    let found = found.find(|library| library.exists());
    found.expect("there is no faketime: install Debian's package of that name")
}

/// Removes what the library of a process shares with its children, which it does itself only at an orderly end.
pub(crate) fn clean_up(pid: u32) {
    for name in [
        format!("faketime_shm_{pid}"),
        format!("sem.faketime_sem_{pid}"),
    ] {
        let _not_there = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
