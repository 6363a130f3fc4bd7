//! Three hosts over one PostgreSQL database, a directory in which guests note that they began, and what
//! can be done to all of them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use cofferdam_test_postgres::{Database, Server, Stop};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::history::{Begun, Millis, Outage, Policy, Stall};
use crate::support::guests;
use crate::support::host::Host;
use crate::support::storm::Bases;

/// The number of hosts.
pub(crate) const HOSTS: usize = 3;
/// After how long a silent host is taken for dead.
const DEAD_AFTER: Duration = Duration::from_millis(1500);
/// How long the number of tasks that have not ended may stay the same.
const STANDSTILL_MAX: Duration = Duration::from_secs(60);

/// What every task is submitted with.
pub(crate) const POLICY: Policy = Policy {
    max_attempts: 3,
    max_lost: 20,
};

/// The present instant.
pub(crate) fn now() -> Millis {
    jiff::Timestamp::now().as_millisecond()
}

/// The hosts, and what happened to them so far.
pub(crate) struct Cluster {
    pub(crate) hosts: Vec<Host>,
    pub(crate) bases: Bases,
    pub(crate) database: Database,
    /// Some, if the test may stop it.
    pub(crate) server: Option<Server>,
    pub(crate) stalls: Vec<Stall>,
    pub(crate) outages: Vec<Outage>,
    diary: TempDir,
}

impl Cluster {
    /// Hosts over a database of the server that all tests share.
    pub(crate) fn shared() -> Cluster {
        Cluster::shared_with(|_| Vec::new())
    }

    /// The same; each host has these variables in its environment.
    pub(crate) fn shared_with(
        environment: impl Fn(usize) -> Vec<(&'static str, String)>,
    ) -> Cluster {
        let database = Database::fresh();
        Cluster::over(&database.url(), database, None, environment)
    }

    /// Hosts over a server of their own.
    pub(crate) fn owned(server: Server) -> Cluster {
        let url = server.database().url();
        Cluster::through(&url, server)
    }

    /// The same; they find it at this URL.
    pub(crate) fn through(url: &str, server: Server) -> Cluster {
        Cluster::over(url, server.database(), Some(server), |_| Vec::new())
    }

    fn over(
        url: &str,
        database: Database,
        server: Option<Server>,
        environment: impl Fn(usize) -> Vec<(&'static str, String)>,
    ) -> Cluster {
        let diary = TempDir::new().expect("a directory");
        let config = config(url, diary.path());
        let hosts = (0..HOSTS).map(|host| Host::with_environment(&config, environment(host)));
        let hosts: Vec<Host> = hosts.collect();
        let put = |name: &str| hosts[0].client.put_module(name, &guests::built(name));
        put("diary").expect(201);
        Cluster {
            bases: Bases::of(hosts.iter().map(|host| &host.client)),
            hosts,
            database,
            server,
            stalls: Vec::new(),
            outages: Vec::new(),
            diary,
        }
    }

    /// What storage calls this host, until it starts again.
    pub(crate) fn worker(&self, host: usize) -> String {
        let health = self.hosts[host].client.get("/health").expect(200).json();
        health["worker_id"].as_str().expect("a worker").to_owned()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, host: usize) {
        let worker = self.worker(host);
        let from = now();
        self.hosts[host].kill();
        self.stalls.push(Stall {
            worker,
            from,
            to: None,
        });
    }

    /// Starts a host again, which clients then find.
    pub(crate) fn restart(&mut self, host: usize) {
        self.hosts[host].restart();
        self.bases.moved(host, &self.hosts[host].client);
    }

    /// Lets a host stand still until it was certainly taken for dead.
    pub(crate) fn stall(&mut self, host: usize) {
        let worker = self.worker(host);
        let pid = i32::try_from(self.hosts[host].pid()).expect("a process");
        let pid = Pid::from_raw(pid).expect("a process");
        let from = now();
        kill_process(pid, Signal::STOP).expect("it can be signalled");
        // Nothing tells when every other host has looked for the dead.
        thread::sleep(DEAD_AFTER * 3);
        let to = Some(now());
        kill_process(pid, Signal::CONT).expect("it can be signalled");
        self.stalls.push(Stall { worker, from, to });
    }

    /// Stops the database and starts it again.
    pub(crate) fn restart_database(&mut self, how: Stop) {
        self.outage(how == Stop::Immediate, |server| server.restart(how));
    }

    /// Does something to the database, after which it is there again.
    pub(crate) fn outage(&mut self, crash: bool, during: impl FnOnce(&mut Server)) {
        let from = now();
        during(self.server.as_mut().expect("a server of its own"));
        let to = now();
        self.outages.push(Outage { from, to, crash });
    }

    /// Has the server end every connection of the hosts.
    pub(crate) fn cut_connections(&self) {
        self.database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = 'cofferdam' AND datname = current_database()",
        );
    }

    /// Waits until every task has ended.
    #[track_caller]
    pub(crate) fn await_rest(&self) {
        let open = "SELECT state, count(*) FROM cofferdam.task WHERE state < 3 GROUP BY 1";
        let (mut before, mut since) = (String::new(), Instant::now());
        loop {
            let left = self.database.run(open);
            if left.is_empty() {
                return;
            }
            if left != before {
                since = Instant::now();
            }
            assert!(since.elapsed() < STANDSTILL_MAX, "they do not end: {left}");
            before = left;
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the guests noted.
    pub(crate) fn begun(&self) -> Vec<Begun> {
        let entries = std::fs::read_dir(self.diary.path()).expect("it is there");
        let begun = entries.map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            let mut parts = name.split('.');
            let mut part = || parts.next().expect("its parts").to_owned();
            let (id, attempt) = (part(), part().parse().expect("a number"));
            let made = entry.metadata().and_then(|about| about.modified());
            let made = made.expect("an instant").duration_since(UNIX_EPOCH);
            let at = made.expect("after 1970").as_millis();
            let at = Millis::try_from(at).expect("this age");
            Begun { id, attempt, at }
        });
        begun.collect()
    }
}

fn config(database: &str, diary: &Path) -> String {
    let dead_after_ms = DEAD_AFTER.as_millis();
    format!(
        "[storage]\nurl = {database:?}\n\
         [queue]\nslots = 8\nheartbeat_interval_ms = 300\ndead_after_ms = {dead_after_ms}\n\
         [dirs.diary]\npath = {diary:?}\naccess = \"write\"\n"
    )
}
