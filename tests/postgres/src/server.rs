//! A server of one test's own, which the test stops and starts as it likes.
//!
//! It ends with the test, whatever ends that: the kernel tells it when the thread that started it is gone.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Database, SETTINGS, await_answer, home, initialise, owner, programs, psql};

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its sessions are cut, and everything is written.
    Fast,
    /// As a crash ends it: the next start has to recover what was written.
    Immediate,
}

/// A server; it and its data go when this is dropped.
pub struct Server {
    home: PathBuf,
    running: Option<Child>,
}

impl Server {
    /// A new server with additional settings.
    pub fn start(settings: &str) -> Server {
        Server::below(home().parent().expect("a directory"), settings)
    }

    /// A new server whose files are below this directory.
    pub fn below(folder: &Path, settings: &str) -> Server {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("cofferdam-postgres-{}-{number}", std::process::id());
        let home = folder.join(name);
        std::fs::create_dir_all(&home).expect("a directory for the server");
        std::fs::set_permissions(&home, Permissions::from_mode(0o700)).expect("its mode");
        if let Some(user) = owner() {
            chown(&home, Some(user), Some(user)).expect("its owner");
        }
        initialise(&home, owner(), &format!("{SETTINGS}{settings}\n"));
        let running = None;
        let mut server = Server { home, running };
        server.resume();
        server
    }

    /// The directory of the socket that it listens on.
    pub fn socket(&self) -> &Path {
        &self.home
    }

    /// The database that every server has.
    pub fn database(&self) -> Database {
        let socket = self.home.display().to_string().replace('/', "%2F");
        let url = format!("postgres://cofferdam@{socket}/postgres");
        Database {
            name: None,
            admin_url: url.clone(),
            url,
        }
    }

    /// Stops it and waits for its end.
    pub fn stop(&mut self, how: Stop) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        let signal = match how {
            Stop::Fast => rustix::process::Signal::INT,
            Stop::Immediate => rustix::process::Signal::QUIT,
        };
        let pid = rustix::process::Pid::from_child(&running);
        rustix::process::kill_process(pid, signal).expect("the server can be signalled");
        running.wait().expect("the server can be waited for");
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        let running = self.running.as_mut();
        running.is_some_and(|one| matches!(one.try_wait(), Ok(None)))
    }

    /// Starts it again after its end, and waits until it answers.
    pub fn resume(&mut self) {
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.home.join("log"))
            .expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some(user) = owner() {
            let user = user.to_string();
            command.args(["--clear-groups", "--reuid", &user, "--regid", &user]);
        }
        let running = command
            .arg(programs().join("postgres"))
            .arg("-D")
            .arg(self.home.join("data"))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("setpriv runs");
        self.running = Some(running);
        await_answer(&self.home);
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.resume();
    }

    /// Has the server run a statement, and gives what that prints.
    pub fn run(&self, sql: &str) -> String {
        psql(&self.database().url(), sql)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
        let _left_behind = std::fs::remove_dir_all(&self.home);
    }
}
