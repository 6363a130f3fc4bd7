//! Inputs, artifacts and files of executions that hosts share: the contract in both places, and what is
//! removed when.

use std::sync::Arc;

use cofferdam_trees::BLOCK_BYTES;

use crate::conformance::files::{Place, body, files_conformance, put, spool, submit};
use crate::conformance::fixture::*;
use crate::conformance::{Backend, Storage};
use crate::files::FileStorage;
use crate::files::shared::SharedFiles;
use crate::postgres::PostgresStorage;
use crate::postgres::blobs::tests::{Large, Shared};
use crate::{Purged, StorageError, Tasks};

/// A host's way to files, with a directory of its own for copies.
fn files_of(shared: &Shared, host: usize, budget_bytes: u64, cache_bytes: u64) -> FileStorage {
    let rows = Arc::<PostgresStorage>::clone(&shared.hosts[host]) as Arc<dyn SharedFiles>;
    let root = shared.dirs[host].path().join("shared");
    FileStorage::open_shared(&root, budget_bytes, cache_bytes, rows).unwrap()
}

const ENOUGH: u64 = 64 << 20;

/// Two hosts that share files, in the database or in a bucket.
struct Hosts<const IN_BUCKET: bool> {
    files: [FileStorage; 2],
    shared: Shared,
}

impl<const IN_BUCKET: bool> Place for Hosts<IN_BUCKET> {
    async fn fresh() -> Self {
        let place = match IN_BUCKET {
            true => Large::InBucket,
            false => Large::InDatabase,
        };
        let shared = Shared::by(2, place).await;
        let files = [0, 1].map(|host| files_of(&shared, host, ENOUGH, ENOUGH));
        Hosts { files, shared }
    }

    fn storage(&self) -> &dyn Storage {
        &*self.shared.hosts[0]
    }

    fn here(&self) -> FileStorage {
        self.files[0].clone()
    }

    fn there(&self) -> FileStorage {
        self.files[1].clone()
    }

    async fn check(self) {
        let objects = self.shared.bucket.objects();
        assert_eq!(objects.is_empty(), !IN_BUCKET, "{objects:?}");
        Backend::check(&self.shared).await;
    }
}

mod in_the_database {
    use super::*;

    files_conformance!(Hosts<false>);
}

mod in_a_bucket {
    use super::*;

    files_conformance!(Hosts<true>);
}

#[tokio::test]
async fn a_purged_task_takes_its_files_along() {
    let shared = Shared::by(1, Large::InBucket).await;
    let host = &shared.hosts[0];
    let files = files_of(&shared, 0, ENOUGH, ENOUGH);
    let input = body("input", 300 << 10);
    let spooled = spool(&files, &input).await.unwrap();
    let blob = submit(&**host, 1, spooled).await;
    let left = &[("short", 10), ("long", 400 << 10)];
    let kept = files.keep_artifacts(id(1), 1, 200 * BLOCK_BYTES, put(left));
    kept.await.unwrap().stay().await.unwrap();
    assert_eq!(shared.bucket.objects().len(), 2);
    // They stay as long as their task does.
    for _ in 0..2 {
        shared.next_day();
        host.sweep_blobs().await.unwrap();
    }
    assert!(files.open_input(blob).await.unwrap().is_some());
    host.cancel(&MINE, id(1), at(1)).await.unwrap();
    assert!(matches!(
        host.purge(&MINE, id(1)).await.unwrap(),
        Purged::Removed(_)
    ));
    assert!(files.open_input(blob).await.unwrap().is_none());
    for path in ["short", "long"] {
        let opened = files.open_artifact(id(1), 1, path).await.unwrap();
        assert!(opened.is_none(), "{path}");
    }
    // A host that was taken for dead comes too late.
    let late = files.keep_artifacts(id(1), 1, 200 * BLOCK_BYTES, put(left));
    let refused = late.await.unwrap().stay().await.unwrap_err();
    assert!(matches!(refused, StorageError::Refused(_)), "{refused}");
    for _ in 0..2 {
        shared.next_day();
        host.sweep_blobs().await.unwrap();
    }
    assert_eq!(shared.bucket.objects(), [""; 0]);
    assert_eq!(
        shared.figure("SELECT sum(bytes) FROM cofferdam.blob_bytes"),
        4,
        "a module"
    );
    shared.check();
}

#[tokio::test]
async fn an_input_whose_submit_came_to_nothing_goes_after_a_while() {
    let shared = Shared::by(2, Large::InDatabase).await;
    let host = &shared.hosts[0];
    let files = files_of(&shared, 0, ENOUGH, ENOUGH);
    let spooled = spool(&files, &body("lost", 1 << 20)).await.unwrap();
    let lost = spooled.blob();
    // As if the host was killed between the input and its task.
    std::mem::forget(spooled);
    let inputs = || shared.figure("SELECT count(*) FROM cofferdam.input");
    shared.hosts[1].sweep_blobs().await.unwrap();
    assert_eq!(inputs(), 1, "the submit may still come");
    shared.next_day();
    // One more of the same bytes is on its way.
    let spooled = spool(&files, &body("lost", 1 << 20)).await.unwrap();
    shared.hosts[1].sweep_blobs().await.unwrap();
    assert!(files.open_input(lost).await.unwrap().is_none());
    let blob = submit(&**host, 1, spooled).await;
    assert!(files.open_input(blob).await.unwrap().is_some());
    assert_eq!(inputs(), 1);
    shared.check();
}

#[tokio::test]
async fn bytes_for_which_there_is_no_room_are_refused() {
    let shared = Shared::by(1, Large::InDatabase).await;
    let full = files_of(&shared, 0, ENOUGH, 2 << 20);
    let refused = spool(&full, &body("long", 3 << 20)).await.unwrap_err();
    assert!(matches!(refused, StorageError::TooLarge(_)), "{refused}");
    // The budget is that of the storage's settings, for all hosts together.
    spool(&full, &body("a", 1 << 20)).await.unwrap().stay();
    shared
        .database
        .run("UPDATE cofferdam.blob_bytes SET bytes = bytes + (10::int8 << 30)");
    let refused = spool(&full, &body("b", 1 << 20)).await.unwrap_err();
    assert!(matches!(refused, StorageError::Full(_)), "{refused}");
    let (used, limit) = full.usage();
    assert!(used > limit, "{used} of {limit}");
    let left = &[("short", 10)];
    let kept = full.keep_artifacts(id(1), 1, BLOCK_BYTES, put(left));
    let refused = kept.await.unwrap().stay().await.unwrap_err();
    assert!(matches!(refused, StorageError::Full(_)), "{refused}");
}
