//! What surrounds hosts and their database: a disk that is full, clocks that are wrong.

use std::thread;
use std::time::Duration;

use cofferdam_test_postgres::Server;

use super::cluster::{Cluster, now};
use super::history::Millis;
use super::storm;
use crate::support::disk::SmallDisk;
use crate::support::faketime;

/// Enough for an empty server and the tasks of one test.
const DISK_MIB: u64 = 300;
/// The server keeps few of its logs.
const SMALL: &str = "min_wal_size = 32MB\nmax_wal_size = 64MB";
const HOUR_MS: Millis = 3_600_000;

#[test]
fn a_database_whose_disk_was_full_has_lost_nothing() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        return;
    };
    let server = Server::below(disk.path(), SMALL);
    storm(Cluster::owned(server), 500, |cluster, clients| {
        clients.await_acknowledged(150);
        cluster.outage(true, |server| {
            let filling = disk.fill(0);
            clients.await_refused(20);
            drop(filling);
            // A server that cannot write its log gives up, and whoever operates it starts it again.
            thread::sleep(Duration::from_millis(500));
            if !server.runs() {
                server.resume();
            }
        });
    });
}

#[test]
fn hosts_whose_clocks_are_an_hour_off_do_no_harm() {
    let shifts = ["+1h", "-1h", "+0"];
    let cluster = Cluster::shared_with(|host| {
        vec![
            ("LD_PRELOAD", faketime::library().display().to_string()),
            ("FAKETIME", shifts[host].to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    });
    let off: Vec<Millis> = (cluster.hosts.iter())
        .map(|host| date(host.client.get("/livez").header("date")) - now())
        .map(|off| (off + HOUR_MS / 2).div_euclid(HOUR_MS))
        .collect();
    assert_eq!(
        off,
        [1, -1, 0],
        "their clocks are not what this test is about"
    );
    let killed = [0, 1].map(|host: usize| cluster.hosts[host].pid());
    storm(cluster, 500, |cluster, clients| {
        clients.await_acknowledged(150);
        cluster.kill(0);
        clients.await_acknowledged(300);
        cluster.kill(1);
        cluster.restart(0);
        cluster.restart(1);
    });
    killed.into_iter().for_each(faketime::clean_up);
}

/// The instant of an HTTP date.
fn date(text: &str) -> Millis {
    let time = jiff::fmt::rfc2822::parse(text).expect("a date");
    time.timestamp().as_millisecond()
}
