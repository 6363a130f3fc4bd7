//! Code execution: the real interpreters behind the real binary.

mod corpus;
mod declarations;
mod dying;
mod ends;
mod files;
mod habits;
mod hostile;
mod javascript;
mod limits;
mod lines;
mod node;
mod packages;
mod process;
mod scripts;
mod semantics;
mod sessions;
mod tasks;
mod values;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::host::Host;

/// How long compiling both interpreters may take on a slow machine.
pub(crate) const WARM_UP: Duration = Duration::from_secs(300);

/// A host whose interpreters are ready. They are built by `cargo xtask interpreters`, and compiled
/// once for all tests of one build.
pub(crate) fn ready(config: &str) -> Host {
    let data = TempDir::new().expect("a temporary directory");
    copy_compiled(&data.path().join("compiled"));
    let host = Host::over(data, config);
    wait_until_ready(&host);
    host
}

/// Makes a directory of the interpreters, compiled.
pub(crate) fn copy_compiled(into: &Path) {
    std::fs::create_dir_all(into).expect("a new directory");
    for entry in std::fs::read_dir(compiled()).expect("compiled once") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file has a name");
        std::fs::copy(&path, into.join(name)).expect("a copy");
    }
}

/// The directory of compiled code that the first test makes for all.
fn compiled() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = folder.join(format!("compiled-{}", built_at().as_nanos()));
    let lock = File::create(folder.join("compiled.lock")).expect("a lock file");
    lock.lock().expect("the lock is free in time");
    if !target.exists() {
        let mut host = Host::over(TempDir::new().expect("a temporary directory"), "");
        wait_until_ready(&host);
        host.stop();
        for entry in std::fs::read_dir(folder).expect("readable").flatten() {
            if entry.file_name().to_string_lossy().starts_with("compiled-") {
                // It is from an earlier build.
                std::fs::remove_dir_all(entry.path()).expect("removable");
            }
        }
        let draft = folder.join("compiled.draft");
        if draft.exists() {
            std::fs::remove_dir_all(&draft).expect("removable");
        }
        std::fs::create_dir(&draft).expect("a new directory");
        let made = std::fs::read_dir(host.data().join("compiled")).expect("it compiled");
        for entry in made.flatten() {
            std::fs::copy(entry.path(), draft.join(entry.file_name())).expect("a copy");
        }
        std::fs::rename(&draft, &target).expect("a new name");
    }
    target
}

/// When the program or an interpreter was built last.
fn built_at() -> Duration {
    let program = crate::support::host::program();
    let modules = program.with_file_name("interpreters");
    let modules = ["python.wasm", "javascript.wasm"].map(|name| modules.join(name));
    let made = |path: &Path| std::fs::metadata(path).and_then(|about| about.modified());
    let newest = modules
        .iter()
        .filter_map(|module| made(module).ok())
        .chain([made(program).expect("the program")])
        .max();
    newest
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .expect("it was built after 1970")
}

pub(crate) fn wait_until_ready(host: &Host) {
    let until = Instant::now() + WARM_UP;
    loop {
        let interpreters = host.client.get("/readyz").expect(200).json()["interpreters"].clone();
        let of = |language: &str| interpreters[language].as_str().expect("a word").to_owned();
        match (of("python").as_str(), of("javascript").as_str()) {
            ("ready", "ready") => return,
            ("not_installed" | "failed", _) | (_, "not_installed" | "failed") => {
                panic!("{interpreters}: run cargo xtask interpreters first")
            }
            _ => {}
        }
        assert!(Instant::now() < until, "the interpreters took too long");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs code and returns the answer.
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
