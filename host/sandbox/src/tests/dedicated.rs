//! What only guests without checks have: the end of the process is theirs, and nobody else's.

use super::*;

/// How far a limit may be overrun.
const SLACK: Duration = Duration::from_millis(20);

fn live(rig: &Rig) -> (u64, u64, u64) {
    let processes = rig.sandbox.processes().unwrap();
    (processes.started, processes.unchecked, processes.died)
}

/// A guest that must be stopped by the limits that `change` sets: how long it ran, and what it used.
async fn stopped(rig: &Rig, change: impl Fn(&mut Limits)) -> (FailureKind, Duration, Duration) {
    let module = rig.load("spin.wat", EngineClass::Fast);
    // Its process is there before the clock runs.
    let mut warm = a_run(Isolation::Dedicated);
    warm.spec.limits.cpu = Duration::from_millis(1);
    drop(rig.sandbox.start(Arc::clone(&module), warm).await.unwrap());
    while rig.sandbox.processes().unwrap().jail.is_none() {
        tokio::task::yield_now().await;
    }
    let mut run = a_run(Isolation::Dedicated);
    change(&mut run.spec.limits);
    let report = rig.sandbox.start(module, run).await.unwrap();
    let usage = report.usage;
    (failure(report).kind, usage.duration, usage.cpu)
}

#[tokio::test]
async fn limits_are_kept_to_the_hundredth_of_a_second() {
    let limit = Duration::from_millis(100);
    // Others may have the processors for a while; not each time.
    let (mut over_time, mut over_cpu) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let rig = Rig::new(Isolation::Dedicated);
        let (kind, took, _) = stopped(&rig, |limits| limits.timeout = limit).await;
        assert_eq!(kind, FailureKind::Timeout);
        over_time.push(took.saturating_sub(limit));
        let (kind, _, used) = stopped(&rig, |limits| limits.cpu = limit).await;
        assert_eq!(kind, FailureKind::CpuExhausted);
        over_cpu.push(used.saturating_sub(limit));
        if over_time.iter().min() < Some(&SLACK) && over_cpu.iter().min() < Some(&SLACK) {
            return;
        }
    }
    panic!("{over_time:?} {over_cpu:?}");
}

#[tokio::test]
async fn each_run_has_a_process_that_is_replaced_and_does_not_count_as_dead() {
    let rig = Rig::new(Isolation::Dedicated);
    let module = rig.load("spin.wat", EngineClass::Fast);
    let run = |timeout| {
        let mut run = a_run(Isolation::Dedicated);
        run.spec.limits.timeout = timeout;
        rig.sandbox.start(Arc::clone(&module), run)
    };
    let (first, second) = tokio::join!(run(GRACE / 5), run(GRACE / 5));
    for report in [first, second] {
        assert_eq!(failure(report.unwrap()).kind, FailureKind::Timeout);
    }
    // Two that ran at once, and at least one for whoever comes next.
    let until = Instant::now() + GRACE * 10;
    while live(&rig).0 < 3 || live(&rig).1 == 0 {
        assert!(Instant::now() < until, "{:?}", live(&rig));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(live(&rig).2, 0);
    rig.assert_empty().await;
    rig.sandbox.close(GRACE);
    assert_eq!(live(&rig).1, 0);
}

#[tokio::test]
async fn a_process_serves_one_run_after_the_other() {
    let rig = Rig::new(Isolation::Dedicated);
    let module = rig.load("echo.wat", EngineClass::Fast);
    for _ in 0..3 {
        let run = a_run(Isolation::Dedicated);
        output(rig.sandbox.start(Arc::clone(&module), run).await.unwrap());
    }
    assert_eq!(live(&rig), (1, 1, 0));
}

#[tokio::test]
async fn nothing_else_runs_there() {
    let rig = Rig::new(Isolation::Dedicated);
    let module = rig.load("echo.wat", EngineClass::Fast);
    let refused = "code without checks runs only where another thread watches it";
    let shared = rig
        .sandbox
        .start(Arc::clone(&module), a_run(Isolation::Shared));
    let shared = failure(shared.await.unwrap());
    let session = rig
        .sandbox
        .open_session(Arc::clone(&module), a_run(Isolation::Dedicated));
    let session = session.await.unwrap().err().unwrap();
    for failure in [shared, session] {
        assert_eq!(failure, Failure::new(FailureKind::HostError, refused));
    }
    rig.assert_empty().await;
}
