//! Code execution: the real interpreters behind the real binary.

mod corpus;
mod files;
mod hostile;
mod limits;
mod scripts;
mod semantics;
mod tasks;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::host::Host;

/// How long compiling both interpreters may take on a slow machine.
const WARM_UP: Duration = Duration::from_secs(300);

/// A host whose interpreters are ready. They are built by `cargo xtask interpreters`.
pub(crate) fn ready(config: &str) -> Host {
    let host = Host::with_config(config);
    let until = Instant::now() + WARM_UP;
    loop {
        let interpreters = host.client.get("/readyz").expect(200).json()["interpreters"].clone();
        let of = |language: &str| interpreters[language].as_str().expect("a word").to_owned();
        match (of("python").as_str(), of("javascript").as_str()) {
            ("ready", "ready") => return host,
            ("not_installed" | "failed", _) | (_, "not_installed" | "failed") => {
                panic!("{interpreters}: run cargo xtask interpreters first")
            }
            _ => {}
        }
        assert!(Instant::now() < until, "the interpreters took too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs code and gives the answer.
pub(crate) fn exec(host: &Host, request: &Value) -> Value {
    host.client.post("/v1/exec", request).expect(200).json()
}

/// Runs Python code.
pub(crate) fn python(host: &Host, code: &str) -> Value {
    exec(host, &json!({"language": "python", "code": code}))
}

/// Runs JavaScript code.
pub(crate) fn javascript(host: &Host, code: &str) -> Value {
    exec(host, &json!({"language": "javascript", "code": code}))
}
