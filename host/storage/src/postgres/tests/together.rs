//! Bounds that several hosts keep together.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use uuid::Uuid;

use super::{Two, check_database, open_with};
use crate::conformance::fixture::*;
use crate::postgres::PostgresStorage;
use crate::settings::ClaimRules;
use crate::{Reads, StorageError, Tasks};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::ClaimOrder;
use cofferdam_test_postgres::Database;

/// Hosts that fill a queue at once overfill it by what each was storing at that moment, and no more.
#[tokio::test]
async fn a_queue_that_hosts_fill_together_is_full() {
    const MAX: u64 = 40;
    let two = Two::fresh().await;
    let [one, other] = &two.hosts;
    let submit = async |host: &PostgresStorage, first: u128| {
        let mut stored = 0;
        for number in first..first + 100 {
            match host.insert_tasks(vec![new_task(number)], MAX, at(1)).await {
                Ok(_) => stored += 1,
                Err(StorageError::QueueFull { pending, limit }) => {
                    assert_eq!(limit, MAX);
                    assert!(pending >= MAX, "{pending}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        stored
    };
    let (a, b) = tokio::join!(submit(one, 1000), submit(other, 2000));
    let pending = one.counts().await.unwrap().pending;
    assert_eq!(pending, a + b);
    // Each stores one task at a time here.
    assert!((MAX..=MAX + 1).contains(&pending), "{pending}");
}

/// Three hosts claim and end as fast as they can; whoever has a task counts it.
#[tokio::test]
async fn hosts_together_exceed_no_bound() {
    const TASKS: usize = 60;
    let database = Database::fresh();
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let rules = ClaimRules {
        running_per_module_max: 3,
        running_per_tenant_max: 5,
        ageing: Duration::ZERO,
    };
    let hosts = dirs
        .each_ref()
        .map(|dir| open_with(&database, dir, rules.clone()).unwrap());
    put_echo(&hosts[0]).await;
    let tasks = (1..=TASKS as u128).map(|number| {
        let mut task = new_task(number);
        task.spec.module = name(["echo", "other"][(number % 2) as usize]);
        task
    });
    insert_all(&hosts[0], tasks.collect()).await;
    // Of each module, and of both.
    let running = [const { AtomicUsize::new(0) }; 2];
    let (done, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = async |host: &PostgresStorage, number: u128| {
        let worker = WorkerId(Uuid::from_u128(number));
        while done.load(Relaxed) < TASKS {
            let claims = host.claim(worker, 4, ClaimOrder::Priority, at(1));
            let claims = claims.await.unwrap();
            let place = |claim: &Claim| usize::from(claim.spec.module.as_str() == "other");
            for claim in &claims {
                assert!(running[place(claim)].fetch_add(1, Relaxed) < 3);
            }
            let all = running.iter().map(|count| count.load(Relaxed)).sum();
            assert!(all <= 5, "{all} are under way");
            most.fetch_max(all, Relaxed);
            tokio::task::yield_now().await;
            for claim in &claims {
                running[place(claim)].fetch_sub(1, Relaxed);
            }
            let ends = claims.iter().map(|claim| completed(claim, at(2)));
            let ended = host.finish(ends.collect()).await.unwrap();
            done.fetch_add(ended.len(), Relaxed);
        }
    };
    let [one, two, three] = &hosts;
    tokio::join!(work(one, 1), work(two, 2), work(three, 3));
    assert_eq!(done.load(Relaxed), TASKS);
    // As many as one claim takes if it can.
    assert!(most.load(Relaxed) >= 4);
    hosts.iter().for_each(PostgresStorage::close);
    check_database(&database);
}
