//! A PostgreSQL server for tests, with a database for each.
//!
//! The first test that needs the server starts it, whatever process the test is in, and all others use the
//! same one; half a minute after the last it ends by itself. It listens on a socket in a directory that
//! is nobody else's, and its data is in memory where there is a place for it. `COFFERDAM_TEST_POSTGRES`
//! names another server: a URL of a user who may create databases. Without any a test fails. A test that
//! stops and starts its server has one of its own ([`Server`]), whatever that variable says.

mod server;

pub use server::{Server, Stop};

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cofferdam_test_kept as kept;

/// The variable that names another server.
pub const SERVER_VARIABLE: &str = "COFFERDAM_TEST_POSTGRES";
/// PostgreSQL does not run as root; this user owns nothing.
const NOBODY: u32 = 65_534;
/// The administrator of the server that tests start, in a URL.
const ADMIN: &str = "//cofferdam@";
/// The user of the hosts under test there.
const OWNER: &str = "cofferdam_host";
/// Several tests may do so at once.
const MAKE_OWNER: &str = "
    DO $$ BEGIN CREATE ROLE cofferdam_host LOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$";
/// The size of a file system in memory that its data fits into.
const MEMORY_BYTES_MIN: u64 = 4 << 30;
/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const SETTINGS: &str = "
listen_addresses = ''
max_connections = 200
shared_buffers = 64MB
wal_level = minimal
max_wal_senders = 0
";

/// A database of one test's own, which goes with it.
pub struct Database {
    /// Unless it goes with its server.
    name: Option<String>,
    /// For the hosts under test.
    url: String,
    /// For the test itself.
    admin_url: String,
}

impl Database {
    /// A new, empty database.
    pub fn fresh() -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cofferdam_{}_{number}", std::process::id());
        // Left by a process that had the same number and was killed.
        administer(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        let admin_url = url(&name);
        let url = match std::env::var(SERVER_VARIABLE) {
            // Hosts are a user who owns the database and may do nothing else.
            Err(_) => {
                administer(MAKE_OWNER);
                administer(&format!("CREATE DATABASE {name} OWNER {OWNER}"));
                admin_url.replacen(ADMIN, &format!("//{OWNER}@"), 1)
            }
            Ok(_) => {
                administer(&format!("CREATE DATABASE {name}"));
                admin_url.clone()
            }
        };
        Database {
            name: Some(name),
            url,
            admin_url,
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Has the server run a statement in it, which sees the rows of every tenant, and gives what that prints: a row a line, without anything
    /// around it.
    pub fn run(&self, sql: &str) -> String {
        psql(&self.admin_url, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(name) = &self.name
            && !std::thread::panicking()
        {
            administer(&format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn administer(sql: &str) {
    psql(&url("postgres"), sql);
}

fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
            url,
        ])
        .output()
        .expect("psql runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{sql}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The URL of a database on the server.
fn url(database: &str) -> String {
    match std::env::var(SERVER_VARIABLE) {
        Err(_) => format!("{}/{database}", own_server()),
        Ok(server) => {
            let (address, rest) = match server.split_once('?') {
                Some((address, rest)) => (address.to_owned(), format!("?{rest}")),
                None => (server, String::new()),
            };
            let end_of_host = address.find("://").map_or(0, |at| at + 3);
            let host = match address[end_of_host..].find('/') {
                Some(slash) => &address[..end_of_host + slash],
                None => &address,
            };
            format!("{host}/{database}{rest}")
        }
    }
}

/// The address of the server that tests start themselves.
fn own_server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| {
        let home = home();
        start(&home);
        let socket = home.display().to_string().replace('/', "%2F");
        format!("postgres://cofferdam@{socket}")
    })
}

/// Where its files are: in memory, unless that is as small as containers have it.
fn home() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let memory = Path::new("/dev/shm");
    let is_large = |about: rustix::fs::StatVfs| about.f_blocks * about.f_frsize >= MEMORY_BYTES_MIN;
    let root = match rustix::fs::statvfs(memory).is_ok_and(is_large) {
        true => memory.to_owned(),
        false => std::env::temp_dir(),
    };
    root.join(format!("cofferdam-postgres-{user}"))
}

/// The directory of the server's programs, the newest if there are several.
fn programs() -> PathBuf {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            Some((version, path.join("bin")))
        })
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    found.sort_unstable();
    match found.pop() {
        Some((_, bin)) => bin,
        None => panic!("there is no PostgreSQL server: install Debian's package postgresql"),
    }
}

/// Starts the server unless it runs, and keeps it running as long as this process does.
fn start(home: &Path) {
    std::fs::create_dir_all(home).expect("a directory for the server");
    std::fs::set_permissions(home, Permissions::from_mode(0o700)).expect("its mode");
    let owner = owner();
    if let Some(user) = owner {
        chown(home, Some(user), Some(user)).expect("its owner");
    }
    let _starting = kept::hold(home);
    if !answers(home) {
        make(home, owner);
    }
}

/// The user that the server runs as, if not as this one.
fn owner() -> Option<u32> {
    rustix::process::getuid().is_root().then_some(NOBODY)
}

fn answers(home: &Path) -> bool {
    Command::new(programs().join("pg_isready"))
        .args(["-q", "-t", "1", "-U", "cofferdam", "-h"])
        .arg(home)
        .status()
        .is_ok_and(|status| status.success())
}

fn make(home: &Path, owner: Option<u32>) {
    initialise(home, owner, SETTINGS);
    let mut server = Command::new(programs().join("postgres"));
    server.arg("-D").arg(home.join("data"));
    kept::launch(home, owner, &server);
    await_answer(home);
}

fn await_answer(home: &Path) {
    kept::await_answer(home, START_TIMEOUT, || answers(home));
}

/// Makes the files of a server, none of whose data is there yet.
fn initialise(home: &Path, owner: Option<u32>, settings: &str) {
    let data = home.join("data");
    let _not_there = std::fs::remove_dir_all(&data);
    let made = kept::as_owner(&programs().join("initdb"), owner)
        .args([
            "-U",
            "cofferdam",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
            "-D",
        ])
        .arg(&data)
        .current_dir("/")
        .output()
        .expect("initdb runs");
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(made.status.success(), "initdb: {said}");
    let file = data.join("postgresql.conf");
    let socket = format!("unix_socket_directories = '{}'\n", home.display());
    let text = std::fs::read_to_string(&file).expect("its settings") + settings + &socket;
    std::fs::write(&file, text).expect("its settings");
}
