//! JavaScript that uses much of Node: it prints what Node prints, and ends with Node's exit code.
//!
//! Each program runs in its own directory, natively and in the sandbox. Beside a program,
//! `NAME.in` is its standard input.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::corpus::programs;
use super::{exec, ready};
use crate::support::host::Host;

struct Ended {
    stdout: String,
    exit_code: i32,
}

/// Node's output for a program, which has the same name as in the sandbox.
fn native(file: &Path, input: &Path) -> Ended {
    let folder = TempDir::new().unwrap();
    let extension = file.extension().unwrap().to_str().unwrap();
    let main = folder.path().join("main").with_extension(extension);
    std::fs::copy(file, &main).unwrap();
    let stdin = File::open(input).map_or_else(|_| Stdio::null(), Stdio::from);
    let output = Command::new("node")
        .arg(&main)
        .current_dir(folder.path())
        .stdin(stdin)
        .output()
        .expect("node is needed for these tests");
    Ended {
        stdout: String::from_utf8(output.stdout).unwrap(),
        exit_code: output.status.code().unwrap(),
    }
}

/// The difference between the two, if there is one.
fn compare(host: &Host, file: &Path) -> Option<String> {
    let input = file.with_extension("in");
    let code = std::fs::read_to_string(file).unwrap();
    let stdin = std::fs::read_to_string(&input).unwrap_or_default();
    let request = json!({"language": "javascript", "code": code, "stdin": stdin});
    let answer = exec(host, &request);
    let expected = native(file, &input);
    let same = answer["stdout"] == expected.stdout && answer["exit_code"] == expected.exit_code;
    (!same).then(|| {
        format!(
            "{}: {}\n--- here ({})\n{}--- native ({})\n{}",
            file.display(),
            answer["error"],
            answer["exit_code"],
            answer["stdout"].as_str().unwrap(),
            expected.exit_code,
            expected.stdout
        )
    })
}

#[test]
fn programs_for_node_do_what_they_do_there() {
    let host = ready("");
    let files = [programs("node", "js"), programs("node", "mjs")].concat();
    assert!(files.len() >= 25, "{}", files.len());
    let differ: Vec<String> = files
        .iter()
        .filter_map(|file| compare(&host, file))
        .collect();
    assert!(
        differ.is_empty(),
        "{} differ:\n{}",
        differ.len(),
        differ.join("\n")
    );
}

/// Node would lose a line that arrives before its question; here it is kept.
#[test]
fn questions_are_answered_by_the_lines_of_standard_input() {
    let host = ready("");
    let code = "const rl = require('readline/promises').createInterface({ input: process.stdin });\n\
                const a = await rl.question('a? '), b = await rl.question('b? ');\n\
                rl.close();\n[a, b]";
    let request = json!({"language": "javascript", "code": code, "stdin": "x\ny\n"});
    assert_eq!(exec(&host, &request)["result"], json!(["x", "y"]));
}

#[test]
fn what_a_sandbox_lacks_is_refused_in_one_sentence() {
    let host = ready("");
    for (code, says) in [
        ("require('child_process')", "starts no other processes"),
        ("require('worker_threads')", "one thread"),
        (
            "import https from 'node:https'",
            "give it the data in `files`",
        ),
        (
            "await fetch('https://example.com')",
            "give it the data in `files`",
        ),
        (
            "new WebSocket('wss://example.com')",
            "give it the data in `files`",
        ),
        ("require('lodash')", "no npm packages"),
        ("import _ from 'lodash'", "no npm packages"),
        ("require('zlib')", "'zlib'"),
        ("require('fs').watch('.', () => {})", "fs.watch"),
        (
            "require('crypto').createCipheriv('aes', '', '')",
            "no ciphers",
        ),
        ("process.kill(1)", "no other processes"),
        (
            "new Intl.RelativeTimeFormat('en')",
            "Intl.RelativeTimeFormat",
        ),
        ("new Date().toLocaleString('fr-FR')", "\"fr-FR\""),
        (
            "new Date().toLocaleString('en', { timeZone: 'Asia/Tokyo' })",
            "Asia/Tokyo",
        ),
        ("'a'.localeCompare('b', 'sv')", "\"sv\""),
        (
            "(1).toLocaleString('en', { style: 'unit', unit: 'liter' })",
            "unit",
        ),
    ] {
        let answer = super::javascript(&host, code);
        let error = &answer["error"];
        assert_eq!(error["kind"], "guest_error", "{code}: {answer}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{code}: {message}");
        assert!(!message.contains('\n'), "{code}: {message}");
        let traceback = error["traceback"].as_str().unwrap();
        assert!(traceback.contains("main.js:1:"), "{code}: {traceback}");
    }
}
