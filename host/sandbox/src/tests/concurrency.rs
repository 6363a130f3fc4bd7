//! Many runs at once: they wait for room, in the pool and in memory.

use super::*;
use crate::threads::GuestThreads;

everywhere! {
    a_burst_waits_for_the_pool,
    a_limit_that_is_not_used_keeps_nobody_out,
    a_refusal_below_the_limit_is_distinct_from_one_above_it,
    waiting_for_room_is_bounded_and_counts_as_time,
    a_run_that_can_never_fit_fails_at_once,
    a_kill_ends_the_wait,
}

async fn a_burst_waits_for_the_pool(at: Isolation) {
    let rig = Rig::with(at, |config| config.instances_max = 2);
    let module = rig.load("echo.wat", EngineClass::Fast);
    let runs = (0..50).map(|_| rig.sandbox.start(module.clone(), a_run(at)));
    for report in futures_util::future::join_all(runs).await {
        let report = report.unwrap();
        assert!(
            matches!(report.outcome, Outcome::Completed(_)),
            "{report:?}"
        );
    }
    rig.assert_empty().await;
}

async fn a_limit_that_is_not_used_keeps_nobody_out(at: Isolation) {
    let rig = Rig::with(at, |config| config.memory_budget_bytes = 4096 * MIB);
    let sleeper = rig.load("sleep.wat", EngineClass::Fast);
    let mut idle: Vec<_> = (0..8)
        .map(|_| {
            let mut run = a_run(at);
            run.spec.limits.memory_bytes = 4096 * MIB;
            rig.sandbox.start(sleeper.clone(), run)
        })
        .collect();
    for run in &mut idle {
        assert!(futures_util::poll!(run).is_pending());
    }
    let echo = rig.load("echo.wat", EngineClass::Fast);
    let report = rig.sandbox.start(echo, a_run(at)).await.unwrap();
    assert!(matches!(report.outcome, Outcome::Completed(_)));
    drop(idle);
    rig.assert_empty().await;
}

async fn a_refusal_below_the_limit_is_distinct_from_one_above_it(at: Isolation) {
    let rig = Rig::with(at, |config| {
        config.memory_budget_bytes = 128 * MIB;
        config.memory_price_bytes = 64 * MIB;
    });
    let sleeper = rig.load("sleep.wat", EngineClass::Fast);
    let mut idle = rig.sandbox.start(sleeper, a_run(at));
    assert!(futures_util::poll!(&mut idle).is_pending());
    // It asks for all that its limit allows, which the budget does not have.
    let greedy = rig.load("grow-memory.wat", EngineClass::Fast);
    let refused = rig.sandbox.start(greedy.clone(), a_run(at)).await;
    assert_eq!(refused.err(), Some(NoRoom::Memory));
    drop(idle);
    let report = rig.sandbox.start(greedy, a_run(at)).await.unwrap();
    assert_eq!(failure(report).kind, FailureKind::MemoryExceeded);
    rig.assert_empty().await;
}

async fn waiting_for_room_is_bounded_and_counts_as_time(at: Isolation) {
    let rig = Rig::with(at, |config| config.instances_max = 1);
    let sleeper = rig.load("sleep.wat", EngineClass::Fast);
    let mut first = rig.sandbox.start(sleeper.clone(), a_run(at));
    assert!(futures_util::poll!(&mut first).is_pending());
    let soon = Duration::from_millis(100);
    let waits = |begin_by, end_by| {
        let mut run = a_run(at);
        run.attachments.patience = Patience {
            begin_by: Some(Instant::now() + begin_by),
            end_by: Some(Instant::now() + end_by),
            party: Party::default(),
        };
        rig.sandbox.start(sleeper.clone(), run)
    };
    let refused = waits(soon, soon * 4).await.err();
    assert!(matches!(refused, Some(NoRoom::Waited(waited)) if waited >= soon));
    let began = Instant::now();
    let second = waits(soon * 10, soon * 4);
    let (report, ()) = tokio::join!(second, async {
        tokio::time::sleep(soon * 2).await;
        drop(first);
    });
    // Its own limit is twenty seconds.
    assert!(began.elapsed() < soon * 4 + GRACE, "{:?}", began.elapsed());
    let failure = failure(report.unwrap());
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(failure.message.contains("it had waited"), "{failure:?}");
}

async fn a_run_that_can_never_fit_fails_at_once(at: Isolation) {
    let rig = Rig::with(at, |config| config.memory_budget_bytes = 100 * MIB);
    let failure = rig
        .fail("echo.wat", |run| run.spec.limits.memory_bytes = 101 * MIB)
        .await;
    assert_eq!(failure.kind, FailureKind::MemoryExceeded);
    assert!(
        failure
            .message
            .contains("above the 104857600 bytes of this host's memory budget"),
        "{failure:?}"
    );
}

async fn a_kill_ends_the_wait(at: Isolation) {
    let rig = Rig::with(at, |config| config.instances_max = 1);
    let sleeper = rig.load("sleep.wat", EngineClass::Fast);
    let mut first = rig.sandbox.start(sleeper.clone(), a_run(at));
    assert!(futures_util::poll!(&mut first).is_pending());
    let run = a_run(at);
    let kill = run.attachments.control.kill.clone();
    let mut second = rig.sandbox.start(sleeper, run);
    assert!(futures_util::poll!(&mut second).is_pending());
    kill.cancel();
    assert_eq!(failure(second.await.unwrap()).kind, FailureKind::Cancelled);
}

#[tokio::test]
async fn a_module_is_known_by_its_last_runs() {
    let rig = Rig::new(Isolation::Shared);
    let spinner = rig.load("spin.wat", EngineClass::Fast);
    assert!(!spinner.is_usually_long());
    for _ in 0..2 {
        let mut run = a_run(Isolation::Shared);
        run.spec.limits.cpu = Duration::from_millis(10);
        assert_eq!(
            failure(rig.sandbox.start(spinner.clone(), run).await.unwrap()).kind,
            FailureKind::CpuExhausted
        );
    }
    assert!(spinner.is_usually_long());
}

#[tokio::test]
async fn a_guest_that_was_handed_over_is_finished_elsewhere() {
    let rig = Rig::new(Isolation::Shared);
    let threads = GuestThreads::start(1).unwrap();
    let mut run = a_run(Isolation::Shared);
    run.spec.limits.cpu = Duration::from_millis(100);
    let running = rig
        .sandbox
        .start(rig.load("spin.wat", EngineClass::Fast), run);
    let report = threads.handle().drive(running).await.unwrap();
    assert!(
        report.usage.cpu >= Duration::from_millis(100),
        "{:?}",
        report.usage
    );
    assert_eq!(failure(report).kind, FailureKind::CpuExhausted);
    threads.stop();
}
