//! Walks and measures hostile trees. Removal is tested in the sandbox, which sweeps.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};

use super::{BLOCK_BYTES, Next, Usage, measure, open_root, walk};

/// Each level is made from its parent, because the path is too long for a call.
fn make_deep(path: &Path, name: &str, levels: usize) {
    fs::create_dir_all(path).unwrap();
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, path, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, name, Mode::RWXU).unwrap();
        at = openat(&at, name, flags, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&at, "last", flags, Mode::RUSR).unwrap();
    rustix::io::write(&file, b"12345").unwrap();
}

/// In memory, because a disk may need a millisecond for each directory.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn usage(blocks: u64, entries: u64, failed: u64) -> Usage {
    Usage {
        occupied_bytes: blocks * BLOCK_BYTES,
        entries,
        failed,
    }
}

#[test]
fn depth_and_length_of_names_cost_no_descriptors_and_no_errors() {
    let dir = in_memory();
    make_deep(&dir.path().join("a"), "d", 10_000);
    make_deep(&dir.path().join("b"), &"n".repeat(255), 40);
    fs::write(dir.path().join("c"), "xyz").unwrap();
    let root = open_root(dir.path()).unwrap();
    assert_eq!(measure(root), usage(10_001 + 41 + 3, 10_001 + 41 + 3, 0));
    // The test removes what a path is too long for.
    let root = open_root(dir.path()).unwrap();
    for name in [c"a", c"b"] {
        super::remove_tree(rustix::fd::AsFd::as_fd(&root), name, &|| true).unwrap();
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn links_are_not_followed_and_a_file_of_two_names_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "precious").unwrap();
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(root.join("one"), [0; 4097]).unwrap();
    fs::hard_link(root.join("one"), root.join("sub/two")).unwrap();
    assert_eq!(measure(open_root(&root).unwrap()), usage(6, 5, 0));
}

#[test]
fn an_unreadable_directory_does_not_stop_the_walk() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "locked", "z"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("file"), "12").unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(dir.path().join("locked"), mode).unwrap();
    assert_eq!(measure(open_root(dir.path()).unwrap()), usage(5, 5, 1));
}

#[test]
fn a_tree_that_is_moved_meanwhile_ends_the_walk_inside_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    fs::write(dir.path().join("elsewhere/secret"), "x").unwrap();
    let mut seen = Vec::new();
    let failed = walk(open_root(&root).unwrap(), &mut |entry| {
        seen.push(OsString::from_vec(entry.name.to_bytes().to_vec()));
        if entry.name == c"b" {
            fs::rename(root.join("a"), dir.path().join("elsewhere/a")).unwrap();
        }
        Next::Enter
    });
    assert_eq!(
        (seen.as_slice(), failed),
        (&["a".into(), "b".into()][..], 1)
    );
}

#[test]
fn a_visitor_names_paths_passes_over_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::write(dir.path().join("a/b/c"), "x").unwrap();
    fs::create_dir(dir.path().join(OsStr::from_bytes(b"\xff"))).unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff")).join("d"), "x").unwrap();
    let look = |next: Next| {
        let mut paths = Vec::new();
        let failed = walk(open_root(dir.path()).unwrap(), &mut |entry| {
            paths.push((entry.path(), entry.path_bytes()));
            next
        });
        assert_eq!(failed, 0);
        paths.sort();
        paths
    };
    let named = |path: &str| (Some(path.to_owned()), path.len());
    let all = [
        (None, 1),
        (None, 3),
        named("a"),
        named("a/b"),
        named("a/b/c"),
    ];
    assert_eq!(look(Next::Enter), all);
    assert_eq!(look(Next::Pass), [(None, 1), named("a")]);
    assert_eq!(look(Next::Stop).len(), 1);
}
