//! What only guests in processes of their own have: a process that dies, stands still or is replaced, and
//! a jail.

use std::os::fd::AsFd as _;

use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::files::{Area, InputContent, InputFile, InputPlace};
use crate::session::{After, Turn};
use crate::settings::GuestProgram;

/// What this crate's tests start as their processes: this very program with the one test below.
pub(super) fn program() -> GuestProgram {
    let args = [
        "--exact",
        "tests::processes::is_the_process",
        "--test-threads=1",
        "--quiet",
    ];
    GuestProgram {
        path: std::env::current_exe().unwrap(),
        args: args.map(Into::into).to_vec(),
    }
}

/// Becomes a process for guests where the host started it as one. Otherwise nobody is there to talk to.
#[test]
fn is_the_process() {
    let is_ours = rustix::net::sockopt::socket_type(std::io::stdin());
    if is_ours == Ok(rustix::net::SocketType::SEQPACKET) {
        crate::processes::child_main();
        std::process::exit(0);
    }
    assert_ne!(is_ours, Ok(rustix::net::SocketType::SEQPACKET));
}

impl Rig {
    /// Sends a signal to every process of a module.
    fn signal(&self, module: &LoadedModule, signal: Signal) {
        let pidfds = module.pool.as_ref().unwrap().pidfds();
        assert!(!pidfds.is_empty());
        for pidfd in pidfds {
            pidfd_send_signal(pidfd, signal).unwrap();
        }
    }

    /// Stops every process of a module, and returns when each stands still: a signal is only sent when
    /// `pidfd_send_signal` returns.
    fn stop(&self, module: &LoadedModule) {
        self.signal(module, Signal::STOP);
        for pidfd in module.pool.as_ref().unwrap().pidfds() {
            let id = WaitId::PidFd(pidfd.as_fd());
            waitid(id, WaitIdOptions::STOPPED).unwrap();
        }
    }

    /// Starts a guest that writes and then sleeps, and returns it when it has written.
    async fn sleeper(&self, module: &Arc<LoadedModule>) -> Running {
        let ear = Arc::new(Ear::default());
        let mut run = a_run(self.at);
        run.attachments.control.observer = Some(ear.clone());
        let mut running = self.sandbox.start(Arc::clone(module), run);
        while ear.wrote_bytes.lock().unwrap()[0] == 0 {
            assert!(futures_util::poll!(&mut running).is_pending());
            tokio::task::yield_now().await;
        }
        running
    }

    /// Starts a guest, and returns it when its process has it, whether or not that knows.
    async fn given(&self, module: &Arc<LoadedModule>) -> Running {
        let mut running = self.sandbox.start(Arc::clone(module), a_run(self.at));
        while module.pool.as_ref().unwrap().runs() == 0 {
            assert!(futures_util::poll!(&mut running).is_pending());
            tokio::task::yield_now().await;
        }
        running
    }
}

#[tokio::test]
async fn a_process_that_dies_takes_only_its_own_runs_and_is_replaced() {
    let rig = Rig::new(Isolation::Process);
    let (first, second) = (
        rig.load("say-and-sleep.wat", EngineClass::Fast),
        rig.load("say-and-sleep.wat", EngineClass::Fast),
    );
    let mut other = rig.sleeper(&second).await;
    // What a service manager sends to all processes of a service.
    rig.signal(&second, Signal::TERM);
    rig.signal(&second, Signal::INT);
    for (signal, says) in [
        (Signal::KILL, "KILL"),
        (Signal::ABORT, "ABRT"),
        (Signal::SYS, "SYS"),
    ] {
        let running = rig.sleeper(&first).await;
        rig.signal(&first, signal);
        let failure = failure(running.await.unwrap());
        assert_eq!(failure.kind, FailureKind::Lost, "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
    }
    assert!(futures_util::poll!(&mut other).is_pending());
    drop(other);
    rig.assert_empty().await;
    assert_eq!(rig.sandbox.processes().unwrap().died, 3);
}

/// The threads on which an observer was called.
#[derive(Default)]
struct Threads(Mutex<Vec<std::thread::ThreadId>>);

impl Observer for Threads {
    fn progress(&self, _: f64, _: &str) {}

    fn wrote(&self, _: Stream, _: &[u8]) {
        self.0.lock().unwrap().push(std::thread::current().id());
    }
}

#[tokio::test]
async fn whoever_waits_hears_the_process_on_their_own_thread() {
    let rig = Rig::new(Isolation::Process);
    let threads = Arc::new(Threads::default());
    for _ in 0..2 {
        rig.run("log.wat", |run| {
            run.attachments.control.observer = Some(threads.clone());
        })
        .await;
    }
    let here = std::thread::current().id();
    let threads = threads.0.lock().unwrap();
    assert_eq!(threads.len(), 2000);
    // The process's own thread looks now and then.
    assert!(threads.contains(&here));
}

#[tokio::test]
async fn a_run_whose_process_dies_before_it_began_has_another() {
    let rig = Rig::new(Isolation::Process);
    let module = rig.load("echo.wat", EngineClass::Fast);
    for _ in 0..5 {
        let run = a_run(Isolation::Process);
        output(rig.sandbox.start(Arc::clone(&module), run).await.unwrap());
        // It never looks at what it is sent.
        rig.stop(&module);
        let running = rig.given(&module).await;
        rig.signal(&module, Signal::KILL);
        output(running.await.unwrap());
        // Nobody knows yet that this one is dead.
        rig.stop(&module);
        rig.signal(&module, Signal::KILL);
        let run = a_run(Isolation::Process);
        output(rig.sandbox.start(Arc::clone(&module), run).await.unwrap());
    }
    rig.assert_empty().await;
}

#[tokio::test]
async fn a_process_that_stands_still_is_killed_at_its_runs_end() {
    let rig = Rig::new(Isolation::Process);
    let module = rig.load("say-and-sleep.wat", EngineClass::Fast);
    drop(rig.sleeper(&module).await);
    rig.assert_empty().await;
    let mut run = a_run(Isolation::Process);
    run.spec.limits.timeout = Duration::from_millis(200);
    let mut running = rig.sandbox.start(Arc::clone(&module), run);
    assert!(futures_util::poll!(&mut running).is_pending());
    rig.stop(&module);
    let began = Instant::now();
    assert_eq!(failure(running.await.unwrap()).kind, FailureKind::Timeout);
    assert!(began.elapsed() < GRACE * 3);
    // A kill is one too.
    let run = a_run(Isolation::Process);
    let kill = run.attachments.control.kill.clone();
    let mut running = rig.sandbox.start(Arc::clone(&module), run);
    while module.pool.as_ref().unwrap().runs() == 0 {
        assert!(futures_util::poll!(&mut running).is_pending());
        tokio::task::yield_now().await;
    }
    rig.stop(&module);
    kill.cancel();
    assert_eq!(failure(running.await.unwrap()).kind, FailureKind::Cancelled);
    rig.assert_empty().await;
}

#[tokio::test]
async fn a_closed_sandbox_has_no_processes() {
    let rig = Rig::new(Isolation::Process);
    let module = rig.load("say-and-sleep.wat", EngineClass::Fast);
    let running = rig.sleeper(&module).await;
    rig.sandbox.close(GRACE);
    assert_eq!(failure(running.await.unwrap()).kind, FailureKind::Lost);
    assert_eq!(rig.sandbox.processes().unwrap().live, 0);
}

#[tokio::test]
async fn the_kernel_confines_it() {
    let rig = Rig::new(Isolation::Process);
    rig.run("echo.wat", |_| {}).await;
    let jail = rig.sandbox.processes().unwrap().jail.unwrap();
    // Whether there are namespaces for everybody, the machine decides.
    assert!(jail.landlock && jail.seccomp, "{jail:?}");
}

#[tokio::test]
async fn granted_directories_are_those_of_the_run_alone() {
    let rig = Rig::new(Isolation::Process);
    let dirs: Vec<_> = ["a", "b"].map(|name| rig.data.path().join(name)).into();
    for dir in &dirs {
        std::fs::create_dir(dir).unwrap();
    }
    let module = rig.load("fill-disk.wat", EngineClass::Fast);
    for dir in &dirs {
        let mut run = a_run(Isolation::Process);
        run.spec.limits.disk_bytes = MIB;
        // The guest writes to the second.
        run.spec.dirs = ["/data", "/out"]
            .map(|at| Mount {
                path: dir.clone(),
                at: at.to_owned(),
                access: Access::Write,
            })
            .into();
        let report = rig.sandbox.start(Arc::clone(&module), run).await.unwrap();
        assert_eq!(report.usage.disk_bytes, MIB);
        assert!(
            std::fs::read_dir(dir).unwrap().count() > 0,
            "{dir:?} is empty"
        );
    }
    assert_eq!(rig.sandbox.processes().unwrap().started, 2);
}

#[tokio::test]
async fn the_files_of_a_session_outlive_its_process() {
    let rig = Rig::new(Isolation::Process);
    let module = rig.load("echo.wat", EngineClass::Fast);
    let mut run = a_run(Isolation::Process);
    let content = InputContent::Bytes(Bytes::from_static(b"kept"));
    let file = InputFile::new("a", InputPlace::Work, content).unwrap();
    run.spec.files.push(file);
    let session = rig.sandbox.open_session(Arc::clone(&module), run).await;
    let session = session.unwrap().unwrap();
    rig.signal(&module, Signal::KILL);
    while rig.sandbox.processes().unwrap().died == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let is_there = |files: Option<OutputFiles>| {
        let files = files.unwrap().files(Area::Work).unwrap();
        files.files.iter().any(|file| file.path == "a")
    };
    assert!(is_there(session.files().await));
    let (report, after) = session
        .call(Turn {
            input: payload(b"{}"),
            stdin: Bytes::new(),
            timeout: GRACE,
            end_by: None,
            cpu: GRACE,
            kill: CancellationToken::new(),
        })
        .await;
    let failure = failure(report);
    assert_eq!(failure.kind, FailureKind::Lost);
    assert!(failure.message.contains("SIGKILL"), "{failure:?}");
    match after {
        After::Ended(files) => assert!(is_there(files)),
        After::Live(_) => panic!("its process is dead"),
    }
}
