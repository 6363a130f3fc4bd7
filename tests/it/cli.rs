//! The command line: `run` without a server, and the client commands against one.

mod backup;
pub(crate) mod code;
mod follow;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::guests;
use crate::support::host::{Host, program};

pub(crate) fn cofferdam(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(program())
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // The program may end without reading its input.
    let _unread = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn guest(name: &str) -> String {
    guests::built_path(name).display().to_string()
}

#[test]
fn run_gives_a_command_its_arguments_environment_stdin_and_directories() {
    let input = guests::sample("report/data/sales.txt");
    for (report, wrong_usage) in [("report", 1), ("report-wasip1", 3)] {
        let report = guest(report);
        let folder = tempfile::TempDir::new().unwrap();
        // It replaces the run's own directory at that path.
        let mount = format!("{}::/out", folder.path().display());
        let output = cofferdam(
            &[
                "run",
                "--env",
                "REPORT_UNIT=EUR",
                "--dir",
                &mount,
                &report,
                "--top",
                "3",
                "Sales",
            ],
            &input,
        );
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("EUR"));
        assert!(
            folder.path().join("report.csv").exists(),
            "{report} writes a file"
        );
        let output = cofferdam(&["run", &report, "--nonsense"], b"");
        assert_eq!(output.status.code(), Some(wrong_usage), "{output:?}");
    }
}

#[test]
fn everything_after_the_file_is_the_guests() {
    for probe in ["probe-wasip1", "probe-wasip2"] {
        let probe = guest(probe);
        let words = [
            "--help",
            "--json",
            "--timeout",
            "5",
            "--",
            "-x",
            "--server",
            "--version",
        ];
        let output = cofferdam(&[&["run", &probe, "args"], &words[..]].concat(), b"");
        assert_eq!(
            text(&output.stdout),
            format!("{words:?}\n"),
            "{}",
            text(&output.stderr)
        );
        // Its input is the process's own, and its exit code comes back.
        let output = cofferdam(&["run", &probe, "stdin"], b"typed");
        assert_eq!(text(&output.stdout), "typed");
        let own = if probe.contains("wasip1") { 7 } else { 1 };
        let output = cofferdam(&["run", &probe, "exit", "7"], b"");
        assert_eq!(output.status.code(), Some(own));
    }
    // The words before it are the program's own, and an unknown word is refused.
    let report = cofferdam(&["run", "--json", &guest("probe-wasip1"), "args"], b"");
    let report: Value = serde_json::from_slice(&report.stdout).expect("a report as JSON");
    assert_eq!(report["result"]["body"], "[]\n");
    let refused = cofferdam(&["run", "--tiemout", "5s", &guest("report")], b"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--tiemout"));
}

#[test]
fn mistakes_in_directories_and_files_are_named() {
    let report = guest("report");
    let file = guests::root().join("README.md");
    let (file, folder) = (file.display(), guests::root().display());
    for (dir, named) in [
        ("/no/such::/d".to_owned(), "/no/such"),
        (format!("{file}::/d"), "is not a directory"),
        (format!("{folder}::d"), "HOST::/GUEST"),
    ] {
        let output = cofferdam(&["run", "--dir", &dir, &report], b"");
        assert_eq!(output.status.code(), Some(2), "{dir}");
        assert!(
            text(&output.stderr).contains(named),
            "{}",
            text(&output.stderr)
        );
    }
    let output = cofferdam(&["run", "script.py"], b"");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cofferdam exec script.py"));
}

#[test]
fn run_writes_a_tasks_output_and_obeys_limits() {
    let input = guests::root().join("examples/primes/data/range.json");
    let input = input.display().to_string();
    let output = cofferdam(&["run", "--input", &input, &guest("primes")], b"");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON on stdout");
    assert!(result["count"].as_u64().is_some_and(|count| count > 0));

    let spin = guests::root()
        .join("tests/guests/spin.wat")
        .display()
        .to_string();
    let output = cofferdam(&["run", "--timeout", "300ms", &spin], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("timeout"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_client_commands_speak_to_a_host() {
    let host = Host::start();
    let run = |args: &[&str], stdin: &[u8]| {
        let mut all = vec!["--server", host.client.base.as_str()];
        all.extend(args);
        cofferdam(&all, stdin)
    };
    let pushed = run(&["module", "push", "primes", &guest("primes")], b"");
    assert!(pushed.status.success(), "{}", text(&pushed.stderr));
    assert!(text(&run(&["module", "list"], b"").stdout).contains("primes"));

    let done = run(
        &["task", "submit", "primes", "--input", "-", "--wait"],
        b"{\"from\": 1, \"to\": 100}",
    );
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("25"));

    let failed = run(&["task", "submit", "primes", "--data", "{}", "--wait"], b"");
    assert_eq!(failed.status.code(), Some(1));
    assert!(!text(&failed.stderr).is_empty());

    let listed = run(&["--json", "task", "list"], b"");
    let first: Value = serde_json::from_str(text(&listed.stdout).lines().next().unwrap()).unwrap();
    let id = first["task_id"].as_str().unwrap();
    assert!(run(&["task", "get", id], b"").status.success());
    assert!(run(&["task", "logs", id], b"").status.success());
    // A user's text is one part of the address, whatever characters it has.
    let odd = run(&["--json", "module", "show", "My Module?x=1"], b"");
    assert_eq!(odd.status.code(), Some(1));
    let problem: Value = serde_json::from_slice(&odd.stdout).expect("what the API returned");
    assert_eq!(problem["code"], "invalid_module_name");
    let odd = run(&["task", "list", "--status", "failed&limit=1"], b"");
    assert!(
        text(&odd.stderr).contains("failed&limit=1"),
        "{}",
        text(&odd.stderr)
    );
    let pulled = run(&["module", "pull", "primes", "--output", "-"], b"");
    assert!(
        pulled.stdout == guests::built("primes"),
        "not what was pushed"
    );
    let ready = run(&["health"], b"");
    assert!(ready.status.success() && text(&ready.stdout).starts_with("ready\n"));
    assert!(run(&["module", "rm", "primes"], b"").status.success());
    assert_eq!(
        run(&["module", "show", "primes"], b"").status.code(),
        Some(1)
    );
}

#[test]
fn an_input_arrives_as_it_is_whatever_its_size() {
    let host = Host::start();
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let submit = |args: &[&str], stdin: &[u8]| {
        let server = ["--server", host.client.base.as_str(), "task", "submit"];
        cofferdam(&[&server, args].concat(), stdin)
    };
    let exact = r#"{"n": 12345678901234567890123}"#;
    let done = submit(&["echo", "--data", exact, "--wait"], b"");
    assert_eq!(text(&done.stdout), exact, "{}", text(&done.stderr));

    host.client
        .put_module("crc", &guests::built("crc"))
        .expect(201);
    let large = vec![b'x'; 8 << 20];
    let flags = ["--content-type", "text/plain", "--input", "-"];
    let done = submit(
        &[&["crc", "--wait", "--timeout", "60s"], &flags[..]].concat(),
        &large,
    );
    assert!(
        text(&done.stdout).contains("\"bytes\":8388608"),
        "{}",
        text(&done.stderr)
    );
    // Directories cannot be requested with a raw input; the server's refusal is shown.
    let refused = submit(&[&["crc", "--dir", "a:/b"], &flags[..]].concat(), &large);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("body_too_large"), "{said}");
}

#[test]
fn exit_codes_tell_usage_from_an_absent_server() {
    assert_eq!(cofferdam(&["tusk", "list"], b"").status.code(), Some(2));
    let absent = cofferdam(&["--server", "http://127.0.0.1:9", "task", "list"], b"");
    assert_eq!(absent.status.code(), Some(3), "{}", text(&absent.stderr));
    // The message says which server is absent, and how to start one.
    for part in ["http://127.0.0.1:9", "cofferdam serve", "--server"] {
        assert!(
            text(&absent.stderr).contains(part),
            "{}",
            text(&absent.stderr)
        );
    }
    assert_eq!(text(&absent.stderr).lines().count(), 1);
    for (address, way_out) in [
        ("127.0.0.1:80", "http://127.0.0.1:80"),
        ("localhost:8080", "http://localhost:8080"),
        ("nonsense", "http://"),
        ("ftp://host", "http://"),
        ("http://", "names a host"),
        ("", "http://"),
    ] {
        let nowhere = cofferdam(&["--server", address, "task", "list"], b"");
        let said = text(&nowhere.stderr);
        assert_eq!(nowhere.status.code(), Some(2), "{address}: {said}");
        assert!(said.contains(way_out), "{address}: {said}");
    }
    let help = text(&cofferdam(&["--help"], b"").stdout);
    for code in [
        "0  done",
        "1  the task failed",
        "2  the command line",
        "3  the server",
    ] {
        assert!(help.contains(code), "{help}");
    }
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("c.toml");
    std::fs::write(&file, "[limits]\ntimeout = 5\n[queue]\nslots = -1\n").unwrap();
    let refused = cofferdam(
        &["check-config", "--config", &file.display().to_string()],
        b"",
    );
    assert_eq!(refused.status.code(), Some(2));
    // Every mistake is reported, not only the first.
    for part in ["limits.timeout_ms", "queue.slots is"] {
        assert!(
            text(&refused.stderr).contains(part),
            "{}",
            text(&refused.stderr)
        );
    }
}

#[test]
fn the_version_names_the_runtime() {
    let said = text(&cofferdam(&["--version"], b"").stdout);
    assert!(
        said.starts_with(concat!("cofferdam ", env!("CARGO_PKG_VERSION"), " (")),
        "{said}"
    );
    assert!(said.contains("wasmtime 48."), "{said}");
}

#[test]
fn the_effective_configuration_and_completions_are_printed() {
    let output = cofferdam(&["check-config"], b"");
    assert!(output.status.success());
    let printed = text(&output.stdout);
    assert!(
        printed.contains("timeout_ms = 30000") && printed.contains("[ceilings]"),
        "{printed}"
    );
    let output = cofferdam(&["completions", "bash"], b"");
    assert!(text(&output.stdout).contains("cofferdam"));
}

#[test]
fn an_unreadable_configuration_is_an_error() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("cofferdam.toml"), b"# caf\xe9\n").unwrap();
    let data = folder.path().display().to_string();
    let refused = cofferdam(&["check-config", "--data", &data], b"");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("cofferdam.toml"));

    // A variable of another program is ignored, whatever its value is.
    let check = |name: &str| {
        Command::new(program())
            .arg("check-config")
            .env(name, OsStr::from_bytes(b"\xff"))
            .output()
            .unwrap()
    };
    assert!(check("SOMEBODY_ELSES").status.success());
    let refused = check("COFFERDAM_LOG_LEVEL");
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("COFFERDAM_LOG_LEVEL"));
}

#[test]
fn a_guest_that_waits_for_input_ends_at_its_timeout() {
    let read = guests::root().join("tests/guests/read-stdin.wat");
    let began = std::time::Instant::now();
    let mut child = Command::new(program())
        .args(["run", "--timeout", "300ms"])
        .arg(read)
        // It is kept open: it neither gives a byte nor ends.
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("timeout") && said.contains("300 ms"),
        "{said}"
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    drop(open);
}

/// More than a host takes into memory, and than an output may have by default.
const LARGE_BYTES: usize = 4_200_000;

#[test]
fn a_large_input_is_the_same_here_and_on_a_server() {
    let host = Host::start();
    let folder = tempfile::TempDir::new().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let raw: Vec<u8> = (0..LARGE_BYTES).map(|n| n.to_le_bytes()[0]).collect();
    let raw_file = file("raw", &raw);
    let rows: String = (0..340_000).map(|n| format!("{n},name\\n")).collect();
    let json =
        format!(r#"{{"from": "csv", "to": "csv", "select": ["id"], "text": "id,name\n{rows}"}}"#);
    assert!(json.len() > LARGE_BYTES, "{}", json.len());
    let json_file = file("json", json.as_bytes());
    let wrong = file("wrong", json.replacen("\"csv\"", "\"tsvx\"", 1).as_bytes());
    for module in ["echo", "transform"] {
        host.client
            .put_module(module, &guests::built(module))
            .expect(201);
    }
    let both = |module: &str, flags: &[&str]| {
        let path = guest(module);
        let here = cofferdam(&[&["run"], flags, &[path.as_str()]].concat(), b"");
        let server = [
            "--server",
            host.client.base.as_str(),
            "task",
            "submit",
            module,
        ];
        let there = cofferdam(&[&server[..], flags, &["--wait"]].concat(), b"");
        [here, there]
    };
    let raw_flags = [
        "--content-type",
        "application/octet-stream",
        "--input",
        &raw_file,
    ];
    for output in both("echo", &[&raw_flags[..], &["--output", "8MiB"]].concat()) {
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(output.stdout == raw, "{} bytes", output.stdout.len());
    }
    // It is the output that is limited then, and that is said.
    for output in both("echo", &raw_flags) {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("output_exceeded"));
    }
    let [here, there] = both("transform", &["--input", &json_file]);
    assert!(here.status.success(), "{}", text(&here.stderr));
    assert_eq!(text(&here.stdout).lines().count(), 340_001);
    assert!(here.stdout == there.stdout, "{}", text(&there.stderr));
    for output in both("transform", &["--input", &wrong]) {
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stderr).contains("/from"),
            "{}",
            text(&output.stderr)
        );
    }
}
