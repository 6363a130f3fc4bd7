//! What several hosts share, and the bounds that they keep together.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use uuid::Uuid;

use super::*;
use crate::conformance::quotas::waiting_max;
use crate::postgres::call::Call;
use crate::postgres::params::params;
use crate::postgres::tx::Mode;
use crate::postgres::{WRITE_TIMEOUT, claim};
use cofferdam_domain::attempt::WorkerId;

#[tokio::test]
async fn two_hosts_share_tasks_and_modules() {
    let two = Two::fresh().await;
    let [one, other] = &two.hosts;
    insert_all(one, (1..=20).map(new_task).collect()).await;
    let wasm = other.module_wasm(&digest(1)).await.unwrap().unwrap();
    assert_eq!(wasm, b"wasm"[..]);
    // The other host has never seen the template.
    insert_all(other, (21..=40).map(new_task).collect()).await;
    let claim = async |host: &PostgresStorage, worker| {
        host.claim(worker, 20, ClaimOrder::Priority, at(1))
            .await
            .unwrap()
    };
    let (mine, others) = tokio::join!(claim(one, ME), claim(other, OTHER));
    let ids: HashSet<_> = mine
        .iter()
        .chain(&others)
        .map(|claim| claim.task_id)
        .collect();
    assert_eq!(ids.len(), 40);
    // Asked for here, seen there.
    let cancelled = other.cancel(&MINE, mine[0].task_id, at(2)).await.unwrap();
    assert_eq!(cancelled, Cancelled::Requested(ME));
    assert_eq!(one.cancel_requests(ME).await.unwrap(), [mine[0].task_id]);
    // What one says of the other's claims is as good as what it says itself: the fence decides.
    let ends = |claims: &[Claim]| claims.iter().map(|claim| completed(claim, at(3))).collect();
    let (a, b) = tokio::join!(one.finish(ends(&others)), other.finish(ends(&others)));
    for (a, b) in a.unwrap().into_iter().zip(b.unwrap()) {
        let recorded = Finished::Recorded(TaskState::Completed);
        assert!([(recorded, Finished::Stale), (Finished::Stale, recorded)].contains(&(a, b)));
    }
    // A host that is silent loses its tasks to whoever looks.
    other.heartbeat(beat(OTHER), at(60)).await.unwrap();
    let rescued = other.rescue(OTHER, at(50), 99, at(60)).await.unwrap();
    assert_eq!(rescued.len(), 20);
    let counts = one.counts(&MINE).await.unwrap();
    assert_eq!(
        (counts.pending, counts.completed, counts.cancelled),
        (19, 20, 1)
    );
    two.check();
}

/// The server ends the turn of a host that stands still in the middle of a claim.
#[tokio::test]
async fn a_host_that_stands_still_in_its_turn_does_not_keep_others_from_claiming() {
    let two = Two::fresh().await;
    let [one, other] = &two.hosts;
    insert_all(one, (1..=4).map(new_task).collect()).await;
    let mut stands_still = Call::new(&one.db, WRITE_TIMEOUT)
        .begin(Mode::Hasty)
        .await
        .unwrap();
    let lock = "SELECT pg_advisory_xact_lock($1)";
    stands_still
        .query(lock, params![claim::TAKING_TURNS])
        .await
        .unwrap();
    let claims = other.claim(OTHER, 4, ClaimOrder::Priority, at(1)).await;
    assert_eq!(claims.unwrap().len(), 4);
    drop(stands_still);
    two.check();
}

/// Hosts that fill a queue at once overfill it by what each was storing at that moment, and no more.
#[tokio::test]
async fn a_queue_that_hosts_fill_together_is_full() {
    const MAX: u64 = 40;
    let two = Two::fresh().await;
    let [one, other] = &two.hosts;
    let submit = async |host: &PostgresStorage, first: u128| {
        let mut stored = 0;
        for number in first..first + 100 {
            match host
                .insert_tasks(vec![new_task(number)], MAX.into(), at(1))
                .await
            {
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
    let pending = one.counts(&MINE).await.unwrap().pending;
    assert_eq!(pending, a + b);
    // Each stores one task at a time here.
    assert!((MAX..=MAX + 1).contains(&pending), "{pending}");
}

/// Hosts that store tasks of a tenant at once go beyond no quota of it.
#[tokio::test]
async fn one_of_many_gets_the_last_place_whichever_host_it_asks() {
    let two = Two::fresh().await;
    let five = waiting_max(5);
    insert_all(&two.hosts[0], (1..=4).map(new_task).collect()).await;
    let submits = (0..100).map(|n| {
        let host = &two.hosts[usize::from(n % 2 == 0)];
        host.insert_tasks(vec![new_task(10 + n)], five, at(1))
    });
    let answers = futures_util::future::join_all(submits).await;
    let stored = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(stored, 1);
    let refused = answers.into_iter().filter_map(Result::err);
    for refusal in refused {
        assert!(matches!(refusal, StorageError::OverQuota(told) if told.used == 5));
    }
    assert_eq!(two.hosts[1].counts(&MINE).await.unwrap().pending, 5);
    two.check();
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
        preferred_grace: Duration::from_secs(5),
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
