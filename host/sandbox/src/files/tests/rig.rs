//! Runs a guest with files on either WASI version, as the sandbox does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::component::{Component, ResourceTable};
use wasmtime::{Engine, Module, Store};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::Command as CommandWorld;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::EngineClass;
use crate::engine::{EngineShape, engine_config};
use crate::files::*;
use crate::meter::Meter;
use crate::settings::OverQuota;

/// Which of the two interfaces a guest uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    P1,
    P2,
}

pub(super) const BOTH: [Road; 2] = [Road::P1, Road::P2];

pub(super) struct Rig {
    /// Removed with the test.
    pub(super) dir: tempfile::TempDir,
    pub(super) scratch: Scratch,
    engine: Engine,
}

/// How a run ended.
pub(super) struct Ended {
    pub(super) result: wasmtime::Result<()>,
    pub(super) output: String,
    pub(super) files: Files,
}

struct P2State {
    wasi: WasiCtx,
    table: ResourceTable,
    files: Files,
}

impl WasiView for P2State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl FilesView for P2State {
    fn files(&mut self) -> FilesCtxView<'_> {
        FilesCtxView {
            table: &mut self.table,
            files: &mut self.files,
        }
    }
}

struct P1State {
    wasi: WasiP1Ctx,
    files: Files,
}

impl P1FilesView for P1State {
    fn p1(&mut self) -> P1View<'_> {
        P1View {
            wasi: &mut self.wasi,
            files: &mut self.files,
        }
    }
}

impl Rig {
    pub(super) fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(&dir.path().join("scratch"), 7).unwrap();
        let shape = EngineShape {
            class: EngineClass::Fast,
            stack_bytes: 512 * 1024,
        };
        Rig {
            dir,
            scratch,
            engine: Engine::new(&engine_config(shape)).unwrap(),
        }
    }

    /// Runs a scenario of the guest program under a quota; it must end well.
    pub(super) async fn scenario(&self, road: Road, name: &str, quota: u64) -> Ended {
        let ended = self
            .run(
                road,
                &program(road),
                &[name, &quota.to_string()],
                plan(quota),
            )
            .await;
        if let Err(error) = &ended.result {
            panic!("{road:?} {name}: {error:?}\n{}", ended.output);
        }
        ended
    }

    pub(super) async fn run(
        &self,
        road: Road,
        wasm: &[u8],
        args: &[&str],
        plan: FilesPlan,
    ) -> Ended {
        let output = MemoryOutputPipe::new(1 << 20);
        let mut wasi = WasiCtxBuilder::new();
        wasi.arg("guest")
            .args(args)
            .stdout(output.clone())
            .stderr(output.clone());
        let files = Files::new(&self.scratch, plan, meter());
        let (result, files) = match road {
            Road::P1 => self.run_p1(wasm, wasi.build_p1(), files).await,
            Road::P2 => self.run_p2(wasm, wasi.build(), files).await,
        };
        let output = String::from_utf8(output.contents().to_vec()).unwrap();
        Ended {
            result,
            output,
            files,
        }
    }

    async fn run_p1(
        &self,
        wasm: &[u8],
        wasi: WasiP1Ctx,
        files: Files,
    ) -> (wasmtime::Result<()>, Files) {
        let module = Module::new(&self.engine, wasm).unwrap();
        let mut linker = wasmtime::Linker::<P1State>::new(&self.engine);
        wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state| {
            state.files.installed(&mut state.wasi)
        })
        .unwrap();
        add_to_linker_p1(&mut linker).unwrap();
        let mut store = Store::new(&self.engine, P1State { wasi, files });
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
        let start = instance
            .get_typed_func::<(), ()>(&mut store, "_start")
            .unwrap();
        let result = start.call_async(&mut store, ()).await;
        (result, store.into_data().files)
    }

    async fn run_p2(
        &self,
        wasm: &[u8],
        wasi: WasiCtx,
        files: Files,
    ) -> (wasmtime::Result<()>, Files) {
        let component = Component::new(&self.engine, wasm).unwrap();
        let mut linker = wasmtime::component::Linker::<P2State>::new(&self.engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        linker.allow_shadowing(true);
        add_to_linker_p2(&mut linker).unwrap();
        let state = P2State {
            wasi,
            table: ResourceTable::new(),
            files,
        };
        let mut store = Store::new(&self.engine, state);
        store.set_epoch_deadline(u64::MAX / 2);
        let command = CommandWorld::instantiate_async(&mut store, &component, &linker)
            .await
            .unwrap();
        let result = match command.wasi_cli_run().call_run(&mut store).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) => Err(wasmtime::format_err!("the guest failed")),
            Err(error) => Err(error),
        };
        (result, store.into_data().files)
    }

    /// Directories of attempts that exist on the host.
    pub(super) fn attempts(&self) -> Vec<PathBuf> {
        let root = std::fs::read_dir(self.dir.path().join("scratch")).unwrap();
        let paths = root.map(|entry| entry.unwrap().path());
        paths.filter(|path| !path.ends_with(".empty")).collect()
    }

    /// Ends the cleaner once its work is done.
    pub(super) fn finish(&self) {
        self.scratch.close(Duration::from_secs(60));
    }

    /// Watches the disk while `work` runs; returns the most bytes seen below the root.
    pub(super) async fn watching<F: Future>(&self, work: F) -> (F::Output, u64) {
        let (root, over) = (self.dir.path().join("scratch"), AtomicBool::new(false));
        let over = Arc::new(over);
        let until = Arc::clone(&over);
        let watcher = std::thread::spawn(move || {
            let mut most = 0;
            while !until.load(Ordering::Relaxed) {
                most = most.max(bytes_below(&root));
            }
            most
        });
        let output = work.await;
        over.store(true, Ordering::Relaxed);
        (output, watcher.join().unwrap())
    }
}

/// Apparent sizes of the regular files below a directory.
pub(super) fn bytes_below(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes_below(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |found| found.len()),
            Ok(_) | Err(_) => 0,
        })
        .sum()
}

/// The same figure as the limit of bytes and of entries, whichever a scenario is about.
pub(super) fn plan(quota: u64) -> FilesPlan {
    FilesPlan {
        disk_bytes: quota,
        disk_files: quota.min(10_000),
        over_quota: OverQuota::Refuse,
        places: Places::Module,
        mounts: Vec::new(),
        payload: None,
        inputs: Vec::new(),
        clock: FileClock::Coarse,
    }
}

/// A meter that nobody reads.
pub(super) fn meter() -> Arc<Meter> {
    Arc::new(Meter::new(Duration::MAX))
}

/// The guest program, built on first use.
pub(super) fn program(road: Road) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = match road {
        Road::P1 => "wasm32-wasip1",
        Road::P2 => "wasm32-wasip2",
    };
    let target_dir = root.join("target/guests/files");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--offline",
            "--target",
            target,
        ])
        .current_dir(root.join("tests/guests/files"))
        .arg("--target-dir")
        .arg(&target_dir)
        .env_remove("RUSTFLAGS")
        .status()
        .unwrap();
    assert!(built.success(), "the guest program does not build");
    std::fs::read(target_dir.join(target).join("release/files-guest.wasm")).unwrap()
}
