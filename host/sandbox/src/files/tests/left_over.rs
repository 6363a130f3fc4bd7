//! The files that a run left: collecting, keeping and removing them.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};

use super::rig::{BOTH, Rig};
use crate::files::*;
use cofferdam_domain::attempt::{Artifact, LeftOut};

fn artifact(path: &str, size_bytes: u64) -> Artifact {
    Artifact {
        path: path.to_owned(),
        size_bytes,
    }
}

#[tokio::test]
async fn only_regular_files_are_collected() {
    let rig = Rig::new();
    for road in BOTH {
        let mut ended = rig.scenario(road, "leave", 1 << 20).await;
        let attempt = rig.attempts().pop().unwrap();
        // No guest can make these, but a bug might let them through.
        let out = attempt.join("out");
        mknodat(CWD, out.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("/etc", out.join("etc")).unwrap();
        fs::write(out.join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();

        let left = ended.files.take().await.unwrap().list().await;
        let expected = vec![
            artifact("a/b/deep.txt", 4),
            artifact("names", 5),
            artifact("top.txt", 3),
            artifact("two", 5),
        ];
        assert_eq!(left.artifacts(), expected);
        let left_out = LeftOut {
            symbolic_links: 2,
            special_files: 1,
            names_not_utf8: 1,
            ..LeftOut::default()
        };
        assert_eq!(left.left_out(), left_out);
        assert_eq!(
            left.files(Area::Work).unwrap().files,
            vec![artifact("work.txt", 4)]
        );

        for bad in [
            "symlink",
            "fifo",
            "etc/passwd",
            "../work/work.txt",
            "/etc/passwd",
            "",
            "a",
        ] {
            assert!(left.open(Area::Out, bad).is_err(), "{bad}");
        }
        let mut text = String::new();
        let mut opened = left.open(Area::Out, "a/b/deep.txt").unwrap();
        std::io::Read::read_to_string(&mut opened, &mut text).unwrap();
        assert_eq!(text, "deep");

        let kept = rig.dir.path().join(format!("kept/{road:?}"));
        assert_eq!(left.artifacts(), expected);
        left.persist(&kept).unwrap();
        let left = left.changed(Area::Work, &[]);
        assert_eq!(left.artifacts().len(), 1);
        left.persist(&kept).unwrap();
        assert_eq!(
            fs::read_to_string(kept.join("a/b/deep.txt")).unwrap(),
            "deep"
        );
        assert_eq!(
            fs::read_dir(&kept).unwrap().count(),
            5,
            "a, names, top.txt, two and work.txt"
        );

        drop(left);
        rig.scratch.wait_until_removed(0).await;
        assert_eq!(rig.attempts().len(), 0);
        assert_eq!(fs::read_to_string(kept.join("top.txt")).unwrap(), "top");
    }
}

#[test]
fn a_sweep_removes_what_dead_processes_left() {
    let dir = in_memory();
    let root = dir.path().join("scratch");
    make_deep(&root.join("deep/work"), 10_000);
    make_many(&root.join("many/out"), 100, 1000);
    make_unreadable(&root.join("locked/work"));
    fs::write(root.join("file"), "x").unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("many/out/link")).unwrap();

    let started = Instant::now();
    Scratch::open(&root, 1)
        .unwrap()
        .close(Duration::from_secs(120));
    let took = started.elapsed();

    let left = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), [".empty"]);
    assert!(outside.join("precious").exists());
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn closing_does_not_wait_for_a_long_removal() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("scratch");
    make_many(&root.join("many/out"), 20, 1000);
    Scratch::open(&root, 1).unwrap().close(Duration::ZERO);
    assert!(root.join("many").exists(), "it is left for the next start");
    Scratch::open(&root, 2)
        .unwrap()
        .close(Duration::from_secs(60));
    assert!(!root.join("many").exists());
}

/// In memory, so that the test measures this code and not a disk that needs milliseconds for each
/// directory.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A path of that depth is too long for a call, so each level is made from its parent.
fn make_deep(path: &Path, levels: usize) {
    fs::create_dir_all(path).unwrap();
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, path, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", flags, Mode::empty()).unwrap();
    }
}

fn make_many(path: &Path, dirs: usize, files: usize) {
    for dir in 0..dirs {
        let dir = path.join(dir.to_string());
        fs::create_dir_all(&dir).unwrap();
        for file in 0..files {
            fs::write(dir.join(file.to_string()), "").unwrap();
        }
    }
}

fn make_unreadable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let inner = path.join("a/b/c");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("file"), "x").unwrap();
    for dir in ["a/b/c", "a/b", "a"] {
        fs::set_permissions(path.join(dir), fs::Permissions::from_mode(0o000)).unwrap();
    }
}
