//! Modules that do not know this host behave here as they do under the `wasmtime` command line:
//! the same exit code, the same streams, the same files.
//!
//! Deliberate differences are left out: after a trap `wasmtime` ends with 134 and its own report,
//! `cofferdam run` with 1 and the failure kind; and there is no network.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::guests;
use crate::support::host::{Host, program};

/// The same program in both WASI versions.
const PROBES: [&str; 2] = ["probe-wasip1", "probe-wasip2"];

/// The arguments and input of a module.
#[derive(Default)]
struct Start<'a> {
    args: &'a [&'a str],
    env: &'a [&'a str],
    stdin: &'a [u8],
}

/// The result of a run.
#[derive(Debug, PartialEq)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// The `wasmtime` program.
fn wasmtime() -> PathBuf {
    let lib = guests::root().join("target/peers-venv/lib");
    let versions = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("site-packages/wasmtime_cli/wasmtime"))
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            panic!(
                "there is no wasmtime below {}; `cargo xtask peers` installs it",
                lib.display()
            )
        })
}

/// A directory to grant, and beside it a file that is not granted.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("data/sub")).unwrap();
    for (name, text) in [
        ("outside", "secret"),
        ("data/one", "first\n"),
        ("data/sub/two", "second\n"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn files_below(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>, root: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, into, root);
        } else {
            let name = path.strip_prefix(root).unwrap().to_owned();
            into.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// Runs a module under one of the two programs, which take the same options.
fn under(runner: &Path, module: &Path, start: &Start<'_>) -> Ended {
    let folder = folder();
    let mut command = Command::new(runner);
    command.arg("run");
    for pair in start.env {
        command.args(["--env", pair]);
    }
    command
        .arg("--dir")
        .arg(format!("{}::/data", folder.path().join("data").display()))
        .arg(module)
        .args(start.args);
    let output = fed(&mut command, start.stdin);
    let mut files = BTreeMap::new();
    files_below(folder.path(), &mut files, folder.path());
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        files,
    }
}

fn fed(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().unwrap();
    let stdin = stdin.to_vec();
    // The guest may end without reading its input.
    let feeder = std::thread::spawn(move || drop(input.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

/// Runs a module both ways and returns both results.
#[track_caller]
fn both(module: &str, start: &Start<'_>) -> Ended {
    assert!(
        guests::built_path(module).exists(),
        "`cargo xtask guests` builds {module}"
    );
    both_of(&guests::built_path(module), start)
}

/// The same for a module at this path.
#[track_caller]
fn both_of(module: &Path, start: &Start<'_>) -> Ended {
    let theirs = under(&wasmtime(), module, start);
    let ours = under(program(), module, start);
    assert_eq!(ours, theirs, "{} {:?}", module.display(), start.args);
    ours
}

/// Some toolchains, Go's among them, take the first directory for the working directory.
#[test]
fn granted_directories_come_first_as_under_wasmtime() {
    let module = guests::root().join("tests/guests/first-descriptor.wat");
    let ended = both_of(&module, &Start::default());
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "first\n"));
}

#[test]
fn arguments_environment_and_input_are_those_of_wasmtime() {
    let args = &["args", "plain", "with space", "", "--dir", "ünïcode"];
    let env = &["A=1", "B=x y", "C="];
    let binary: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for probe in PROBES {
        let ended = both(
            probe,
            &Start {
                args,
                ..Start::default()
            },
        );
        assert!(ended.stdout.contains("ünïcode"), "{ended:?}");
        let start = Start {
            args: &["env"],
            env,
            ..Start::default()
        };
        assert!(both(probe, &start).stdout.contains("x y"));
        for stdin in [&b""[..], b"no newline", &binary] {
            let start = Start {
                args: &["stdin"],
                stdin,
                ..Start::default()
            };
            let ended = both(probe, &start);
            assert_eq!(ended.stderr, format!("{} bytes\n", stdin.len()));
        }
    }
}

#[test]
fn exit_codes_are_those_of_wasmtime() {
    for code in ["0", "1", "2", "3", "42", "125"] {
        for probe in PROBES {
            let start = Start {
                args: &["exit", code],
                ..Start::default()
            };
            let ended = both(probe, &start);
            if probe == "probe-wasip1" {
                assert_eq!(ended.code.unwrap().to_string(), code);
            }
        }
    }
    // Wrong usage is 3 by WASI 0.1; WASI 0.2 as Rust speaks it knows only 0 and 1.
    for (report, code) in [("report-wasip1", 3), ("report", 1)] {
        let start = Start {
            args: &["--nonsense"],
            ..Start::default()
        };
        assert_eq!(both(report, &start).code, Some(code));
    }
}

#[test]
fn streams_and_files_are_those_of_wasmtime() {
    let sales = guests::sample("report/data/sales.txt");
    for probe in PROBES {
        let ended = both(
            probe,
            &Start {
                args: &["flood"],
                ..Start::default()
            },
        );
        assert!(ended.stdout.len() == 2_110_000 && ended.stderr.len() == 2_100_000);
        let ended = both(
            probe,
            &Start {
                args: &["files", "/data"],
                ..Start::default()
            },
        );
        assert_eq!(
            ended.files[Path::new("data/a/b/renamed")],
            b"made by the guest, twice"
        );
    }
    for report in ["report-wasip1", "report"] {
        let start = Start {
            args: &["--top", "3", "Sales"],
            env: &["REPORT_UNIT=EUR"],
            stdin: &sales,
        };
        assert!(both(report, &start).stdout.contains("EUR"));
    }
}

#[test]
fn a_command_written_in_c_is_the_same_under_wasmtime() {
    let stdin = &guests::sample("c/data/sample.txt");
    let sum = both(
        "crc",
        &Start {
            stdin,
            ..Start::default()
        },
    );
    assert_eq!(sum.code, Some(0), "{sum:?}");
    for (args, code) in [(&["-c", "0"][..], 2), (&["what"], 64)] {
        let ended = both(
            "crc",
            &Start {
                args,
                stdin,
                ..Start::default()
            },
        );
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
}

#[test]
fn a_command_has_the_same_ending_over_http() {
    let host = Host::start();
    for probe in PROBES {
        host.client
            .put_module(probe, &guests::built(probe))
            .expect(201);
        let run = |query: &str, stdin: &[u8]| {
            host.client
                .run(&format!("{probe}?{query}"), "text/plain", stdin)
        };
        assert_eq!(
            run("arg=stdin", b"as it was").expect(200).body,
            b"as it was"
        );
        let said = run("arg=env&env=A%3D1", b"").expect(200).text();
        assert!(said.contains(r#"("A", "1")"#), "{said}");
        let problem = run("arg=exit&arg=42", b"").expect_problem(422, "exit");
        let code = if probe == "probe-wasip1" { 42 } else { 1 };
        assert_eq!(problem["exit_code"], code, "{problem}");
        let problem = run("arg=panic", b"").expect_problem(422, "trap");
        assert!(
            problem["stderr"]
                .as_str()
                .unwrap()
                .contains("as it was told to"),
            "{problem}"
        );
        assert!(problem["backtrace"].as_str().unwrap().contains("abort"));
    }
}

#[test]
fn the_network_is_denied() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let datagrams = UdpSocket::bind(&address).unwrap();
    let host = Host::start();
    for probe in PROBES {
        host.client
            .put_module(probe, &guests::built(probe))
            .expect(201);
        let said = host
            .client
            .run(
                &format!("{probe}?arg=network&arg={address}"),
                "text/plain",
                b"",
            )
            .expect(200)
            .text();
        let denied = "connect false\nlisten false\nsend false\nlook up false\n";
        assert_eq!(said, denied, "{probe}");
    }
    // Nothing arrived: the guests have ended, and anything they sent on loopback would be here.
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
    datagrams.set_nonblocking(true).unwrap();
    assert!(datagrams.recv(&mut [0; 16]).is_err());
}
