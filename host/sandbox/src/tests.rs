//! Hostile guests against every limit, and well-behaved ones. Each guest is a file under
//! `tests/guests/` and ends with its own failure kind, with its figures, soon after its limit.

/// Makes three tests of each of these: with the guest in this process, in another one, and without checks in
/// one that it has for itself.
macro_rules! everywhere {
    ($($name:ident),* $(,)?) => {
        mod shared {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Isolation::Shared).await;
            })*
        }

        mod process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Isolation::Process).await;
            })*
        }

        mod dedicated {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Isolation::Dedicated).await;
            })*
        }
    };
}

mod commands;
mod concurrency;
mod cpu;
mod dedicated;
mod disk;
mod given_up;
mod memory;
mod processes;
mod tasks;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;
use crate::cache::VerifiedCode;
use crate::control::Observer;
use bytes::Bytes;
use cofferdam_domain::attempt::{FailureKind, Stream};
use cofferdam_domain::limits::MIB;
use cofferdam_domain::memory::Share;

/// How long after its limit a guest may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// A sandbox and modules for it.
struct Rig {
    at: Isolation,
    sandbox: Sandbox,
    data: tempfile::TempDir,
}

impl Rig {
    fn new(at: Isolation) -> Rig {
        Rig::with(at, |_| {})
    }

    fn with(at: Isolation, change: impl FnOnce(&mut SandboxConfig)) -> Rig {
        let mut config = SandboxConfig {
            instances_max: 16,
            memory_budget_bytes: 4096 * MIB,
            compiles_reserved_bytes: 0,
            processes: 1,
            ..SandboxConfig::default()
        };
        change(&mut config);
        let data = tempfile::tempdir().unwrap();
        let memory = crate::memory::budget(&config, Share::NONE);
        let sandbox = Sandbox::new(
            &config,
            memory,
            data.path(),
            1,
            Clock::system(),
            Some(processes::program()),
        );
        Rig {
            at,
            sandbox: sandbox.unwrap(),
            data,
        }
    }

    /// A guest by its file name, compiled in this process; without checks if it has a process for itself.
    fn load(&self, file: &str, class: EngineClass) -> Arc<LoadedModule> {
        let class = match (class, self.at) {
            (EngineClass::Fast, Isolation::Dedicated) => EngineClass::Unchecked,
            (class, Isolation::Shared | Isolation::Process | Isolation::Dedicated) => class,
        };
        self.load_for(file, class)
    }

    /// The same for this very class.
    fn load_for(&self, file: &str, class: EngineClass) -> Arc<LoadedModule> {
        let text = guest(file);
        let engine = &self.sandbox.shared.engines.of(class).engine;
        let wasm = wat::parse_str(&text).unwrap();
        let (kind, code) = if text.contains("(component\n") {
            let kind = match text.contains("cofferdam:task/handler") {
                true => ModuleKind::Task,
                false => ModuleKind::Command,
            };
            (kind, engine.precompile_component(&wasm).unwrap())
        } else {
            (
                ModuleKind::CoreCommand,
                engine.precompile_module(&wasm).unwrap(),
            )
        };
        let mut kept = tempfile::NamedTempFile::new_in(self.data.path()).unwrap();
        std::io::Write::write_all(&mut kept, &code).unwrap();
        let path = kept.into_temp_path().keep().unwrap();
        let code = VerifiedCode::of_test(&path, class);
        self.sandbox.load(&code, kind).unwrap()
    }

    /// Runs a guest and checks that it leaves nothing behind.
    async fn run(&self, file: &str, change: impl FnOnce(&mut Run)) -> Report {
        let mut run = a_run(self.at);
        change(&mut run);
        let module = self.load(
            file,
            EngineClass::of_run(&run.spec.limits, run.spec.isolation),
        );
        let report = self.sandbox.start(module, run).await.unwrap();
        self.assert_empty().await;
        report
    }

    /// Runs a guest that must fail, and returns the failure.
    async fn fail(&self, file: &str, change: impl FnOnce(&mut Run)) -> Failure {
        failure(self.run(file, change).await)
    }

    async fn assert_empty(&self) {
        let in_use = || {
            let occupancy = self.sandbox.occupancy();
            (occupancy.slots_used, occupancy.memory_used_bytes)
        };
        // A guest in another process is gone a moment after whoever waited for it.
        let until = Instant::now() + GRACE;
        while self.at != Isolation::Shared && in_use() != (0, 0) && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(in_use(), (0, 0));
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

    /// Waits until the directories of all runs are gone.
    async fn assert_no_files(&self) {
        let homes = self
            .sandbox
            .processes()
            .map_or(0, |processes| processes.live);
        let homes = usize::try_from(homes).unwrap();
        self.sandbox.shared.scratch.wait_until_removed(homes).await;
        let names = |dir: &Path| {
            let entries = std::fs::read_dir(dir).unwrap();
            let names = entries.map(|entry| entry.unwrap().path());
            // What guests see that have no files.
            let names = names.filter(|path| !path.ends_with(".empty"));
            names.collect::<Vec<_>>()
        };
        let (homes, left): (Vec<_>, Vec<_>) = names(&self.data.path().join(SCRATCH_DIR))
            .into_iter()
            .partition(|path| path.join("given").exists());
        assert!(left.is_empty(), "{left:?}");
        // A process removes what a run that never began had made, a moment after it said so.
        let until = Instant::now() + GRACE;
        for dir in homes
            .iter()
            .flat_map(|home| [home.join("runs"), home.join("given")])
        {
            while !names(&dir).is_empty() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let left = names(&dir);
            assert!(left.is_empty(), "{left:?}");
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
fn a_run(isolation: Isolation) -> Run {
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
            outward: Default::default(),
            isolation,
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
