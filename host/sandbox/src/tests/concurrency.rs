//! Many runs at once: they wait for room, in the pool and in memory.

use super::*;
use crate::threads::GuestThreads;

#[tokio::test]
async fn a_burst_waits_for_the_pool() {
    let rig = Rig::with(|config| config.instances_max = 2);
    let module = rig.load("echo.wat", EngineClass::Fast);
    let runs = (0..50).map(|_| rig.sandbox.start(module.clone(), a_run()));
    for report in futures_util::future::join_all(runs).await {
        assert!(
            matches!(report.outcome, Outcome::Completed(_)),
            "{report:?}"
        );
    }
    rig.assert_empty();
}

#[tokio::test]
async fn waiting_for_memory_is_not_charged() {
    let rig = Rig::with(|config| config.memory_budget_bytes = 100 * MIB);
    let half = |millis| {
        let mut run = a_run();
        run.spec.limits.memory_bytes = 60 * MIB;
        run.spec.limits.timeout = Duration::from_millis(millis);
        run
    };
    let first = rig
        .sandbox
        .start(rig.load("sleep.wat", EngineClass::Fast), half(300));
    let second = rig
        .sandbox
        .start(rig.load("echo.wat", EngineClass::Fast), half(100));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(failure(first).kind, FailureKind::Timeout);
    assert!(
        matches!(second.outcome, Outcome::Completed(_)),
        "{second:?}"
    );
    assert!(second.usage.duration < Duration::from_millis(100));
    rig.assert_empty();
}

#[tokio::test]
async fn what_can_never_fit_fails_at_once() {
    let rig = Rig::with(|config| config.memory_budget_bytes = 100 * MIB);
    let failure = rig
        .fail("echo.wat", |run| run.spec.limits.memory_bytes = 101 * MIB)
        .await;
    assert_eq!(failure.kind, FailureKind::MemoryExceeded);
    assert!(
        failure
            .message
            .contains("whole memory budget of 104857600 bytes"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_kill_ends_the_wait() {
    let rig = Rig::with(|config| config.instances_max = 1);
    let sleeper = rig.load("sleep.wat", EngineClass::Fast);
    let mut first = rig.sandbox.start(sleeper.clone(), a_run());
    assert!(futures_util::poll!(&mut first).is_pending());
    let run = a_run();
    let kill = run.attachments.control.kill.clone();
    let mut second = rig.sandbox.start(sleeper, run);
    assert!(futures_util::poll!(&mut second).is_pending());
    kill.cancel();
    assert_eq!(failure(second.await).kind, FailureKind::Cancelled);
}

#[tokio::test]
async fn a_module_is_known_by_its_last_runs() {
    let rig = Rig::new();
    let spinner = rig.load("spin.wat", EngineClass::Fast);
    assert!(!spinner.is_usually_long());
    for _ in 0..2 {
        let mut run = a_run();
        run.spec.limits.cpu = Duration::from_millis(10);
        assert_eq!(
            failure(rig.sandbox.start(spinner.clone(), run).await).kind,
            FailureKind::CpuExhausted
        );
    }
    assert!(spinner.is_usually_long());
}

#[tokio::test]
async fn a_guest_that_was_handed_over_is_finished_elsewhere() {
    let rig = Rig::new();
    let threads = GuestThreads::start(1).unwrap();
    let mut run = a_run();
    run.spec.limits.cpu = Duration::from_millis(100);
    let running = rig
        .sandbox
        .start(rig.load("spin.wat", EngineClass::Fast), run);
    let report = threads.handle().drive(running).await;
    assert!(
        report.usage.cpu >= Duration::from_millis(100),
        "{:?}",
        report.usage
    );
    assert_eq!(failure(report).kind, FailureKind::CpuExhausted);
    threads.stop();
}
