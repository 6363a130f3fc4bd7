//! Servers that all tests share, whatever process a test is in: the first that needs one starts it, and half
//! a minute after the last it ends by itself. What a server is, and whether it answers, its own crate knows.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Ends the server when nobody has used it for a while: whoever uses it holds a shared lock.
const KEEPER: &str = r#"
    home=$1; shift
    exec 9<"$home/in-use"
    "$@" >"$home/log" 2>&1 9<&- & server=$!
    idle=0
    while kill -0 $server 2>/dev/null && [ $idle -lt 15 ]; do
        sleep 2
        if flock -n -x 9; then idle=$((idle + 1)); [ $idle -lt 15 ] && flock -u 9; else idle=0; fi
    done
    kill -INT $server 2>/dev/null; wait $server
"#;

/// The turn to start a server. Others wait until it is dropped.
#[must_use]
pub struct Starting {
    _locked: File,
}

/// Keeps the server whose files are in `home`, if it runs, for as long as this process lives, and takes the
/// turn to start it.
pub fn hold(home: &Path) -> Starting {
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true);
        let file = options.open(home.join(name)).expect("a lock");
        let readable = Permissions::from_mode(0o644);
        std::fs::set_permissions(home.join(name), readable).expect("a mode");
        file
    };
    let starting = open("starting");
    starting.lock().expect("one process at a time starts it");
    let in_use: &'static File = Box::leak(Box::new(open("in-use")));
    in_use.lock_shared().expect("the server is kept");
    Starting { _locked: starting }
}

/// Runs `server` as the user `owner`, or as this one, until nobody holds it.
pub fn launch(home: &Path, owner: Option<u32>, server: &Command) {
    // In a session of its own: it ends by itself, long after this process.
    let mut command = as_owner(Path::new("/usr/bin/setsid"), owner);
    let kept = command
        .args(["--fork", "/bin/sh", "-c", KEEPER, "keeper"])
        .arg(home)
        .arg(server.get_program())
        .args(server.get_args())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("setsid runs");
    assert!(kept.success(), "setsid: {kept}");
}

/// Waits until a server answers whose log is in `home`.
pub fn await_answer(home: &Path, patience: Duration, answers: impl Fn() -> bool) {
    let begun = Instant::now();
    while !answers() {
        let log = std::fs::read_to_string(home.join("log")).unwrap_or_default();
        assert!(begun.elapsed() < patience, "no server answers: {log}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A program that runs as the user `owner`, or as this one.
pub fn as_owner(program: &Path, owner: Option<u32>) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = owner {
        command.uid(user).gid(user);
    }
    command
}
