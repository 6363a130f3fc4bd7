//! The number of children, their confinement, and that none is left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam_domain::memory::Purpose;
use cofferdam_sandbox::settings::SandboxConfig;
use cofferdam_sandbox::{CompileError, EngineClass};
use futures_util::future::{join_all, select_all};

use super::{Bench, ample, small, wasm};
use crate::support::disk::SmallDisk;

/// A child that first notes its process id in `dir`/pids.
fn noting(dir: &Path, then: &str) -> PathBuf {
    let path = dir.join("child.sh");
    let pids = dir.join("pids");
    let script = format!("#!/bin/sh\necho $$ >> {}\n{then}\n", pids.display());
    std::fs::write(&path, script).expect("a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).expect("a mode");
    path
}

fn real(dir: &Path) -> PathBuf {
    noting(
        dir,
        &format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_cofferdam")),
    )
}

fn sleeping(dir: &Path) -> PathBuf {
    noting(dir, "exec sleep 600")
}

impl Bench {
    fn pids(&self) -> Vec<u32> {
        let noted = std::fs::read_to_string(self.dir.path().join("pids")).unwrap_or_default();
        noted.lines().flat_map(str::parse).collect()
    }
}

/// Waits until `done`, and fails if that takes unreasonably long.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_uploads_are_compiled_once() {
    let bench = Bench::with_program(&ample(), real);
    let module = wasm::command(wasm::body(0, &wasm::increment(0)[..0]));
    let results = join_all((0..50).map(|_| bench.compile(module.clone()))).await;
    let first = results[0].as_ref().unwrap();
    assert!(results.iter().all(|result| result.as_ref() == Ok(first)));
    assert_eq!(bench.pids().len(), 1);
    // And once more only for the other engine.
    bench.compile(module.clone()).await.unwrap();
    bench
        .compiler
        .compile(module.into(), EngineClass::Metered, 0)
        .await
        .unwrap();
    assert_eq!(bench.pids().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_remembered() {
    let bench = Bench::with_program(&ample(), real);
    let first = bench.refusal("(module)").await;
    assert_eq!(bench.refusal("(module)").await, first);
    assert_eq!(bench.pids().len(), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_child() {
    let bench = Bench::with_program(&ample(), sleeping);
    {
        let compile = bench.compile("(module)");
        tokio::pin!(compile);
        let started = until("the child started", || bench.pids().len() == 1);
        tokio::select! {
            result = &mut compile => panic!("{result:?}"),
            () = started => {}
        }
        assert!(bench.memory.taken_bytes(Purpose::Compiles) > 0);
    }
    assert_eq!(bench.memory.taken_bytes(Purpose::Compiles), 0);
    let child = PathBuf::from(format!("/proc/{}", bench.pids()[0]));
    until("the child was killed and reaped", || !child.exists()).await;
}

#[tokio::test]
async fn a_child_that_hangs_is_killed_and_reaped() {
    let bench = Bench::with_program(&small(), sleeping);
    let limit = bench.limit("(module)").await;
    assert!(limit.ends_with("took longer than 2 s"), "{limit}");
    assert!(!PathBuf::from(format!("/proc/{}", bench.pids()[0])).exists());
}

#[tokio::test]
async fn a_child_that_lies_or_crashes_is_the_hosts_failure() {
    for (script, expected) in [
        ("exit 3", "exit status: 3"),
        ("echo hello", "cut short"),
        ("echo it broke >&2; kill -SEGV $$", "it broke"),
        ("echo a line that is no header", "begin with a header"),
        ("printf 'CFD1\\377\\377\\377\\377'", "begin with a header"),
        ("printf 'CFD1\\002\\000\\000\\000{}'", "missing field"),
    ] {
        let bench = Bench::with_program(&ample(), |dir| noting(dir, script));
        match bench.compile("(module)").await {
            Err(CompileError::Host(why)) => assert!(why.contains(expected), "{script}: {why}"),
            other => panic!("{script}: {other:?}"),
        }
    }
    let bench = Bench::with_program(&ample(), |dir| dir.join("absent"));
    assert!(matches!(
        bench.compile("(module)").await,
        Err(CompileError::Host(_))
    ));
}

#[tokio::test]
async fn the_queue_for_children_is_bounded() {
    let config = SandboxConfig {
        compiles_max: 1,
        ..ample()
    };
    let bench = Bench::with_program(&config, sleeping);
    // One has the child, sixteen wait for it, and one too many is refused while all others wait.
    let uploads = (0..18).map(|n| Box::pin(bench.compile(format!("(module $n{n})"))));
    let (first_answer, _, mut waiting) = select_all(uploads).await;
    assert_eq!(first_answer, Err(CompileError::Busy));
    tokio::select! {
        (result, ..) = select_all(waiting.iter_mut()) => panic!("{result:?}"),
        () = until("one has the child", || !bench.pids().is_empty()) => {}
    }
    assert_eq!(bench.pids().len(), 1);
}

#[tokio::test]
async fn a_tiny_module_that_takes_long_gives_its_place_to_the_next() {
    let config = SandboxConfig {
        compiles_max: 1,
        ..ample()
    };
    let bench = Bench::with_program(&config, sleeping);
    let uploads = (0..2).map(|n| Box::pin(bench.compile(format!("(module $n{n})"))));
    // The first begins twice: among the tiny ones and then among the usual ones.
    tokio::select! {
        (result, ..) = select_all(uploads) => panic!("{result:?}"),
        () = until("three children began", || bench.pids().len() == 3) => {}
    }
}

#[tokio::test]
async fn there_is_no_child_without_memory_for_it() {
    let config = SandboxConfig {
        memory_budget_bytes: 1 << 30,
        compiles_reserved_bytes: 0,
        queue_timeout: Duration::from_millis(200),
        ..ample()
    };
    let bench = Bench::with_program(&config, real);
    let guests = bench.memory.take(Purpose::Guests, 1 << 30).unwrap();
    let module = wasm::command(wasm::body(0, &[]));
    let refused = bench.compile(module.clone()).await;
    assert_eq!(refused, Err(CompileError::Busy));
    assert!(bench.pids().is_empty());
    drop(guests);
    bench.compile(module).await.unwrap();
    assert_eq!(bench.memory.taken_bytes(Purpose::Compiles), 0);
}

#[tokio::test]
async fn code_without_room_is_not_made_again_before_there_is_some() {
    let Some(disk) = SmallDisk::new(16) else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let bench = Bench::over(&ample(), disk.folder(), real(elsewhere.path()));
    let children = || {
        let noted = std::fs::read_to_string(elsewhere.path().join("pids"));
        noted.unwrap_or_default().lines().count()
    };
    let filling = disk.fill(0);
    let module = wasm::command(wasm::body(0, &[]));
    for _ in 0..2 {
        let full = bench.compile(module.clone()).await;
        assert!(matches!(full, Err(CompileError::Full(_))), "{full:?}");
    }
    assert_eq!(children(), 1);
    drop(filling);
    bench.compile(module).await.unwrap();
    assert_eq!(children(), 2);
}

#[tokio::test]
async fn a_module_that_needs_more_memory_than_most_gets_it() {
    let bench = Bench::with_program(&ample(), real);
    bench
        .compile(wasm::loops_in_a_row(6_000, 400))
        .await
        .unwrap();
    assert!(bench.pids().len() > 1, "the first child was enough");
}

#[tokio::test]
async fn the_child_is_confined() {
    let bench = Bench::with_program(&ample(), real);
    // It is large enough to be observed while it is compiled.
    let body = wasm::body(
        400,
        &(0..60_000)
            .flat_map(|n| wasm::increment(n % 400))
            .collect::<Vec<_>>(),
    );
    let bodies = std::iter::repeat_n(body, 8).collect::<Vec<_>>();
    let big = wasm::module(&[
        wasm::types(1),
        wasm::functions(8),
        wasm::start(),
        wasm::code(bodies.into_iter()),
    ]);
    let compile = bench.compile(big);
    tokio::pin!(compile);
    let mut seen = (String::new(), String::new());
    let look = until("the child was seen locked in", || {
        let Some(pid) = bench.pids().first().copied() else {
            return false;
        };
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
        let (Ok(status), Ok(limits)) = (read("status"), read("limits")) else {
            return false;
        };
        let locked = limits
            .lines()
            .any(|l| l.starts_with("Max open files            3 "));
        seen = (status, limits);
        locked
    });
    tokio::select! {
        result = &mut compile => panic!("it was too fast to be seen: {result:?}"),
        () = look => {}
    }
    compile.await.unwrap();
    let (status, limits) = seen;
    assert!(
        status.lines().any(|line| line == "NoNewPrivs:\t1"),
        "{status}"
    );
    for limit in [
        "Max core file size        0 ",
        "Max file size             0 ",
    ] {
        assert!(limits.contains(limit), "{limits}");
    }
    let space = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space "));
    let space = space.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    // The memory that a module of its size is likely to need, and that of the program before it
    // reads a byte.
    assert!(
        space.is_some_and(|bytes| bytes > 96 << 20 && bytes < 2 << 30),
        "{limits}"
    );
    let confinement = bench.compiler.confinement().unwrap();
    let filtered = status.lines().any(|line| line == "Seccomp:\t2");
    assert_eq!(filtered, confinement.seccomp, "{status}");
}
