//! What outlives the process, for whom, for how long and in how much room.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;

use super::*;
use crate::results::settings::CachePolicy;
use crate::results::tests::{ask, body, failure, report};
use crate::results::{Ask, Results};
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::cache::CacheUse;
use cofferdam_sandbox::control::Control;
use cofferdam_storage::settings::StorageConfig;

const TTL: Duration = Duration::from_secs(600);
const BEGAN: Timestamp = Timestamp::from_millis(1_000_000);

/// A data directory, and the processes that have it one after the other.
struct Site {
    storage: cofferdam_storage::Opened,
    settings: StorageConfig,
    clock: Clock,
    data: TempDir,
}

/// A process.
struct Process {
    results: Results,
    end: Shutdown,
}

impl Site {
    fn new() -> Site {
        let data = TempDir::new().unwrap();
        let settings = StorageConfig {
            data: data.path().to_owned(),
            ..StorageConfig::default()
        };
        let clock = Clock::manual(BEGAN);
        let storage = cofferdam_storage::open(&settings, StdRng::seed_from_u64(1), &clock);
        Site {
            storage: storage.unwrap(),
            settings,
            clock,
            data,
        }
    }

    fn process(&self, config: CacheConfig) -> Process {
        self.process_that_keeps(config, |_, _| true)
    }

    fn process_that_keeps(
        &self,
        config: CacheConfig,
        keeps: impl Fn(&Tenant, Timestamp) -> bool + Send + 'static,
    ) -> Process {
        let results = Results::new(config, self.clock.clone(), Arc::new(Metrics::new()));
        let (files, end) = (
            self.storage.results(&self.settings).unwrap(),
            Shutdown::new(),
        );
        results.keep_on_disk(files, keeps, &end);
        Process { results, end }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.data.path().join("results")
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.dir()).unwrap().count()
    }
}

impl Process {
    async fn asked(&self, ask: Ask, gives: &[u8]) -> (Bytes, CacheUse) {
        let run = async { Ok::<_, ()>(report(gives)) };
        let control = Control::default();
        let (report, how) = self.results.serve(ask, &control, run).await.unwrap();
        (Bytes::copy_from_slice(body(&report)), how)
    }

    /// Waits until this key is on disk, and with it what was wanted before.
    async fn wrote(&self, key: Key) {
        let place = &self.results.disk.get().unwrap().place;
        until(|| place.tier.get(&key, Instant::now()).is_some()).await;
    }

    /// Asks for something new until it is on disk: then all of before is in order.
    async fn settled(&self, name: &str) {
        let last = ask("last", name, TTL).await;
        let key = last.key;
        self.asked(last, b"last").await;
        self.wrote(key).await;
    }

    async fn ends(self) {
        self.end.request();
        assert!(self.end.drained(Duration::from_secs(20)).await);
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to that");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn policies() -> [CacheConfig; 3] {
    CachePolicy::ALL.map(|policy| CacheConfig {
        policy,
        ..CacheConfig::default()
    })
}

#[tokio::test]
async fn what_was_kept_is_found_by_the_next_process_with_what_it_said() {
    for config in policies() {
        let site = Site::new();
        let first = site.process(config.clone());
        let long = vec![b'x'; 300_000];
        for (input, gives) in [("1", &b"one"[..]), ("2", &long)] {
            let (_, how) = first.asked(ask("a", input, TTL).await, gives).await;
            assert_eq!(how, CacheUse::Miss);
        }
        first.settled("1").await;
        first.ends().await;
        site.clock.set(BEGAN.plus(TTL / 2));
        let second = site.process(config);
        second.settled("2").await;
        for (input, gave) in [("1", &b"one"[..]), ("2", &long)] {
            let found = second.asked(ask("a", input, TTL).await, b"other").await;
            assert_eq!(found, (Bytes::copy_from_slice(gave), CacheUse::Hit));
            // Another tenant, and somebody who wants it younger.
            for other in [ask("b", input, TTL).await, ask("a", input, TTL / 3).await] {
                assert_eq!(second.asked(other, b"own").await.1, CacheUse::Miss);
            }
        }
        let run = async { Ok::<_, ()>(failure()) };
        let asks = ask("a", "1", TTL).await;
        let found = second.results.serve(asks, &Control::default(), run).await;
        assert_eq!(found.unwrap().0.streams, report(b"").streams);
    }
}

#[tokio::test]
async fn nothing_is_found_past_its_time_or_from_a_time_to_come() {
    for later in [BEGAN.plus(TTL), BEGAN.minus(Duration::from_millis(1))] {
        let site = Site::new();
        let first = site.process(CacheConfig::default());
        first.asked(ask("a", "1", TTL).await, b"one").await;
        first.settled("1").await;
        first.ends().await;
        site.clock.set(later);
        let second = site.process(CacheConfig::default());
        let found = second.asked(ask("a", "1", 10 * TTL).await, b"two").await;
        assert_eq!(found, (Bytes::from_static(b"two"), CacheUse::Miss));
        second.settled("2").await;
        // The two of the first process are gone.
        until(|| site.files() == 2).await;
    }
}

#[tokio::test]
async fn what_a_tenant_had_that_was_removed_meanwhile_is_not_found() {
    let site = Site::new();
    let first = site.process(CacheConfig::default());
    first.asked(ask("a", "1", TTL).await, b"one").await;
    first.settled("1").await;
    // Here it is removed while the process runs.
    first.results.keep_those(|tenant, _| tenant.as_str() != "a");
    first.settled("2").await;
    until(|| site.files() == 1).await;
    first.asked(ask("a", "1", TTL).await, b"two").await;
    first.settled("3").await;
    first.ends().await;
    let came_later = BEGAN.plus(Duration::from_millis(1));
    let keeps = move |tenant: &Tenant, since| tenant.as_str() != "a" || since >= came_later;
    let second = site.process_that_keeps(CacheConfig::default(), keeps);
    second.settled("4").await;
    let found = second.asked(ask("a", "1", TTL).await, b"three").await;
    assert_eq!(found, (Bytes::from_static(b"three"), CacheUse::Miss));
}

#[tokio::test]
async fn files_are_bounded_in_number_and_bytes_for_each_tenant_and_over_a_restart() {
    for config in policies() {
        let config = CacheConfig {
            disk_bytes: 1 << 20,
            disk_entries: 20,
            disk_tenant_bytes: 5 * 4096,
            ..config
        };
        let site = Site::new();
        let first = site.process(config.clone());
        for number in 0..40 {
            let one = ask("a", &number.to_string(), TTL).await;
            first.asked(one, b"one").await;
        }
        first.settled("1").await;
        // Five of the tenant, and the last.
        until(|| site.files() == 6).await;
        for number in 0..60 {
            let one = ask(&format!("t{number}"), "1", TTL).await;
            first.asked(one, b"one").await;
        }
        let disk = first.results.disk.get().unwrap();
        until(|| disk.place.waiting_bytes.load(Ordering::Relaxed) == 0 && site.files() <= 20).await;
        first.ends().await;
        let fewer = CacheConfig {
            disk_entries: 4,
            ..config
        };
        let second = site.process(fewer);
        until(|| site.files() <= 4).await;
        second.ends().await;
    }
}

#[tokio::test]
async fn what_is_shed_leaves_no_file_and_what_was_spoilt_is_made_anew() {
    let site = Site::new();
    let process = site.process(CacheConfig::default());
    let one = ask("a", "1", TTL).await;
    let key = one.key;
    process.asked(one, b"one").await;
    process.wrote(key).await;
    process.results.memory.shed();
    let found = process.asked(ask("a", "1", TTL).await, b"two").await;
    assert_eq!(found, (Bytes::from_static(b"one"), CacheUse::Hit));
    spoil(&site.dir());
    process.results.memory.shed();
    let found = process.asked(ask("a", "1", TTL).await, b"two").await;
    assert_eq!(found, (Bytes::from_static(b"two"), CacheUse::Miss));
    process.wrote(key).await;
    process.results.shed();
    process.settled("1").await;
    until(|| site.files() == 1).await;
}

/// Changes one bit of every file.
fn spoil(dir: &Path) {
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
}
