//! A guest's file operations in any order, beside what is on disk afterwards; and names of input
//! files.
//!
//! Compiled for tests and for fuzzing only; `fuzz/` says how it is used. The operations are those of
//! WASI 0.2, which the calls of WASI 0.1 are translated to. A granted directory is left out: what is
//! written there stays counted on purpose, so it need not be what is on disk.

mod disk;
mod guest;

use std::path::{Component, Path};

use bytes::Bytes;

use self::guest::Guest;
use crate::files::p2::elsewhere::check_path;
use crate::files::{InputContent, InputFile, InputPlace};

/// Operations of one guest; more of them show nothing new.
const OPERATIONS_MAX: usize = 64;

/// A guest whose operations the bytes are: the quota is never passed, and what it counts is what is
/// on disk, to the byte and to the entry.
///
/// # Panics
///
/// Where that is not so.
pub fn quota(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime of one thread");
    let (kills, operations) = match bytes {
        [] => return,
        [first, rest @ ..] => (*first == b'k', rest),
    };
    runtime.block_on(async {
        let mut guest = Guest::new(kills).await;
        let mut operations = operations.iter().copied();
        for _ in 0..OPERATIONS_MAX {
            match guest.step(&mut operations).await {
                Some(()) => {}
                None => break,
            }
        }
        guest.compare().await;
        guest.end().await;
    });
}

/// A name of an input file is refused, or it leads to a place below its directory.
///
/// # Panics
///
/// Where that is not so.
pub fn input_names(bytes: &[u8]) {
    let name = String::from_utf8_lossy(bytes);
    let content = InputContent::Bytes(Bytes::new());
    let Ok(input) = InputFile::new(&name, InputPlace::Work, content) else {
        return;
    };
    let root = Path::new("/root-of-all");
    let at = root.join(input.name());
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
    assert!(at.components().all(is_plain) && at.starts_with(root) && at != root);
    // Its parts are those between the slashes, none of which is lost on the way.
    assert_eq!(at.components().count(), 2 + input.name().split('/').count());
    let parents = input.parents(root);
    assert!(
        parents
            .iter()
            .all(|parent| parent.starts_with(root) && at.starts_with(parent))
    );
    assert!(check_path(input.name()).is_ok());
}

#[cfg(test)]
mod tests {
    use cofferdam_fuzz::short_run;

    #[test]
    fn what_the_quota_counts_is_what_is_on_disk() {
        short_run("quota", 60, super::quota);
    }

    #[test]
    fn no_name_of_an_input_leads_out_of_its_directory() {
        short_run("input_names", 4_000, super::input_names);
    }
}
