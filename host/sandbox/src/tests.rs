//! Hostile guests against every limit, and well-behaved ones. Each guest is a file under
//! `tests/guests/` and ends with its own failure kind, with its figures, soon after its limit.

mod commands;
mod concurrency;
mod cpu;
mod disk;
mod given_up;
mod memory;
mod tasks;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::Module;
use wasmtime::component::Component;

use super::*;
use crate::control::Observer;
use cofferdam_domain::attempt::{FailureKind, Stream};
use cofferdam_domain::limits::MIB;
use cofferdam_domain::memory::Share;

/// How long after its limit a guest may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// A sandbox and modules for it.
struct Rig {
    sandbox: Sandbox,
    data: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut SandboxConfig)) -> Rig {
        let mut config = SandboxConfig {
            instances_max: 16,
            memory_budget_bytes: 4096 * MIB,
            compiles_reserved_bytes: 0,
            ..SandboxConfig::default()
        };
        change(&mut config);
        let data = tempfile::tempdir().unwrap();
        let memory = crate::memory::budget(&config, Share::NONE);
        let sandbox = Sandbox::new(&config, memory, data.path(), 1, Clock::system());
        Rig {
            sandbox: sandbox.unwrap(),
            data,
        }
    }

    /// A guest by its file name, compiled in this process.
    fn load(&self, file: &str, class: EngineClass) -> Arc<LoadedModule> {
        let text = guest(file);
        let linked = self.sandbox.shared.engines.of(class);
        let is_task = text.contains("cofferdam:task/handler");
        let wasm = wat::parse_str(&text).unwrap();
        let loaded = if text.contains("(component\n") {
            let kind = if is_task {
                ModuleKind::Task
            } else {
                ModuleKind::Command
            };
            let component = Component::new(&linked.engine, wasm).unwrap();
            LoadedModule::link_component(linked, &component, class, kind)
        } else {
            LoadedModule::link_core(linked, &Module::new(&linked.engine, wasm).unwrap(), class)
        };
        Arc::new(loaded.unwrap())
    }

    /// Runs a guest and checks that it leaves nothing behind.
    async fn run(&self, file: &str, change: impl FnOnce(&mut Run)) -> Report {
        let mut run = a_run();
        change(&mut run);
        let module = self.load(file, EngineClass::for_limits(&run.spec.limits));
        let report = self.sandbox.start(module, run).await.unwrap();
        self.assert_empty();
        report
    }

    /// Runs a guest that must fail, and returns the failure.
    async fn fail(&self, file: &str, change: impl FnOnce(&mut Run)) -> Failure {
        failure(self.run(file, change).await)
    }

    fn assert_empty(&self) {
        let occupancy = self.sandbox.occupancy();
        assert_eq!((occupancy.slots_used, occupancy.memory_used_bytes), (0, 0));
        for class in EngineClass::ALL {
            let pool = self
                .sandbox
                .shared
                .engines
                .of(class)
                .engine
                .pooling_allocator_metrics();
            // Without room for a pool nothing can leak into it.
            let Some(pool) = pool else { continue };
            assert_eq!((pool.core_instances(), pool.component_instances()), (0, 0));
            assert_eq!((pool.memories(), pool.tables(), pool.stacks()), (0, 0, 0));
        }
    }
}

/// The text of a guest. A file that has only a core module is the core of a task module; the
/// component around it is that of `echo.wat`.
fn guest(file: &str) -> String {
    let read = |file: &str| {
        let path = format!("{}/../../tests/guests/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let text = read(file);
    if !text.contains("(core module $code") || text.contains("(component\n") {
        return text;
    }
    let outside = read("echo.wat");
    let begin = outside.find("  (core module $code").unwrap();
    let end = outside.find("  (core instance $guest").unwrap();
    format!("{}{text}{}", &outside[..begin], &outside[end..])
}

/// A run with nothing granted and short limits.
fn a_run() -> Run {
    Run {
        spec: RunSpec {
            program: "guest".to_owned(),
            input: GuestInput::Inline(payload(b"")),
            args: Vec::new(),
            env: Vec::new(),
            files: Vec::new(),
            limits: Limits {
                timeout: Duration::from_secs(20),
                ..Limits::DEFAULT
            },
            dirs: Vec::new(),
            identity: Identity::default(),
        },
        attachments: Attachments::default(),
    }
}

fn payload(body: &[u8]) -> Payload {
    Payload {
        content_type: "application/json".into(),
        body: Bytes::copy_from_slice(body),
    }
}

fn failure(report: Report) -> Failure {
    match report.outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Completed(_) => panic!("the guest completed"),
    }
}

fn output(report: Report) -> Payload {
    match report.outcome {
        Outcome::Completed(output) => output,
        Outcome::Failed(failure) => panic!("the guest failed: {failure:?}"),
    }
}

/// Hears everything.
#[derive(Default)]
struct Ear {
    progress: Mutex<Vec<f64>>,
    wrote_bytes: Mutex<[usize; 3]>,
}

impl Observer for Ear {
    fn progress(&self, fraction: f64, _: &str) {
        self.progress.lock().unwrap().push(fraction);
    }

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        self.wrote_bytes.lock().unwrap()[stream as usize] += bytes.len();
    }
}
