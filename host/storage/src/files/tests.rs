//! Durability, the budget, refusals and the sweep.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cofferdam_trees::BLOCK_BYTES as BLOCK;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;

use super::sync::SyncDir;
use super::{FileStorage, Kept};
use crate::conformance::Storage;
use crate::conformance::files::{Place, files_conformance};
use crate::conformance::fixture::{id, insert, new_task, put_echo, settings};
use crate::sqlite::SqliteStorage;
use crate::{Orphans, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{BlobId, Input, TaskId};
use cofferdam_domain::time::Timestamp;

fn open(dir: &TempDir, blocks: u64) -> FileStorage {
    FileStorage::open(dir.path(), blocks * BLOCK).unwrap()
}

/// Blocks in use, compared with what a new start finds on the disk.
fn blocks(dir: &TempDir, files: &FileStorage) -> u64 {
    let (used, limit) = files.usage();
    let found = FileStorage::open(dir.path(), limit).unwrap().usage().0;
    assert_eq!(used, found, "the budget says what is on the disk");
    assert_eq!(used % BLOCK, 0);
    used / BLOCK
}

async fn spool(files: &FileStorage, body: &'static [u8]) -> BlobId {
    let mut writer = files.spool().await.unwrap();
    for chunk in body.chunks(3) {
        writer.write(Bytes::from_static(chunk)).await.unwrap();
    }
    let spooled = writer.commit().await.unwrap();
    assert_eq!(spooled.size_bytes(), u64::try_from(body.len()).unwrap());
    let blob = spooled.blob();
    spooled.stay();
    blob
}

fn count(dir: &TempDir, name: &str) -> usize {
    std::fs::read_dir(dir.path().join(name)).unwrap().count()
}

/// Puts files of these paths and lengths.
fn put(files: &'static [(&'static str, usize)]) -> impl FnOnce(&Path) -> io::Result<()> {
    move |target| {
        for (path, length) in files {
            let at = target.join(path);
            std::fs::create_dir_all(at.parent().unwrap())?;
            std::fs::write(at, vec![b'x'; *length])?;
        }
        Ok(())
    }
}

async fn keep(
    files: &FileStorage,
    task: TaskId,
    attempt: u32,
    content: &'static [(&'static str, usize)],
) -> Result<Kept, StorageError> {
    files
        .keep_artifacts(task, attempt, BLOCK, put(content))
        .await
}

#[tokio::test]
async fn a_spooled_body_is_read_back_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 2);
    let blob = spool(&files, b"hello, spool").await;
    assert_eq!(
        std::fs::read(files.spool_path(blob)).unwrap(),
        b"hello, spool"
    );
    assert_eq!(blocks(&dir, &files), 1);
    files.remove_blob(blob).await.unwrap();
    files.remove_blob(blob).await.unwrap();
    assert_eq!(blocks(&dir, &files), 0);
}

#[tokio::test]
async fn files_without_a_reference_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 2);
    let mut writer = files.spool().await.unwrap();
    writer
        .write(Bytes::from_static(b"half a body"))
        .await
        .unwrap();
    assert_eq!(files.usage().0, BLOCK);
    drop(writer);
    assert_eq!((blocks(&dir, &files), count(&dir, "spool")), (0, 0));
    let committed = files.spool().await.unwrap().commit().await.unwrap();
    assert_eq!(blocks(&dir, &files), 1);
    drop(committed);
    assert_eq!((blocks(&dir, &files), count(&dir, "spool")), (0, 0));
    std::fs::write(dir.path().join("spool/00.part"), b"a crash").unwrap();
    assert_eq!(open(&dir, 2).usage().0, 0);
}

#[tokio::test]
async fn the_budget_is_held_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 3);
    let mut writer = files.spool().await.unwrap();
    let three_blocks = vec![b'x'; 3 * BLOCK as usize];
    writer.write(three_blocks.into()).await.unwrap();
    let refused = writer.write(Bytes::from_static(b"x")).await.unwrap_err();
    assert!(matches!(refused, StorageError::Full(_)), "{refused}");
    assert!(files.spool().await.is_err());
    assert!(keep(&files, id(1), 1, &[("a", 1)]).await.is_err());
    drop(writer);
    keep(&files, id(1), 1, &[("a", 1)])
        .await
        .unwrap()
        .stay()
        .await
        .unwrap();
    assert_eq!(
        blocks(&dir, &files),
        2,
        "the attempt's directory and a file"
    );
    // If more is found than was announced, it is refused and undone.
    let refused = keep(&files, id(2), 1, &[("a", 1), ("b", 1)])
        .await
        .unwrap_err();
    assert!(matches!(refused, StorageError::Full(_)), "{refused}");
    tokio::time::timeout(PATIENCE, async {
        while files.usage().0 > 2 * BLOCK {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(blocks(&dir, &files), 2);
    spool(&files, b"fits again").await;
}

/// How long the removal of dropped files may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

#[tokio::test]
async fn empty_files_and_folders_cost_what_they_take_up() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 100);
    let empty = &[("a", 0), ("b/c/d", 0), ("b/c/e", 5000)];
    keep(&files, id(1), 1, empty)
        .await
        .unwrap()
        .stay()
        .await
        .unwrap();
    keep(&files, id(1), 2, empty)
        .await
        .unwrap()
        .stay()
        .await
        .unwrap();
    assert_eq!(blocks(&dir, &files), 2 * (1 + 3 + 2 + 1));
    let execution = files.new_execution(Timestamp::from_millis(1000));
    let kept = files
        .keep_execution(&Tenant::DEFAULT, execution, BLOCK, put(&[("x", 0)]))
        .await;
    kept.unwrap().stay().await.unwrap();
    assert_eq!(blocks(&dir, &files), 2 * 7 + 2);
    files.remove_task(id(1)).await.unwrap();
    assert_eq!(blocks(&dir, &files), 2);
    files
        .prune_executions(Timestamp::from_millis(500))
        .await
        .unwrap();
    assert_eq!(blocks(&dir, &files), 2);
    files
        .prune_executions(Timestamp::from_millis(2500))
        .await
        .unwrap();
    assert_eq!((blocks(&dir, &files), count(&dir, "executions")), (0, 0));
}

/// Records what is made durable.
#[derive(Debug, Default)]
struct Recorded(Mutex<Vec<PathBuf>>);

impl SyncDir for Recorded {
    fn dir(&self, dir: &Path) -> io::Result<()> {
        self.0.lock().unwrap().push(dir.to_owned());
        Ok(())
    }
}

#[tokio::test]
async fn files_are_acknowledged_after_every_directory_above_them_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let synced = Arc::new(Recorded::default());
    let root = dir.path();
    let files = FileStorage::open_with(root, 100 * BLOCK, Arc::clone(&synced) as _).unwrap();
    let take = |synced: &Recorded| std::mem::take(&mut *synced.0.lock().unwrap());
    assert_eq!(take(&synced), [root]);

    let recorder = Arc::clone(&synced);
    let put = move |target: &Path| {
        // The caller made the files durable before.
        assert!(recorder.0.lock().unwrap().is_empty());
        recorder.dir(target)
    };
    let kept = files.keep_artifacts(id(1), 3, BLOCK, put).await.unwrap();
    let artifacts = root.join("artifacts");
    let task = artifacts.join(id(1).to_string());
    assert_eq!(take(&synced), [task.join("3"), task, artifacts]);
    kept.stay().await.unwrap();

    let execution = files.new_execution(Timestamp::from_millis(0));
    let kept = files
        .keep_execution(&Tenant::DEFAULT, execution, BLOCK, |_| Ok(()))
        .await;
    assert_eq!(take(&synced), [root.join("executions")]);
    kept.unwrap().stay().await.unwrap();

    spool(&files, b"body").await;
    assert_eq!(take(&synced), [root.join("spool")]);
}

/// Every call is dropped after a number of polls, from none to all it needs.
#[tokio::test]
async fn calls_given_up_at_any_moment_leave_budget_and_disk_equal() {
    let dir = tempfile::tempdir().unwrap();
    let files = open(&dir, 1000);
    let mut finished = 0;
    for polls in 0..40 {
        let work = async {
            let mut writer = files.spool().await.unwrap();
            writer.write(Bytes::from_static(b"some")).await.unwrap();
            drop(writer.commit().await.unwrap());
            let kept = keep(&files, id(polls), 1, &[("a/b", 3), ("c", 0)]).await;
            drop(kept.unwrap());
            let execution = files.new_execution(Timestamp::from_millis(1000));
            drop(
                files
                    .keep_execution(&Tenant::DEFAULT, execution, BLOCK, put(&[("x", 9)]))
                    .await,
            );
        };
        let mut work = Box::pin(work);
        let mut left = polls;
        let done = std::future::poll_fn(|context| match left.checked_sub(1) {
            None => std::task::Poll::Ready(false),
            Some(less) => {
                left = less;
                work.as_mut().poll(context).map(|()| true)
            }
        });
        finished += u32::from(done.await);
    }
    println!("{finished} of 40 came to their end");
    assert!(finished > 0);
    tokio::time::timeout(PATIENCE, async {
        while files.usage().0 > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(blocks(&dir, &files), 0);
    assert_eq!((count(&dir, "spool"), count(&dir, "executions")), (0, 0));
}

#[tokio::test]
async fn artifacts_are_regular_files_below_their_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), b"secret").unwrap();
    let files = open(&dir, 100);
    let out = files.artifacts_dir(id(1), 2);
    keep(&files, id(1), 2, &[("sub/a.txt", 5)])
        .await
        .unwrap()
        .stay()
        .await
        .unwrap();
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
    assert_eq!((body.as_slice(), size), (&b"xxxxx"[..], 5));
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
    assert_eq!((files.usage().0, count(&dir, "artifacts")), (0, 0));
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
        keep(&files, task, 1, &[("a", 1)])
            .await
            .unwrap()
            .stay()
            .await
            .unwrap();
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
    assert_eq!(blocks(&dir, &files), 3);
    assert_eq!(files.sweep(&storage).await.unwrap(), Orphans::default());
}

/// A host of its own: what it keeps, it has.
struct Own {
    files: FileStorage,
    storage: SqliteStorage,
    _dir: TempDir,
}

impl Place for Own {
    async fn fresh() -> Own {
        let dir = tempfile::tempdir().unwrap();
        let storage = SqliteStorage::open(&settings(dir.path()), StdRng::seed_from_u64(1)).unwrap();
        put_echo(&storage).await;
        Own {
            files: open(&dir, 10_000),
            storage,
            _dir: dir,
        }
    }

    fn storage(&self) -> &dyn Storage {
        &self.storage
    }

    fn here(&self) -> FileStorage {
        self.files.clone()
    }

    fn there(&self) -> FileStorage {
        self.files.clone()
    }

    async fn check(self) {
        self.storage.close();
    }
}

mod in_a_directory {
    use super::*;

    files_conformance!(Own);
}
