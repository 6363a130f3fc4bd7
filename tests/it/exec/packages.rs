//! Malicious wheels. The guest that imports them reads them under its own limits: it gets an answer
//! that says what is wrong, and others are not affected.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{exec, ready};
use crate::support::host::Host;

/// Writes the wheels into a folder.
const SCRIPT: &str = include_str!("hostile_wheels.py");

fn host(wheels: &Path) -> Host {
    let made = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(wheels)
        .status();
    assert!(made.expect("python3 is needed for this test").success());
    ready(&format!("[interpreters]\npackages = {wheels:?}\n"))
}

/// Imports a package, which is the only one on offer to this run.
fn import(host: &Host, package: &str) -> Value {
    let code = format!("import {package}\n{package}.x");
    let request = json!({"language": "python", "code": code, "packages": [package]});
    exec(host, &request)
}

#[test]
fn hostile_wheels_fail_the_run_that_asks_for_them() {
    let wheels = tempfile::tempdir().unwrap();
    let host = host(wheels.path());
    for (package, kind, says) in [
        // A module that unpacks to 1 GiB.
        ("bomb", "memory_exceeded", ""),
        // Names that lead elsewhere are not found.
        ("climber", "guest_error", "has no attribute 'x'"),
        ("absolute", "guest_error", "absolute is not available here"),
        // A link is read as its text.
        ("linked", "guest_error", "SyntaxError"),
        ("crowd", "guest_error", "has no attribute 'x'"),
        (
            "native",
            "guest_error",
            "native-1.0-py3-none-any.whl has it as native code",
        ),
        (
            "cut",
            "guest_error",
            "cut-1.0-py3-none-any.whl cannot be read",
        ),
        (
            "noise",
            "guest_error",
            "noise-1.0-py3-none-any.whl cannot be read",
        ),
        (
            "empty",
            "guest_error",
            "empty-1.0-py3-none-any.whl cannot be read",
        ),
        // A link out of the folder, a pipe without a writer, and a folder.
        (
            "away",
            "guest_error",
            "away-1.0-py3-none-any.whl cannot be read",
        ),
        (
            "pipe",
            "guest_error",
            "pipe-1.0-py3-none-any.whl cannot be read",
        ),
        (
            "folder",
            "guest_error",
            "folder-1.0-py3-none-any.whl cannot be read",
        ),
    ] {
        let answer = import(&host, package);
        assert_eq!(answer["error"]["kind"], kind, "{package}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{package}: {message}");
        assert_eq!(answer["files"], json!({}), "{package}: {answer}");
        assert_eq!(import(&host, "good")["result"], 1, "after {package}");
    }
    // It is the same if all of them are on offer.
    let all = json!({"language": "python", "code": "import good\ngood.x"});
    assert_eq!(exec(&host, &all)["result"], 1);
}

#[test]
fn the_languages_are_listed_with_their_versions_and_packages() {
    let wheels = tempfile::tempdir().unwrap();
    let listed = |host: &Host| {
        let list = host.client.get("/v1/interpreters").expect(200).json();
        let [python, javascript] = list["items"].as_array().unwrap().as_slice() else {
            panic!("{list}");
        };
        [python.clone(), javascript.clone()]
    };
    let [python, javascript] = listed(&host(wheels.path()));
    assert_eq!(python["language"], "python");
    assert_eq!(python["state"], "ready");
    let version = python["version"].as_str().unwrap();
    assert!(version.starts_with("CPython 3."), "{version}");
    let packages: Vec<&Value> = python["packages"].as_array().unwrap().iter().collect();
    assert!(packages.contains(&&json!("bomb")), "{packages:?}");
    assert!(javascript["version"].as_str().unwrap().contains("QuickJS"));
    assert_eq!(javascript["packages"], json!([]));
    for language in listed(&Host::start()) {
        assert_eq!(language["state"], "not_installed", "{language}");
        assert_eq!(language["version"], Value::Null);
    }
}
