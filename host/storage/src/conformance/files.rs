//! The files beside a database as tests: one body for each place that they can be in.

use std::io;
use std::path::Path;

use bytes::Bytes;
use cofferdam_trees::BLOCK_BYTES;
use tokio::io::AsyncReadExt;

use super::Storage;
use super::fixture::*;
use crate::StorageError;
use crate::files::{FileBody, FileStorage, Spooled};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::{BlobId, Input};
use cofferdam_domain::time::Timestamp;

/// A place for files, under a database of its own.
pub(crate) trait Place: Sized + Send + Sync {
    /// A new one, whose database has the module of [`spec`].
    fn fresh() -> impl Future<Output = Self> + Send;

    /// The storage of the host that keeps files.
    fn storage(&self) -> &dyn Storage;

    /// The files of that host.
    fn here(&self) -> FileStorage;

    /// The files of another host, or of the same one where there is no other.
    fn there(&self) -> FileStorage;

    /// Panics if something is inconsistent.
    fn check(self) -> impl Future<Output = ()> + Send;
}

/// One test for each body.
macro_rules! files_conformance {
    ($place:ty) => {
        $crate::conformance::files_conformance! { $place:
            an_input_is_read_wherever_it_is_wanted artifacts_are_read_wherever_they_are_wanted
            an_execution_is_read_and_pruned an_execution_is_its_tenants
        }
    };
    ($place:ty: $($body:ident)*) => {
        $(
            #[tokio::test]
            async fn $body() {
                let place = <$place as $crate::conformance::files::Place>::fresh().await;
                let place = $crate::conformance::files::$body(place).await;
                $crate::conformance::files::Place::check(place).await;
            }
        )*
    };
}
pub(crate) use files_conformance;

/// Spools bytes, chunk by chunk.
pub(crate) async fn spool(files: &FileStorage, body: &[u8]) -> Result<Spooled, StorageError> {
    let mut writer = files.spool().await?;
    for chunk in body.chunks(1 << 20) {
        writer.write(Bytes::copy_from_slice(chunk)).await?;
    }
    writer.commit().await
}

/// Puts a task with this input into the queue.
pub(crate) async fn submit(storage: &dyn Storage, number: u128, spooled: Spooled) -> BlobId {
    let (blob, size_bytes) = (spooled.blob(), spooled.size_bytes());
    let mut task = new_task(number);
    task.spec.input = Input::Spooled {
        content_type: "a/b".to_owned(),
        blob,
        size_bytes,
    };
    insert(storage, task).await;
    spooled.stay();
    blob
}

/// Puts files of these paths and lengths.
pub(crate) fn put(files: &'static [(&str, usize)]) -> impl FnOnce(&Path) -> io::Result<()> {
    move |target| {
        for (path, length) in files {
            let at = target.join(path);
            std::fs::create_dir_all(at.parent().unwrap_or(target))?;
            std::fs::write(at, body(path, *length))?;
        }
        Ok(())
    }
}

/// What a file of that path and length has.
pub(crate) fn body(path: &str, length: usize) -> Vec<u8> {
    path.bytes().cycle().take(length).collect()
}

async fn read(opened: Option<(FileBody, u64)>) -> Option<Vec<u8>> {
    let (mut file, size_bytes) = opened?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(u64::try_from(bytes.len()).unwrap(), size_bytes);
    Some(bytes)
}

pub(crate) async fn an_input_is_read_wherever_it_is_wanted<P: Place>(place: P) -> P {
    for (number, length) in (1..).zip([3, 300 << 10, (9 << 20) + 1]) {
        let input = body("input", length);
        let spooled = spool(&place.here(), &input).await.unwrap();
        let blob = submit(place.storage(), number, spooled).await;
        for files in [place.here(), place.there(), place.there()] {
            let file = files.open_input(blob).await.unwrap().unwrap();
            assert!(std::fs::read(file.path()).unwrap() == input, "{length}");
        }
    }
    place
}

/// Shorter and longer than what is kept in a row, and than what a bucket gets.
const FILES: &[(&str, usize)] = &[
    ("empty", 0),
    ("short", 10),
    ("sub/middle", 100 << 10),
    ("sub/deeper/long", 400 << 10),
];
const HOSTILE: [&str; 8] = [
    "",
    "/",
    "sub",
    "sub//middle",
    "./short",
    "sub/../short",
    "short/x",
    "a\0b",
];

pub(crate) async fn artifacts_are_read_wherever_they_are_wanted<P: Place>(place: P) -> P {
    insert(place.storage(), new_task(1)).await;
    let (here, room) = (place.here(), 200 * BLOCK_BYTES);
    for _again in 0..2 {
        let kept = here.keep_artifacts(id(1), 2, room, put(FILES));
        kept.await.unwrap().stay().await.unwrap();
    }
    for files in [place.here(), place.there()] {
        for (path, length) in FILES {
            let opened = files.open_artifact(id(1), 2, path).await.unwrap();
            assert_eq!(read(opened).await.unwrap(), body(path, *length), "{path}");
        }
        for path in HOSTILE {
            let opened = files.open_artifact(id(1), 2, path).await.unwrap();
            assert!(opened.is_none(), "{path:?}");
        }
        for (task, attempt) in [(1, 1), (1, 3), (2, 2)] {
            let opened = files.open_artifact(id(task), attempt, "short").await;
            assert!(opened.unwrap().is_none());
        }
    }
    // What is not to stay leaves nothing.
    let dropped = here.keep_artifacts(id(1), 3, room, put(FILES));
    drop(dropped.await.unwrap());
    let there = place.there();
    while there
        .open_artifact(id(1), 3, "short")
        .await
        .unwrap()
        .is_some()
    {
        tokio::task::yield_now().await;
    }
    place
}

pub(crate) async fn an_execution_is_its_tenants<P: Place>(place: P) -> P {
    let (here, there) = (place.here(), place.there());
    let them = Tenant::parse("them").unwrap();
    let made = here.new_execution(Timestamp::from_millis(1000));
    let kept = here.keep_execution(&them, made, 200 * BLOCK_BYTES, put(FILES));
    kept.await.unwrap().stay().await.unwrap();
    for files in [&here, &there] {
        for (tenant, is_there) in [(&them, true), (&US, false)] {
            let found = files.execution_files(tenant, made).await.unwrap();
            assert_eq!(found.is_some(), is_there);
            let opened = files.open_execution_file(tenant, made, "short").await;
            assert_eq!(opened.unwrap().is_some(), is_there);
        }
    }
    there
        .prune_executions(Timestamp::from_millis(2000))
        .await
        .unwrap();
    let found = here.execution_files(&them, made).await.unwrap();
    assert!(found.is_none());
    place
}

pub(crate) async fn an_execution_is_read_and_pruned<P: Place>(place: P) -> P {
    let (here, there) = (place.here(), place.there());
    let made = |millis| here.new_execution(Timestamp::from_millis(millis));
    let (old, new, empty) = (made(1000), made(2000), made(2000));
    for (execution, files) in [(old, FILES), (new, FILES), (empty, &[])] {
        let kept = here.keep_execution(&US, execution, 200 * BLOCK_BYTES, put(files));
        kept.await.unwrap().stay().await.unwrap();
    }
    let paths = async |files: &FileStorage, execution| {
        let found = files.execution_files(&US, execution).await.unwrap()?;
        let mut paths = Vec::new();
        for (path, at) in found.files() {
            let bytes = std::fs::read(at).unwrap();
            assert_eq!(bytes, body(path, bytes.len()));
            paths.push((path.clone(), bytes.len()));
        }
        paths.sort_unstable();
        Some(paths)
    };
    let mut all: Vec<_> = FILES
        .iter()
        .map(|(path, size)| ((*path).to_owned(), *size))
        .collect();
    all.sort_unstable();
    for files in [&here, &there] {
        assert_eq!(paths(files, new).await, Some(all.clone()));
        assert_eq!(paths(files, empty).await, Some(Vec::new()));
        assert_eq!(paths(files, made(1000)).await, None);
        let opened = files
            .open_execution_file(&US, new, "sub/middle")
            .await
            .unwrap();
        assert_eq!(read(opened).await, Some(body("sub/middle", 100 << 10)));
        assert!(
            files
                .open_execution_file(&US, new, "")
                .await
                .unwrap()
                .is_none()
        );
    }
    there
        .prune_executions(Timestamp::from_millis(1500))
        .await
        .unwrap();
    assert_eq!(paths(&here, old).await, None);
    assert_eq!(paths(&here, new).await, Some(all));
    here.prune_executions(Timestamp::from_millis(2500))
        .await
        .unwrap();
    assert_eq!(paths(&there, new).await, None);
    place
}
