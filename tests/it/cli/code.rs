//! `exec` without a server, and sessions with one.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::{cofferdam, text};
use crate::exec::{copy_compiled, ready};
use crate::support::host::program;

/// A user: a cache directory that holds the interpreters, compiled, and a working directory.
pub(crate) struct User {
    home: TempDir,
}

impl User {
    pub(crate) fn new() -> User {
        let user = User {
            home: TempDir::new().expect("a temporary directory"),
        };
        copy_compiled(&user.path("cache/cofferdam/compiled"));
        std::fs::create_dir(user.path("tmp")).expect("a new directory");
        user
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .current_dir(self.home.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("COFFERDAM_SERVER")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn exec(&self, args: &[&str]) -> Output {
        let args = [&["exec"], args].concat();
        self.command(&args).output().expect("the binary starts")
    }

    /// The files that runs left behind in the directory for temporary files.
    fn left(&self) -> usize {
        std::fs::read_dir(self.path("tmp"))
            .expect("readable")
            .count()
    }
}

#[test]
fn exec_needs_no_server() {
    let user = User::new();
    let done = user.exec(&["--python", "print('hi')\n[1, 2**70]"]);
    assert_eq!(
        text(&done.stdout),
        "hi\n[1, 1180591620717411303424]\n",
        "{}",
        text(&done.stderr)
    );
    assert!(done.status.success());
    std::fs::write(user.path("in.txt"), "data").unwrap();
    std::fs::write(
        user.path("shout.js"),
        "const fs = require('fs');\n\
         fs.writeFileSync('out.txt', fs.readFileSync('in.txt', 'utf8').toUpperCase());\n\
         process.argv.slice(2)",
    )
    .unwrap();
    let args = [
        "--file", "in.txt", "--out", "got", "shout.js", "--json", "x",
    ];
    let done = user.exec(&args);
    assert_eq!(
        text(&done.stdout),
        "[\"--json\",\"x\"]\n",
        "{}",
        text(&done.stderr)
    );
    assert_eq!(std::fs::read(user.path("got/out.txt")).unwrap(), b"DATA");
    let told = user.exec(&["--json", "--javascript", "6 * 7"]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(
        (&told["status"], &told["result"]),
        (&"completed".into(), &42.into())
    );
    assert_eq!(user.left(), 0);
}

/// Reads what code writes while it runs for ever, then interrupts the command.
fn shown_meanwhile(mut command: Command) -> (String, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let line = |from: &mut dyn Read| {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\n") {
            from.read_exact(&mut byte).expect("a line");
            line.push(byte[0]);
        }
        text(&line)
    };
    let out = line(child.stdout.as_mut().expect("it is piped"));
    let mut err = line(child.stderr.as_mut().expect("it is piped"));
    if err.contains("is being compiled") {
        // On a busy machine it takes long to be loaded.
        err = line(child.stderr.as_mut().expect("it is piped"));
    }
    assert!(child.try_wait().expect("it can be asked").is_none());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    assert!(!child.wait().expect("it ends").success());
    (out, err)
}

#[test]
fn what_code_writes_is_shown_while_it_runs() {
    let user = User::new();
    let host = ready("");
    let code = "import sys\nprint('out', flush=True)\nprint('err', file=sys.stderr, flush=True)\n\
                while True: pass";
    let flags = ["exec", "--timeout", "60s", "--cpu", "60s", "--python", code];
    let server = ["--server", host.client.base.as_str()];
    for args in [flags.to_vec(), [&server[..], &flags].concat()] {
        let shown = shown_meanwhile(user.command(&args));
        assert_eq!(shown, ("out\n".to_owned(), "err\n".to_owned()));
    }
    assert_eq!(user.left(), 0);
    // In a session too; what was shown is not shown again.
    let session = |args: &[&str]| {
        let output = user.command(&[&server[..], &["session"], args].concat());
        let output = { output }.output().expect("the binary starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let id = session(&["start", "python"]);
    assert_eq!(session(&["exec", id.trim(), "print('a')\n1 + 1"]), "a\n2\n");
}

#[test]
fn exec_ends_as_the_code_would_natively() {
    let user = User::new();
    for (code, expected) in [
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('told')", 1),
        ("import sys; sys.exit(0)", 0),
        ("raise SystemExit(300)", 300 & 0xff),
        ("1/0", 1),
        ("1", 0),
    ] {
        let ended = user.exec(&["--python", code]);
        assert_eq!(
            ended.status.code(),
            Some(expected),
            "{code}: {}",
            text(&ended.stderr)
        );
    }
    let ended = user.exec(&["--javascript", "process.exit(9)"]);
    assert_eq!(ended.status.code(), Some(9));
    let stopped = user.exec(&["--timeout", "300ms", "--python", "while True: pass"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(
        text(&stopped.stderr).contains("timeout"),
        "{}",
        text(&stopped.stderr)
    );
    for (args, named) in [
        (&["x.wasm"][..], "cofferdam run x.wasm"),
        (&["x.txt"], "--python-file"),
        (&["gone.py"], "gone.py"),
        (&["--python", "1", "--tiemout", "1s"], "--tiemout"),
        (&["--file", "gone.csv", "--python", "1"], "gone.csv"),
        (&[], "--python"),
    ] {
        let refused = user.exec(args);
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{args:?}: {}",
            text(&refused.stderr)
        );
        assert!(
            text(&refused.stderr).contains(named),
            "{}",
            text(&refused.stderr)
        );
    }
}

#[test]
fn an_interpreter_that_is_absent_is_named_with_its_place() {
    let user = User::new();
    let mut command = user.command(&["exec", "--python", "1"]);
    let output = command
        .env("COFFERDAM_INTERPRETERS_DIR", "/nowhere")
        .output();
    let output = output.expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("/nowhere/python.wasm"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let user = User::new();
    let code = "open('begun', 'w').close()\nwhile True: pass";
    let child = user
        .command(&["exec", "--timeout", "60s", "--cpu", "60s", "--python", code])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    await_file(&user.path("tmp"), "begun");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert_eq!(user.left(), 0);
}

/// Waits until a guest of a host below `folder` has written a file of that name.
fn await_file(folder: &Path, name: &str) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds(folder, name) {
        assert!(std::time::Instant::now() < until, "no guest has begun");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Whether a file of that name is anywhere below `folder`, as far as that is there.
fn holds(folder: &Path, name: &str) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut entries = entries.map(|entry| entry.path());
    entries.any(|path| path.ends_with(name) || (path.is_dir() && holds(&path, name)))
}

#[test]
fn ctrl_c_ends_the_wait_for_an_interpreter() {
    let user = User::new();
    // Nothing is compiled.
    std::fs::remove_dir_all(user.path("cache")).expect("removable");
    let mut child = user
        .command(&["exec", "--python", "1 + 1"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut said = String::new();
    while !said.contains("is being compiled") {
        let read = stderr.read_line(&mut said).expect("it tells in UTF-8");
        assert_ne!(read, 0, "it ended and said: {said}");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    stderr.read_to_string(&mut said).expect("it tells in UTF-8");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130), "{said}");
    assert_eq!(user.left(), 0);
}

#[test]
fn exec_waits_until_the_interpreter_is_compiled_and_says_so() {
    let user = User::new();
    // Nothing is compiled.
    std::fs::remove_dir_all(user.path("cache")).expect("removable");
    let mut child = user
        .command(&["exec", "--python", "1 + 1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut said = String::new();
    let stderr = child.stderr.take().expect("it is piped");
    BufReader::new(stderr)
        .read_line(&mut said)
        .expect("readable");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(text(&output.stdout), "2\n");
    assert_eq!(
        said,
        "cofferdam: the python interpreter is being compiled; this happens once\n"
    );
}

#[test]
fn a_session_is_kept_from_command_to_command() {
    let host = ready("");
    let run = |args: &[&str]| {
        let server = ["--server", host.client.base.as_str(), "session"];
        let output = cofferdam(&[&server, args].concat(), b"n + 2");
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let (code, id, err) = run(&["start", "python"]);
    assert_eq!(code, Some(0), "{err}");
    let id = id.trim();
    assert_eq!(
        run(&["exec", id, "n = 40\nopen('a.txt', 'w').write('x')\nNone"]).0,
        Some(0)
    );
    assert_eq!(run(&["exec", id, "-"]).1, "42\n");
    assert_eq!(run(&["list"]).1.lines().count(), 1);
    assert!(run(&["show", id]).1.contains("idle"));
    let folder = TempDir::new().expect("a temporary directory");
    let out = folder.path().display().to_string();
    assert!(run(&["files", id, "--out", &out]).1.ends_with("a.txt\n"));
    assert_eq!(std::fs::read(folder.path().join("a.txt")).unwrap(), b"x");
    let snapshot = run(&["snapshot", id]).1;
    assert_eq!(run(&["end", id]).0, Some(0));
    assert_eq!(run(&["exec", id, "1"]).0, Some(1));
    let (_, again, _) = run(&["start", "javascript", "--snapshot", snapshot.trim()]);
    let read = "require('fs').readFileSync('a.txt', 'utf8')";
    assert_eq!(run(&["exec", again.trim(), read]).1, "\"x\"\n");
}
