//! A client generated from `/openapi.json`, as an application would use it: the host does what the
//! document says, in a form that generators understand.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guests;
use crate::support::host::Host;

/// A program of the peers.
fn peer(name: &str) -> Command {
    let program = guests::root().join("target/peers-venv/bin").join(name);
    assert!(
        program.exists(),
        "there is no {}; `cargo xtask peers` installs it",
        program.display()
    );
    Command::new(program)
}

#[test]
fn a_generated_client_uploads_runs_submits_and_cancels() {
    let host = Host::start();
    let folder = TempDir::new().unwrap();
    let document = folder.path().join("openapi.json");
    std::fs::write(&document, host.client.get("/openapi.json").expect(200).body).unwrap();
    let config = folder.path().join("config.yml");
    std::fs::write(&config, "post_hooks: []\n").unwrap();
    let generated = peer("python")
        .args(["-m", "openapi_python_client", "generate", "--meta", "none"])
        .arg("--path")
        .arg(&document)
        .arg("--config")
        .arg(&config)
        .arg("--output-path")
        .arg(folder.path().join("cofferdam_client"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&generated.stdout).into_owned();
    assert!(
        generated.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&generated.stderr)
    );
    assert!(!said.contains("will not be generated"), "{said}");

    let used = peer("python")
        .arg(guests::root().join("tests/it/api_client.py"))
        .arg(&host.client.base)
        .arg(guests::built_path("primes"))
        .env("PYTHONPATH", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&used.stderr);
    assert!(used.status.success(), "{said}");
    let seen: Value = serde_json::from_slice(&used.stdout).unwrap();
    let expected = json!({
        "put": [201, "math/primes", "task"],
        "modules": ["math/primes"],
        "digest_is_the_same": true,
        "bytes_are_the_same": true,
        "run": 25,
        "task": ["completed", "completed"],
        "result": 25,
        "cancelled": "cancelled",
        "listed": 2,
        "missing": [404, "task_not_found"],
    });
    assert_eq!(seen, expected);
}
