//! The bound, what goes first, what stays, and a copy that the disk spoilt.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use cofferdam_trees::BLOCK_BYTES as BLOCK;
use tempfile::TempDir;

use super::*;

fn wanted(text: &str) -> Address {
    Address {
        hash: BlobHash::of(text.as_bytes()),
        size_bytes: u64::try_from(text.len()).unwrap(),
    }
}

/// A cache for so many copies, and how many were fetched.
struct Rig {
    dir: TempDir,
    cache: Arc<Cache>,
    fetched: AtomicU32,
}

impl Rig {
    fn with_room_for(copies: u64) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache"), copies * BLOCK).unwrap();
        Rig {
            dir,
            cache,
            fetched: AtomicU32::new(0),
        }
    }

    async fn get(&self, text: &str) -> Result<Cached, StorageError> {
        let fetch = async |mut file: File| {
            self.fetched.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(file.write_all(text.as_bytes())?)
        };
        let cached = self.cache.get(wanted(text), fetch).await?;
        assert_eq!(std::fs::read_to_string(cached.path()).unwrap(), text);
        Ok(cached)
    }

    fn fetched(&self) -> u32 {
        self.fetched.swap(0, Ordering::Relaxed)
    }

    fn on_disk(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("cache"))
            .unwrap()
            .count()
    }
}

#[tokio::test]
async fn the_least_recently_used_copy_goes_and_one_in_use_stays() {
    let rig = Rig::with_room_for(2);
    for text in ["a", "b", "a", "a"] {
        rig.get(text).await.unwrap();
    }
    assert_eq!(rig.fetched(), 2);
    rig.get("c").await.unwrap();
    assert_eq!((rig.fetched(), rig.on_disk()), (1, 2));
    rig.get("a").await.unwrap();
    assert_eq!(rig.fetched(), 0, "b went");
    // Both are in use: there is no room, until one of them is not.
    let (a, c) = (rig.get("a").await.unwrap(), rig.get("c").await.unwrap());
    let refused = rig.get("b").await.unwrap_err();
    assert!(matches!(refused, StorageError::Full(_)), "{refused}");
    drop(a);
    rig.get("b").await.unwrap();
    assert!(c.path().exists());
    assert_eq!(rig.on_disk(), 2);
}

#[tokio::test]
async fn whoever_wants_the_same_waits_for_one_copy_and_a_failure_leaves_none() {
    let rig = Rig::with_room_for(1);
    let (a, b) = tokio::join!(rig.get("a"), rig.get("a"));
    drop((a.unwrap(), b.unwrap()));
    assert_eq!(rig.fetched(), 1);
    let fails = async |_file: File| Err(StorageError::closed());
    for _ in 0..3 {
        rig.cache.get(wanted("b"), fails).await.unwrap_err();
        assert_eq!(rig.on_disk(), 0, "the room was made");
    }
    rig.get("b").await.unwrap();
    assert_eq!(rig.on_disk(), 1);
}

#[tokio::test]
async fn copies_outlive_the_process_unless_they_were_spoilt() {
    let rig = Rig::with_room_for(3);
    for text in ["whole", "spoilt", "old"] {
        rig.get(text).await.unwrap();
    }
    let spoilt = rig.cache.path(wanted("spoilt").hash);
    std::fs::write(spoilt, "other").unwrap();
    std::fs::write(rig.dir.path().join("cache/.unfinished-1"), "half").unwrap();
    let oldest = File::options()
        .write(true)
        .open(rig.cache.path(wanted("old").hash))
        .unwrap();
    oldest.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let Rig { dir, fetched, .. } = rig;
    // With less room than before.
    let rig = Rig {
        cache: Cache::open(dir.path().join("cache"), 2 * BLOCK).unwrap(),
        dir,
        fetched,
    };
    assert_eq!(rig.on_disk(), 2);
    rig.fetched();
    rig.get("whole").await.unwrap();
    assert_eq!(rig.fetched(), 0);
    rig.get("spoilt").await.unwrap();
    assert_eq!(rig.fetched(), 1);
}

#[tokio::test]
async fn a_file_is_taken_over_or_removed() {
    let rig = Rig::with_room_for(1);
    let path = rig.dir.path().join("spooled");
    for text in ["a", "a", "b"] {
        std::fs::write(&path, text).unwrap();
        rig.cache.adopt(wanted(text), path.clone()).await;
        assert!(!path.exists());
        rig.get(text).await.unwrap();
    }
    assert_eq!(rig.fetched(), 0);
    let in_use = rig.get("b").await.unwrap();
    std::fs::write(&path, "c").unwrap();
    rig.cache.adopt(wanted("c"), path.clone()).await;
    assert!(!path.exists() && in_use.path().exists());
}
