//! Files that come with code and files that it leaves.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{exec, python, ready};
use crate::support::guests;
use crate::support::host::Host;

#[test]
fn files_come_in_and_what_changed_comes_out() {
    let host = ready("");
    let answer = exec(
        &host,
        &json!({
            "language": "python",
            "code": "import os\nos.makedirs('out/deep')\nopen('out/deep/sum é.txt', 'w').write(open('a.csv').read() * 2)\nopen('b.bin', 'ab').write(b'!')\nsorted(os.listdir())",
            "files": {"a.csv": "1,2\n", "b.bin": {"base64": "AP8="}},
        }),
    );
    assert_eq!(
        answer["result"],
        json!(["a.csv", "b.bin", "out"]),
        "{answer}"
    );
    let files = answer["files"].as_object().unwrap();
    let names: Vec<&String> = files.keys().collect();
    assert_eq!(names, ["b.bin", "out/deep/sum é.txt"]);
    let get = |name: &str| {
        let url = files[name]["url"].as_str().unwrap();
        host.client.get(url).expect(200).body
    };
    assert_eq!(get("b.bin"), [0, 255, b'!']);
    assert_eq!(get("out/deep/sum é.txt"), b"1,2\n1,2\n");
    let url = files["b.bin"]["url"].as_str().unwrap();
    let folder = url.strip_suffix("b.bin").unwrap();
    host.client
        .get(&format!("{folder}a.csv"))
        .expect_problem(404, "artifact_not_found");
    host.client
        .get(&format!("{folder}..%2F..%2Fcofferdam.db"))
        .expect(400);
}

#[test]
fn files_are_kept_for_their_time_only() {
    let host = ready("[interpreters]\nfiles_retention_ms = 1000\n");
    let answer = python(&host, "open('x', 'w').write('y')");
    let url = answer["files"]["x"]["url"].as_str().unwrap().to_owned();
    let gone = || {
        host.client
            .try_send("GET", &url, &[], b"")
            .is_ok_and(|answer| answer.status == 404)
    };
    let until = Instant::now() + Duration::from_secs(30);
    while !gone() {
        assert!(Instant::now() < until, "the file is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn wheels_of_the_operator_can_be_imported() {
    let wheels = tempfile::tempdir().unwrap();
    let script = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n    z.writestr('greeter/__init__.py', 'def hello(): return \"hello\"')\n    z.writestr('greeter-1.0.dist-info/METADATA', 'Name: greeter')\n";
    let wheel = wheels.path().join("greeter-1.0-py3-none-any.whl");
    let made = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&wheel)
        .status();
    assert!(made.expect("python3 is needed for this test").success());
    let host = ready(&format!("[interpreters]\npackages = {:?}\n", wheels.path()));
    let code = "import greeter\ngreeter.hello()";
    assert_eq!(
        python(&host, code)["result"],
        "hello",
        "{}",
        python(&host, code)
    );
    let named = exec(
        &host,
        &json!({"language": "python", "code": code, "packages": ["greeter"]}),
    );
    assert_eq!(named["result"], "hello");
    let none = exec(
        &host,
        &json!({"language": "python", "code": code, "packages": []}),
    );
    let message = none["error"]["message"].as_str().unwrap();
    assert!(message.contains("greeter"), "{message}");
    let write = python(&host, "open('/packages/x', 'w')");
    assert_eq!(write["status"], "failed");
}

/// Leaves a file with two names, one 33 folders deep, one with a backslash in its name, one in
/// `/out`, and entries that cannot come back: a symbolic link and a path of 1,252 bytes.
const LEAVE_ODD_FILES: &str = r"
import os
open('one', 'w').write('twice')
os.link('one', 'two')
deep = '/'.join(['d'] * 33)
os.makedirs(deep)
open(deep + '/f', 'w').write('deep')
open('back\\slash.txt', 'w').write('slash')
open('/out/a.txt', 'w').write('out')
os.symlink('one', 'link')
long = '/'.join(['n' * 249] * 5)
os.makedirs(long)
open(long + '/f', 'w').write('lost')
";

fn odd_files() -> Vec<(String, &'static str)> {
    let deep = format!("{}f", "d/".repeat(33));
    [
        ("a.txt", "out"),
        (r"back\slash.txt", "slash"),
        (&deep, "deep"),
        ("one", "twice"),
        ("two", "twice"),
    ]
    .map(|(name, content)| (name.to_owned(), content))
    .to_vec()
}

#[test]
fn files_that_code_leaves_come_back_or_are_counted() {
    let host = ready("");
    let left_out = json!({"symbolic_links": 1, "long_paths": 1});
    let expect = |answer: &Value| {
        assert_eq!(answer["files_left_out"], left_out, "{answer}");
        let files = answer["files"].as_object().unwrap();
        let expected = odd_files();
        let names: Vec<_> = expected.iter().map(|(name, _)| name).collect();
        assert_eq!(files.keys().collect::<Vec<_>>(), names, "{answer}");
        for (name, content) in &expected {
            let url = files[name]["url"].as_str().unwrap();
            assert_eq!(host.client.get(url).expect(200).text(), *content, "{name}");
        }
    };
    expect(&python(&host, LEAVE_ODD_FILES));

    let open = |request: &Value| {
        let session = host.client.post("/v1/sessions", request).expect(201).json();
        format!("/v1/sessions/{}", session["session_id"].as_str().unwrap())
    };
    let run = |path: &str, code: &str| {
        let answer = host
            .client
            .post(&format!("{path}/exec"), &json!({"code": code}));
        answer.expect(200).json()
    };
    let path = open(&json!({"language": "python"}));
    expect(&run(&path, LEAVE_ODD_FILES));
    expect(&host.client.get(&format!("{path}/files")).expect(200).json());
    let snapshot = host.client.post(&format!("{path}/snapshot"), &json!({}));
    let snapshot = snapshot.expect(201).json();
    expect(&snapshot);
    let path = open(&json!({"language": "python", "snapshot": snapshot["snapshot"]}));
    let code = r"[open(n).read() for n in ['back\\slash.txt', 'd/' * 33 + 'f', 'two', 'a.txt']]";
    let answer = run(&path, code);
    assert_eq!(
        answer["result"],
        json!(["slash", "deep", "twice", "out"]),
        "{answer}"
    );
}

#[test]
fn empty_files_count_against_the_budget() {
    let host = ready("[storage]\nfiles_budget_bytes = 1048576\n");
    let make = |files: u32| {
        let code = format!("for n in range({files}): open(str(n), 'w').close()");
        let request = json!({"language": "python", "code": code});
        host.client.post("/v1/exec", &request)
    };
    make(100).expect(200);
    make(100).expect(200);
    make(100).expect_problem(507, "storage_full");
    make(20).expect(200);
}

/// Requests that are given up.
const LEAVERS: u64 = 40;

#[test]
fn requests_given_up_leave_the_budget_equal_to_the_disk() {
    let host = ready("[http]\ninline_body_bytes = 1024\n");
    host.client
        .put_module("echo", &guests::built("echo"))
        .expect(201);
    let address = host.client.base.strip_prefix("http://").unwrap();
    let input = vec![b'x'; 100_000];
    let code = "for n in range(20): open(str(n), 'w').write('x' * 9000)";
    let code = json!({"language": "python", "code": code}).to_string();
    for number in 0..LEAVERS {
        let (path, kind, body) = match number % 2 {
            0 => (
                "/v1/tasks?module=echo",
                "application/octet-stream",
                &input[..],
            ),
            _ => ("/v1/exec", "application/json", code.as_bytes()),
        };
        let mut stream = TcpStream::connect(address).unwrap();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n");
        write!(stream, "{head}Content-Length: {length}\r\n\r\n").unwrap();
        let sent = if number % 8 == 0 { length / 2 } else { length };
        stream.write_all(&body[..sent]).unwrap();
        // Each is dropped at a different moment: while it is read, while it runs, while its files
        // are kept.
        std::thread::sleep(Duration::from_millis(number * 3));
    }
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (told, found) = (files_bytes(&host), occupied(&host));
        if told == found && host.footprint().scratch() == 0 && unfinished(&host) == 0 {
            println!("{told} bytes are kept");
            break;
        }
        assert!(
            Instant::now() < until,
            "{told} are counted, {found} are there"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn files_bytes(host: &Host) -> u64 {
    let text = host.client.get("/metrics").expect(200).text();
    let mut lines = text.lines();
    let line = lines.find(|line| line.starts_with("cofferdam_files_bytes "));
    let figure = line.and_then(|line| line.split(' ').nth(1));
    figure.expect("the metric is there").parse().unwrap()
}

/// The blocks of files and folders in the three places, without the folders of tasks.
fn occupied(host: &Host) -> u64 {
    let below = |name: &str| walk(&host.data().join(name));
    let tasks = std::fs::read_dir(host.data().join("artifacts")).unwrap();
    below("spool") + below("executions") + below("artifacts") - 4096 * tasks.count() as u64
}

fn walk(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        sum += match entry.metadata() {
            Ok(found) if found.is_dir() => 4096 + walk(&entry.path()),
            Ok(found) => found.len().div_ceil(4096).max(1) * 4096,
            Err(_) => 0,
        };
    }
    sum
}

fn unfinished(host: &Host) -> usize {
    let spool = std::fs::read_dir(host.data().join("spool")).unwrap();
    let is_part = |path: &Path| path.extension().is_some();
    spool.flatten().filter(|it| is_part(&it.path())).count()
}
