//! Large bytes in a bucket: what hosts share, what they refuse, what an outage costs, what is removed.

use std::sync::Arc;

use bytes::Bytes;
use cofferdam_test_bucket::{Bucket, Proxy};
use cofferdam_test_postgres::Database;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use super::Outage;
use crate::blobs::BlobHash;
use crate::blobs::content::Content;
use crate::conformance::fixture::*;
use crate::conformance::{self, Backend, Storage};
use crate::postgres::PostgresStorage;
use crate::postgres::tests::check_database;
use crate::settings::{BucketConfig, BucketPlace, ClaimRules, Secret};
use crate::{Finished, Modules, Reads, StorageError, Tasks};
use cofferdam_domain::attempt::Outcome;
use cofferdam_domain::claim::Next;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::state::TaskState;

/// Where large bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum Large {
    InDatabase,
    InBucket,
}

/// Hosts that share a database and a bucket, to which the first has a way that can be made to fail.
pub(in crate::postgres) struct Shared {
    // Closed before their database is dropped.
    pub(in crate::postgres) hosts: Vec<Arc<PostgresStorage>>,
    pub(in crate::postgres) dirs: Vec<TempDir>,
    proxy: Proxy,
    large: Large,
    pub(in crate::postgres) bucket: Bucket,
    pub(in crate::postgres) database: Database,
}

impl Shared {
    pub(in crate::postgres) async fn by(hosts: usize, large: Large) -> Shared {
        let (database, bucket) = (Database::fresh(), Bucket::fresh());
        let mut shared = Shared {
            hosts: Vec::new(),
            dirs: Vec::new(),
            proxy: bucket.proxy(),
            large,
            bucket,
            database,
        };
        for _ in 0..hosts {
            let dir = tempfile::tempdir().unwrap();
            shared.hosts.push(shared.open(&dir));
            shared.dirs.push(dir);
        }
        put_echo(&*shared.hosts[0]).await;
        shared
    }

    fn open(&self, dir: &TempDir) -> Arc<PostgresStorage> {
        let endpoint = match self.hosts.is_empty() {
            true => self.proxy.endpoint(),
            false => self.bucket.endpoint(),
        };
        let mut settings = settings(dir.path());
        let place = BucketPlace::parse(&self.bucket.url());
        settings.bucket = BucketConfig {
            place: place.filter(|_| self.large == Large::InBucket),
            endpoint: Some(endpoint),
            region: None,
            access_key_id: Some("a key".to_owned()),
            secret_access_key: None,
            // What is set above wins.
            environment: [
                ("SECRET_ACCESS_KEY", "its secret"),
                ("ENDPOINT", "http://["),
            ]
            .map(|(name, value)| (format!("AWS_{name}"), Secret::new(value)))
            .to_vec(),
        };
        let (random, clock) = (StdRng::from_os_rng(), Clock::told(at(0)));
        let opened = PostgresStorage::open(&self.database.url(), &settings, random, clock);
        Arc::new(opened.unwrap())
    }

    pub(in crate::postgres) fn figure(&self, sql: &str) -> usize {
        self.database.run(sql).trim().parse().unwrap()
    }

    /// Makes it a day later for whatever was put or left.
    pub(in crate::postgres) fn next_day(&self) {
        for sql in [
            "UPDATE cofferdam.blob SET put_at = put_at - interval '1 day'",
            "UPDATE cofferdam.input SET put_at = put_at - interval '1 day'",
            "UPDATE cofferdam.blob_gone SET since = since - interval '1 day'",
        ] {
            self.database.run(sql);
        }
    }

    pub(in crate::postgres) fn check(self) {
        self.hosts.iter().for_each(|host| host.close());
        check_database(&self.database);
    }
}

impl Backend for Shared {
    async fn fresh() -> Shared {
        Shared::by(1, Large::InBucket).await
    }

    fn storage(&self) -> &dyn Storage {
        &*self.hosts[0]
    }

    async fn reopened(mut self) -> Shared {
        self.hosts.clear();
        let again = self.open(&self.dirs[0]);
        self.hosts.push(again);
        self
    }

    async fn reopened_with(self, _rules: ClaimRules) -> Shared {
        unreachable!("these bodies claim by the usual rules")
    }

    async fn check(&self) {
        self.hosts.iter().for_each(|host| host.close());
        check_database(&self.database);
    }
}

mod contract {
    use super::*;

    conformance::conformance! { Shared:
        modules { a_name_means_what_was_put_last }
        outcomes { a_large_output_is_kept_as_long_as_its_task }
        pruning { modules_go_with_their_last_task a_final_task_is_purged_with_all_it_left }
    }
}

/// Bytes that no test of another length has.
fn bytes(length: usize) -> Bytes {
    let text = format!("{length} bytes, ");
    Bytes::from(text.repeat(length / text.len() + 1)).slice(..length)
}

async fn content(length: usize) -> Content {
    Content::of_bytes(bytes(length)).await.unwrap()
}

/// Longer than one request to a bucket takes.
const LONG: usize = (17 << 20) + 3;
const SHORT: usize = 300 << 10;

#[tokio::test]
async fn every_host_reads_what_one_put_into_the_bucket() {
    let shared = Shared::by(2, Large::InBucket).await;
    let [one, other] = &shared.hosts[..] else {
        unreachable!()
    };
    for length in [LONG, SHORT] {
        let content = content(length).await;
        // At the same moment, and again.
        let (a, b) = tokio::join!(
            one.put_blob(&content, Outage::Refuse),
            other.put_blob(&content, Outage::Refuse)
        );
        assert_eq!(a.unwrap().hash(), b.unwrap().hash());
        one.put_blob(&content, Outage::Refuse).await.unwrap();
        for host in [one, other] {
            let read = host.blob_bytes(content.hash()).await.unwrap().unwrap();
            assert_eq!(read, bytes(length));
        }
    }
    let objects = shared.bucket.objects();
    assert_eq!(objects.len(), 2, "{objects:?}");
    assert!(objects.iter().all(|name| name.starts_with("some/where/")));
    let parts = shared.figure("SELECT count(*) FROM cofferdam.blob_part");
    assert_eq!(parts, 1, "a short module");
    let absent = other.blob_bytes(BlobHash::of(b"absent")).await.unwrap();
    assert_eq!(absent, None);
    shared.check();
}

#[tokio::test]
async fn bytes_that_are_not_what_they_were_are_refused() {
    let shared = Shared::by(1, Large::InBucket).await;
    let host = &shared.hosts[0];
    let content = content(SHORT).await;
    host.put_blob(&content, Outage::Refuse).await.unwrap();
    let object = shared.bucket.objects().remove(0);
    for other in [vec![7; SHORT], vec![7; 10]] {
        shared.bucket.overwrite(&object, &other);
        let refused = host.blob_bytes(content.hash()).await.err();
        assert!(
            matches!(refused, Some(StorageError::Corrupt(_))),
            "{refused:?}"
        );
    }
    shared.check();
}

#[tokio::test]
async fn while_the_bucket_fails_nothing_that_an_attempt_left_is_lost() {
    let shared = Shared::by(2, Large::InBucket).await;
    let [one, other] = &shared.hosts[..] else {
        unreachable!()
    };
    let before = content(LONG).await;
    one.put_blob(&before, Outage::Refuse).await.unwrap();
    insert(&**one, new_task(1)).await;
    let claim = claim_one(&**one, ME, at(1)).await;

    shared.proxy.fail(true);
    let refused = one
        .put_module(&US, &name("large"), &module(7), bytes(SHORT), None, at(1))
        .await;
    assert!(
        matches!(refused, Err(StorageError::BlobsUnavailable(_))),
        "{refused:?}"
    );
    let refused = one.blob_bytes(before.hash()).await;
    assert!(
        matches!(refused, Err(StorageError::BlobsUnavailable(_))),
        "{refused:?}"
    );
    let mut output = payload(b"");
    output.body = bytes(2 << 20);
    let outcome = Outcome::Completed(output);
    let told = finish_one(&**one, end(&claim, at(2), outcome, Next::Complete)).await;
    assert_eq!(told, Finished::Recorded(TaskState::Completed));
    for host in [one, other] {
        let result = host.result(&MINE, id(1)).await.unwrap().unwrap();
        assert_eq!(result.body, bytes(2 << 20));
    }

    shared.proxy.fail(false);
    let read = one.blob_bytes(before.hash()).await.unwrap().unwrap();
    assert_eq!(read, bytes(LONG));
    one.put_module(&US, &name("large"), &module(7), bytes(SHORT), None, at(1))
        .await
        .unwrap();
    let wasm = other.module_wasm(&digest(7)).await.unwrap().unwrap();
    assert_eq!(wasm, bytes(SHORT));
    shared.check();
}

#[tokio::test]
async fn an_object_goes_a_while_after_its_row_whichever_host_ends_in_between() {
    let shared = Shared::by(2, Large::InBucket).await;
    let [one, other] = &shared.hosts[..] else {
        unreachable!()
    };
    let content = content(SHORT).await;
    one.put_blob(&content, Outage::Refuse).await.unwrap();
    let object = shared.bucket.objects();
    other.sweep_blobs().await.unwrap();
    assert_eq!(shared.bucket.objects(), object, "it was just put");
    shared.next_day();
    // This host removes the row, and ends before the object.
    one.sweep_blobs().await.unwrap();
    assert_eq!(one.blob_bytes(content.hash()).await.unwrap(), None);
    assert_eq!(shared.bucket.objects(), object);
    shared.proxy.fail(true);
    shared.next_day();
    one.sweep_blobs().await.unwrap_err();
    // Put anew, they are another object, which the removal of the old one does not concern.
    other.put_blob(&content, Outage::Refuse).await.unwrap();
    assert_eq!(shared.bucket.objects().len(), 2);
    other.sweep_blobs().await.unwrap();
    assert_eq!(shared.bucket.objects().len(), 1);
    let read = other.blob_bytes(content.hash()).await.unwrap().unwrap();
    assert_eq!(read, bytes(SHORT));
    shared.check();
}

#[tokio::test]
async fn what_is_being_put_and_what_is_referred_to_stays() {
    let shared = Shared::by(1, Large::InBucket).await;
    let host = &shared.hosts[0];
    let wasm = bytes(SHORT);
    let put = async || {
        host.put_module(&US, &name("large"), &module(7), wasm.clone(), None, at(1))
            .await
            .unwrap();
    };
    put().await;
    shared.next_day();
    host.sweep_blobs().await.unwrap();
    let unread = "SELECT count(*) FROM cofferdam.blob WHERE put_at IS NOT NULL";
    assert_eq!(shared.figure(unread), 0, "nobody has to look at them again");
    // The name goes, and with it the last reference; but somebody else begins to put them.
    host.remove_module(&US, &name("large")).await.unwrap();
    host.prune(at(0), 9, 9, at(2)).await.unwrap();
    assert_eq!(shared.figure(unread), 1);
    shared.next_day();
    let content = content(SHORT).await;
    host.put_blob(&content, Outage::Refuse).await.unwrap();
    host.sweep_blobs().await.unwrap();
    put().await;
    assert_eq!(host.module_wasm(&digest(7)).await.unwrap().unwrap(), wasm);
    // An upload whose host died is removed like any other.
    shared.database.run(
        "INSERT INTO cofferdam.blob (hash, size_bytes, object, stored, put_at)
         VALUES (sha256('x'), 0, gen_random_uuid(), false, now() - interval '2 hours')",
    );
    host.sweep_blobs().await.unwrap();
    let rows = shared.figure("SELECT count(*) FROM cofferdam.blob");
    assert_eq!(rows, 2, "two modules");
    shared.check();
}
