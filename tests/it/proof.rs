//! Three hosts over one PostgreSQL database, faults of every kind, and a history that is checked against
//! what the product promises.
//!
//! Clients submit, cancel and read while hosts die and the database goes away; guests note in a directory
//! that they began; a reader follows the changes. `check` judges what all of them saw.

mod check;
mod clients;
mod cluster;
mod commits;
mod follower;
mod history;
mod proxy;
mod storage;
mod surroundings;
mod workflows;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use cofferdam_test_postgres::{Server, Stop};

use self::clients::Clients;
use self::cluster::{Cluster, HOSTS, POLICY};
use self::history::History;

/// Clients that submit at once.
const CLIENTS: usize = 24;
/// Tasks of the storm that ends the suite, unless the variable says how many; `cargo xtask storm` does.
const STORM: u64 = 10_000;
const STORM_VARIABLE: &str = "STORM_TASKS";

/// Has clients submit so many tasks while `faults` happen, waits until all have ended, and checks what
/// happened. Gives how many attempts were lost.
#[track_caller]
fn storm(
    mut cluster: Cluster,
    tasks: u64,
    faults: impl FnOnce(&mut Cluster, &Clients<'_>),
) -> usize {
    let begun = Instant::now();
    // The hosts may get other addresses, which the clients learn from here.
    let bases = cluster.bases.clone();
    let clients = Clients::of(&bases, tasks);
    let over = AtomicBool::new(false);
    let mut history = History::default();
    history.span.0 = cluster::now();
    thread::scope(|scope| {
        let follower = scope.spawn(|| follower::follow(&bases, &over));
        let end = End(&over);
        let working = [(); CLIENTS].map(|()| scope.spawn(|| clients.work()));
        faults(&mut cluster, &clients);
        for client in working {
            client.join().expect("no client panicked");
        }
        cluster.await_rest();
        drop(end);
        history.seen = follower.join().expect("the reader did not panic");
    });
    history.span.1 = cluster::now();
    let told = clients.into_told();
    history.submits = told.submits;
    history.cancels = told.cancels;
    history.reads = told.reads;
    for host in &mut cluster.hosts {
        assert!(host.stop().success());
    }
    history.begun = cluster.begun();
    history.tasks = storage::tasks(&cluster.database);
    history.attempts = storage::attempts(&cluster.database);
    history.counted = storage::counted(&cluster.database);
    history.stalls.clone_from(&cluster.stalls);
    history.outages.clone_from(&cluster.outages);
    let lost = Err("lost".to_owned());
    let lost = history.attempts.iter().filter(|one| one.ended == lost);
    let lost = lost.count();
    let (took, figures) = (begun.elapsed(), figures(&history));
    println!("{tasks} tasks in {took:?}: {figures}, {lost} attempts lost");
    let violations = check::violations(&history, POLICY);
    let shown: Vec<_> = violations.iter().take(20).collect();
    assert!(shown.is_empty(), "{} in all: {shown:#?}", violations.len());
    lost
}

/// Tells the reader of changes that nothing more happens, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What a history is made of, for the reader.
fn figures(history: &History) -> String {
    format!(
        "{} submits acknowledged, {} cancels confirmed, {} results read, {} guests began, {} changes \
         seen, {} attempts, {:?}",
        history.submits.len(),
        history.cancels.len(),
        history.reads.len(),
        history.begun.len(),
        history.seen.len(),
        history.attempts.len(),
        history.counted,
    )
}

#[test]
fn hosts_that_are_killed_and_connections_that_are_cut_lose_nothing() {
    let lost = storm(Cluster::shared(), 900, |cluster, clients| {
        for (host, after) in [(0, 150), (1, 400), (2, 650)] {
            clients.await_acknowledged(after);
            cluster.kill(host);
            clients.await_acknowledged(after + 100);
            cluster.cut_connections();
            cluster.restart(host);
        }
    });
    assert!(lost > 0, "nothing ran on a host that was killed");
}

#[test]
fn what_a_host_tells_that_stood_still_past_its_lease_is_refused() {
    let lost = storm(Cluster::shared(), 600, |cluster, clients| {
        for host in 0..2 {
            clients.await_acknowledged(200 * (host as u64 + 1));
            cluster.stall(host);
        }
    });
    assert!(lost > 0, "nothing ran on a host that stood still");
}

#[test]
fn a_database_that_is_restarted_or_crashes_loses_nothing() {
    let cluster = Cluster::owned(Server::start(""));
    storm(cluster, 800, |cluster, clients| {
        clients.await_acknowledged(200);
        cluster.restart_database(Stop::Fast);
        for after in [350, 500, 650] {
            clients.await_acknowledged(after);
            cluster.restart_database(Stop::Immediate);
        }
    });
}

#[test]
fn a_storm_over_three_hosts_keeps_every_promise() {
    let tasks = match std::env::var(STORM_VARIABLE) {
        Ok(text) => text.parse().expect("a number of tasks"),
        Err(_not_set) => STORM,
    };
    let cluster = Cluster::owned(Server::start(""));
    storm(cluster, tasks, |cluster, clients| {
        let mut stops = [Stop::Fast, Stop::Immediate].into_iter();
        // A death about every twelfth of the way, of whichever host.
        for twelfth in 1..12 {
            clients.await_acknowledged(tasks * twelfth / 12);
            let host = rand::random_range(0..HOSTS);
            println!("after {twelfth} twelfths host {host} dies");
            cluster.kill(host);
            if twelfth % 4 == 0
                && let Some(how) = stops.next()
            {
                cluster.restart_database(how);
            }
            cluster.restart(host);
        }
    });
}
