//! What is durable, what is refused, what is swept.

use std::os::unix::fs::symlink;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use super::FileStorage;
use crate::conformance::fixture::{id, insert, new_task, put_echo, settings};
use crate::sqlite::SqliteStorage;
use crate::{Orphans, StorageError};
use cofferdam_domain::task::{BlobId, Input};

fn open(dir: &TempDir, budget_bytes: u64) -> FileStorage {
    FileStorage::open(dir.path(), budget_bytes).unwrap()
}

async fn spool(files: &FileStorage, body: &'static [u8]) -> BlobId {
    let mut writer = files.spool().await.unwrap();
    for chunk in body.chunks(3) {
        writer.write(Bytes::from_static(chunk)).await.unwrap();
    }
    let (blob, size) = writer.commit().await.unwrap();
    assert_eq!(size, u64::try_from(body.len()).unwrap());
    blob
}

fn count(dir: &TempDir, name: &str) -> usize {
    std::fs::read_dir(dir.path().join(name)).unwrap().count()
}

#[tokio::test]
async fn a_spooled_body_is_read_back_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 100);
    let blob = spool(&files, b"hello, spool").await;
    assert_eq!(
        std::fs::read(files.spool_path(blob)).unwrap(),
        b"hello, spool"
    );
    assert_eq!(open(&dir, 100).usage(), (12, 100));
    files.remove_blob(blob).await.unwrap();
    files.remove_blob(blob).await.unwrap();
    assert_eq!(files.usage(), (0, 100));
}

#[tokio::test]
async fn what_is_not_committed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 100);
    let mut writer = files.spool().await.unwrap();
    writer
        .write(Bytes::from_static(b"half a body"))
        .await
        .unwrap();
    assert_eq!(files.usage(), (11, 100));
    drop(writer);
    assert_eq!((files.usage(), count(&dir, "spool")), ((0, 100), 0));
    std::fs::write(dir.path().join("spool/00.part"), b"a crash").unwrap();
    assert_eq!(open(&dir, 100).usage(), (0, 100));
}

#[tokio::test]
async fn the_budget_is_held_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 10);
    let mut writer = files.spool().await.unwrap();
    writer
        .write(Bytes::from_static(b"0123456789"))
        .await
        .unwrap();
    let refused = writer.write(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(refused, StorageError::Full(_)), "{refused}");
    assert!(files.artifact_room(1).is_err());
    drop(writer);
    let room = files.artifact_room(10).unwrap();
    assert!(
        files
            .spool()
            .await
            .unwrap()
            .write(Bytes::from_static(b"x"))
            .await
            .is_err()
    );
    drop(room);
    spool(&files, b"fits again").await;
}

#[tokio::test]
async fn artifacts_are_regular_files_below_their_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), b"secret").unwrap();
    let files = open(&dir, 100);
    let out = files.artifacts_dir(id(1), 2);
    let room = files.artifact_room(5).unwrap();
    std::fs::create_dir_all(out.join("sub")).unwrap();
    std::fs::write(out.join("sub/a.txt"), b"bytes").unwrap();
    room.keep();
    symlink(dir.path().join("secret"), out.join("link")).unwrap();
    symlink(dir.path(), out.join("up")).unwrap();
    symlink("sub", out.join("down")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, out.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let (mut file, size) = files
        .open_artifact(id(1), 2, "sub/a.txt")
        .await
        .unwrap()
        .unwrap();
    let mut body = Vec::new();
    file.read_to_end(&mut body).await.unwrap();
    assert_eq!((body.as_slice(), size), (&b"bytes"[..], 5));
    let escapes = [
        "link",
        "up/secret",
        "down/a.txt",
        "pipe",
        "sub",
        "sub/../../../../secret",
    ];
    let bad = [
        "",
        "/",
        "/etc/passwd",
        "sub//a.txt",
        "./sub/a.txt",
        "sub/a.txt/x",
        "no",
        "a\0b",
    ];
    for path in escapes.into_iter().chain(bad) {
        assert!(
            files.open_artifact(id(1), 2, path).await.unwrap().is_none(),
            "{path}"
        );
    }
    assert!(files.open_artifact(id(9), 1, "a").await.unwrap().is_none());
    files.remove_task(id(1)).await.unwrap();
    files.remove_task(id(1)).await.unwrap();
    assert_eq!((files.usage(), count(&dir, "artifacts")), ((0, 100), 0));
    assert!(dir.path().join("secret").exists());
}

#[tokio::test]
async fn the_sweep_removes_what_no_task_owns() {
    let dir = tempfile::tempdir().unwrap();
    let storage = SqliteStorage::open(&settings(dir.path()), StdRng::seed_from_u64(1)).unwrap();
    put_echo(&storage).await;
    let files = open(&dir, 100);
    let (kept, orphan) = (spool(&files, b"kept").await, spool(&files, b"orphan").await);
    let mut task = new_task(1);
    task.spec.input = Input::Spooled {
        content_type: "a/b".to_owned(),
        blob: kept,
        size_bytes: 4,
    };
    insert(&storage, task).await;
    for task in [id(1), id(2)] {
        std::fs::create_dir_all(files.artifacts_dir(task, 1)).unwrap();
    }
    let swept = files.sweep(&storage).await.unwrap();
    assert_eq!(
        swept,
        Orphans {
            blobs: vec![orphan],
            tasks: vec![id(2)]
        }
    );
    assert!(files.spool_path(kept).exists() && files.artifacts_dir(id(1), 1).exists());
    assert!(!files.spool_path(orphan).exists() && !files.artifacts_dir(id(2), 1).exists());
    assert_eq!(files.usage(), (4, 100));
    assert_eq!(files.sweep(&storage).await.unwrap(), Orphans::default());
}
