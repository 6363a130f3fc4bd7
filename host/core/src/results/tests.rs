//! What is found again, what is not, and who waits for whom.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::key::tests::parts;
use super::settings::CachePolicy;
use super::shares::Shares;
use super::*;
use cofferdam_domain::attempt::{Captured, Failure, FailureKind, Outcome, Payload, Streams};

const TTL: Duration = Duration::from_secs(600);

fn results(config: CacheConfig) -> Results {
    let clock = Clock::manual(Timestamp::from_millis(1000));
    Results::new(config, clock, Arc::new(Metrics::new()))
}

pub(super) fn report(body: &[u8]) -> Report {
    Report {
        outcome: Outcome::Completed(Payload {
            content_type: "text/plain".into(),
            body: Bytes::copy_from_slice(body),
        }),
        usage: Usage {
            cpu: Duration::from_secs(3),
            ..Usage::default()
        },
        streams: Streams {
            stderr: Captured {
                bytes: Bytes::from_static(b"said"),
                truncated: true,
            },
            ..Streams::default()
        },
        files: None,
        isolation: None,
    }
}

pub(super) fn failure() -> Report {
    let failure = Failure::new(FailureKind::Trap, "as the test says");
    Report {
        outcome: Outcome::Failed(failure),
        ..report(b"")
    }
}

pub(super) async fn ask(tenant: &str, input: &str, ttl: Duration) -> Ask {
    let mut parts = parts();
    parts.tenant = Tenant::parse(tenant).unwrap();
    parts.input = Bytes::copy_from_slice(input.as_bytes());
    Ask {
        tenant: parts.tenant.clone(),
        key: parts.key().await.unwrap(),
        ttl,
    }
}

/// Asks, and runs what gives this report if it is not found.
async fn asked(results: &Results, ask: Ask, gives: Report) -> (Report, Option<CacheUse>) {
    let run = async { Ok::<_, ()>(gives) };
    let control = Control::default();
    let (report, how) = results.serve(ask, &control, run).await.unwrap();
    (report, Some(how))
}

pub(super) fn body(report: &Report) -> &[u8] {
    match &report.outcome {
        Outcome::Completed(output) => &output.body,
        Outcome::Failed(failure) => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn a_completed_run_is_found_again_with_what_it_said() {
    let results = results(CacheConfig::default());
    for length in [0, 10, 5_000, 300_000] {
        let (input, gave) = (length.to_string(), vec![b'x'; length]);
        let (first, how) = asked(&results, ask("a", &input, TTL).await, report(&gave)).await;
        assert_eq!((body(&first), how), (&gave[..], Some(CacheUse::Miss)));
        let (second, how) = asked(&results, ask("a", &input, TTL).await, failure()).await;
        assert_eq!((body(&second), how), (&gave[..], Some(CacheUse::Hit)));
        assert_eq!(second.streams, first.streams);
        assert_eq!(second.usage.cpu, Duration::ZERO);
    }
    results.memory.tidy(Instant::now());
    let [(entries, bytes), on_disk] = results.sizes();
    assert_eq!(on_disk, (0, 0));
    assert_eq!(entries, 4);
    // They are compressed.
    assert!(bytes < 10_000, "{bytes}");
    results.shed();
    assert_eq!(results.sizes(), [(0, 0); 2]);
}

#[tokio::test]
async fn another_tenant_another_input_or_a_failure_is_not_found() {
    let results = results(CacheConfig::default());
    asked(&results, ask("a", "1", TTL).await, report(b"one")).await;
    for (tenant, input) in [("b", "1"), ("a", "2")] {
        let (found, how) = asked(&results, ask(tenant, input, TTL).await, report(b"own")).await;
        assert_eq!((body(&found), how), (&b"own"[..], Some(CacheUse::Miss)));
    }
    asked(&results, ask("a", "3", TTL).await, failure()).await;
    let (_, how) = asked(&results, ask("a", "3", TTL).await, report(b"later")).await;
    assert_eq!(how, Some(CacheUse::Miss));
}

#[tokio::test]
async fn what_is_too_old_for_either_is_not_found() {
    let results = results(CacheConfig::default());
    let short = Duration::from_millis(1);
    asked(&results, ask("a", "1", TTL).await, report(b"one")).await;
    tokio::time::sleep(2 * short).await;
    let (_, how) = asked(&results, ask("a", "1", short).await, report(b"two")).await;
    assert_eq!(how, Some(CacheUse::Miss));
    tokio::time::sleep(2 * short).await;
    // The second one was to be kept for a short time.
    let (found, how) = asked(&results, ask("a", "1", TTL).await, report(b"three")).await;
    assert_eq!((body(&found), how), (&b"three"[..], Some(CacheUse::Miss)));
}

#[tokio::test]
async fn bytes_entries_and_the_part_of_a_tenant_are_bounded() {
    let config = CacheConfig {
        bytes: 100_000,
        entries: 10,
        entry_bytes: 2_000,
        tenant_bytes: 50_000,
        policy: CachePolicy::Lru,
        ..CacheConfig::default()
    };
    let results = results(config);
    let noise = |seed: usize, length: usize| -> Vec<u8> {
        let mut state = seed as u64 + 1;
        let next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(length).collect()
    };
    for number in 0..100 {
        let ask = ask("a", &number.to_string(), TTL).await;
        asked(&results, ask, report(&noise(number, 1_000))).await;
    }
    results.memory.tidy(Instant::now());
    let [(entries, bytes), _] = results.sizes();
    assert!(entries <= 10 && bytes <= 50_000, "{entries}, {bytes}");
    let large = ask("b", "large", TTL).await;
    asked(&results, large, report(&noise(7, 4_000))).await;
    let (_, how) = asked(&results, ask("b", "large", TTL).await, report(b"")).await;
    assert_eq!(how, Some(CacheUse::Miss));
    let tight = Shares::default();
    let (one, other) = (Tenant::parse("a").unwrap(), Tenant::parse("b").unwrap());
    let take = |tenant, bytes| tight.take(tenant, bytes, 100, Timestamp::EPOCH);
    assert!(take(&one, 60) && !take(&one, 60));
    assert!(take(&other, 60));
    tight.give(&one, 60);
    assert!(take(&one, 100));
    assert_eq!(tight.all(), 160);
}

#[tokio::test]
async fn what_goes_first_is_as_the_policy_says() {
    for (policy, stays) in [(CachePolicy::Lru, true), (CachePolicy::Fifo, false)] {
        let config = CacheConfig {
            entries: 3,
            policy,
            ..CacheConfig::default()
        };
        let results = results(config);
        let of = async |input: &str| {
            let (_, how) = asked(&results, ask("a", input, TTL).await, report(b"it")).await;
            results.memory.tidy(Instant::now());
            how == Some(CacheUse::Hit)
        };
        for input in ["1", "2", "3"] {
            assert!(!of(input).await);
        }
        // The first is used; one more comes.
        assert!(of("1").await);
        assert!(!of("4").await);
        assert_eq!(of("1").await, stays, "{policy:?}");
    }
}

#[tokio::test]
async fn what_is_over_gives_back_the_part_of_its_tenant() {
    for policy in CachePolicy::ALL {
        gives_back_its_part(policy).await;
    }
}

async fn gives_back_its_part(policy: CachePolicy) {
    let config = CacheConfig {
        tenant_bytes: 5_000,
        policy,
        ..CacheConfig::default()
    };
    let results = results(config);
    for number in 0..10 {
        let ask = ask("a", &number.to_string(), Duration::from_nanos(1)).await;
        asked(&results, ask, report(b"for a moment")).await;
    }
    // What is over goes within some seconds.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, how) = asked(&results, ask("a", "x", TTL).await, report(b"for long")).await;
        if how == Some(CacheUse::Hit) {
            break;
        }
        assert!(Instant::now() < deadline, "its part is taken for good");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_a_removed_tenant_had_is_not_found_by_another_of_its_name() {
    let results = results(CacheConfig::default());
    asked(&results, ask("a", "1", TTL).await, report(b"one")).await;
    let began = |at: i64| {
        let began = Timestamp::from_millis(at);
        results.keep_those(|_tenant, since| since >= began);
    };
    began(1000);
    let (_, how) = asked(&results, ask("a", "1", TTL).await, report(b"two")).await;
    assert_eq!(how, Some(CacheUse::Hit));
    began(1001);
    let (found, how) = asked(&results, ask("a", "1", TTL).await, report(b"two")).await;
    assert_eq!((body(&found), how), (&b"two"[..], Some(CacheUse::Miss)));
}

#[tokio::test]
async fn those_that_are_alike_wait_for_the_first() {
    let results = Arc::new(results(CacheConfig::default()));
    let runs = Arc::new(AtomicUsize::new(0));
    let (go, gone) = oneshot::channel();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let all = (0..5).map(|_| {
        let (results, runs, gone) = (Arc::clone(&results), Arc::clone(&runs), Arc::clone(&gone));
        async move {
            let run = async {
                runs.fetch_add(1, Ordering::SeqCst);
                let gone = gone.lock().unwrap().take().unwrap();
                let _told = gone.await;
                Ok::<_, ()>(report(b"one"))
            };
            let ask = ask("a", "1", TTL).await;
            let control = Control::default();
            let served = results.serve(ask, &control, run);
            served.await.unwrap().1
        }
    });
    let waits = futures_util::future::join_all(all);
    let (found, ()) = tokio::join!(waits, async {
        // By now all of them have begun, because they are polled in turn.
        tokio::task::yield_now().await;
        go.send(()).unwrap();
    });
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let of = |how| found.iter().filter(|found| **found == how).count();
    assert_eq!((of(CacheUse::Miss), of(CacheUse::Joined)), (1, 4));
}

#[tokio::test]
async fn whoever_waits_runs_itself_if_the_first_fails_goes_away_or_it_is_stopped() {
    let results = results(CacheConfig::default());
    let own = async |control: &Control| {
        let run = async { Ok::<_, ()>(report(b"own")) };
        let ask = ask("a", "1", Duration::ZERO).await;
        results.serve(ask, control, run).await.unwrap()
    };
    for fails in [true, false] {
        let (go, gone) = oneshot::channel::<()>();
        let mut go = Some(go);
        let first = async {
            let run = async {
                let _told = gone.await;
                Ok::<_, ()>(failure())
            };
            let ask = ask("a", "1", Duration::ZERO).await;
            let control = Control::default();
            let leads = results.serve(ask, &control, run);
            match fails {
                true => drop(leads.await),
                false => drop(tokio::time::timeout(Duration::from_millis(20), leads).await),
            }
        };
        let control = Control::default();
        let (_, (found, how), ()) = tokio::join!(first, own(&control), async {
            tokio::task::yield_now().await;
            if fails {
                let _unheard = go.take().map(|go| go.send(()));
            }
        });
        assert_eq!((body(&found), how), (&b"own"[..], CacheUse::Miss));
    }
    let (_held, gone) = oneshot::channel::<()>();
    let run = async {
        let _told = gone.await;
        Ok::<_, ()>(failure())
    };
    let leads_ask = ask("a", "1", Duration::ZERO).await;
    let leads_control = Control::default();
    let leads = results.serve(leads_ask, &leads_control, run);
    let control = Control::default();
    control.kill.cancel();
    tokio::select! {
        biased;
        _ = leads => panic!("it is held"),
        (found, _) = own(&control) => assert_eq!(body(&found), b"own"),
    }
}
