//! Time: CPU, wall clock, fuel, the stack, and being stopped from outside.

use tokio::io::AsyncWriteExt;

use super::*;
use crate::files::Area;

everywhere! {
    a_guest_that_spins_uses_up_its_cpu_time,
    a_guest_that_is_still_there_at_its_timeout_ends,
    a_guest_that_is_ended_leaves_what_it_wrote,
    a_kill_ends_a_guest_whatever_it_does,
    a_run_that_is_dropped_leaves_nothing,
    fuel_runs_out_at_the_same_place_every_time,
    the_stack_is_bounded,
    live_input_arrives_as_it_is_written,
}

const CPU: Duration = Duration::from_millis(150);

async fn a_guest_that_spins_uses_up_its_cpu_time(at: Isolation) {
    let rig = Rig::new(at);
    for guest in ["spin.wat", "spin-at-start.wat"] {
        let report = rig.run(guest, |run| run.spec.limits.cpu = CPU).await;
        assert!(
            report.usage.cpu >= CPU && report.usage.cpu < CPU + GRACE,
            "{:?}",
            report.usage
        );
        let failure = failure(report);
        assert_eq!(failure.kind, FailureKind::CpuExhausted, "{guest}");
        assert!(
            failure
                .message
                .ends_with("ms of CPU time; 150 ms are allowed"),
            "{failure:?}"
        );
        // A guest that is ended with its process tells nobody where it was.
        let trace = failure
            .backtrace
            .is_some_and(|trace| trace.contains("wasm"));
        assert_eq!(trace, at != Isolation::Dedicated, "{guest}");
    }
}

async fn a_guest_that_is_still_there_at_its_timeout_ends(at: Isolation) {
    let rig = Rig::new(at);
    // It is kept open, so that standard input neither gives a byte nor ends.
    let (reader, _writer) = tokio::io::duplex(16);
    let mut stdin = Some(Stdin::Stream(Box::new(reader)));
    for guest in ["spin.wat", "sleep.wat", "read-stdin.wat"] {
        let began = Instant::now();
        let failure = rig
            .fail(guest, |run| {
                run.spec.limits.timeout = CPU;
                if guest == "read-stdin.wat" {
                    run.attachments.stdin = stdin.take();
                }
            })
            .await;
        assert!(began.elapsed() < CPU + GRACE, "{guest}");
        assert_eq!(failure.kind, FailureKind::Timeout, "{guest}");
        assert!(
            failure.message.ends_with("ms; 150 ms are allowed"),
            "{failure:?}"
        );
    }
}

async fn a_guest_that_is_ended_leaves_what_it_wrote(at: Isolation) {
    let rig = Rig::new(at);
    for (timeout, cpu, kind) in [
        (GRACE * 20, CPU, FailureKind::CpuExhausted),
        (CPU, GRACE * 20, FailureKind::Timeout),
    ] {
        let report = rig
            .run("leave-and-spin.wat", |run| {
                (run.spec.limits.timeout, run.spec.limits.cpu) = (timeout, cpu);
            })
            .await;
        let Report {
            usage,
            streams,
            files,
            isolation,
            outcome,
        } = report;
        assert!(matches!(outcome, Outcome::Failed(failure) if failure.kind == kind));
        assert_eq!(isolation, Some(at));
        let wrote = [streams.stdout, streams.stderr, streams.log];
        let wrote = wrote.map(|stream| (stream.bytes, stream.truncated));
        let left = (Bytes::from_static(b"left"), false);
        assert_eq!(wrote, [left.clone(), left, (Bytes::new(), false)]);
        assert_eq!(usage.disk_bytes, 4);
        assert_eq!(usage.peak_memory_bytes, 3 * 64 * 1024);
        // The time until its process was there is its own.
        assert!(usage.duration < CPU + GRACE, "{usage:?}");
        let files = files.unwrap();
        let kept = files.open(Area::Out, "left").unwrap();
        assert_eq!(std::io::read_to_string(kept).unwrap(), "left");
    }
}

async fn a_kill_ends_a_guest_whatever_it_does(at: Isolation) {
    let rig = Rig::new(at);
    for guest in ["spin.wat", "sleep.wat"] {
        let module = rig.load(guest, EngineClass::Fast);
        let run = a_run(at);
        let kill = run.attachments.control.kill.clone();
        let mut running = rig.sandbox.start(module, run);
        // After one poll the guest is running: it sleeps, or its first slice is over.
        assert!(futures_util::poll!(&mut running).is_pending());
        if guest == "spin.wat" {
            assert_eq!(running.is_long(), at == Isolation::Shared);
        }
        kill.cancel();
        let began = Instant::now();
        assert_eq!(failure(running.await.unwrap()).kind, FailureKind::Cancelled);
        assert!(began.elapsed() < GRACE);
        rig.assert_empty().await;
    }
}

async fn a_run_that_is_dropped_leaves_nothing(at: Isolation) {
    let rig = Rig::new(at);
    let mut running = rig
        .sandbox
        .start(rig.load("sleep.wat", EngineClass::Fast), a_run(at));
    assert!(futures_util::poll!(&mut running).is_pending());
    assert_eq!(rig.sandbox.occupancy().slots_used, 1);
    drop(running);
    rig.assert_empty().await;
}

async fn fuel_runs_out_at_the_same_place_every_time(at: Isolation) {
    let rig = Rig::new(at);
    let mut used = Vec::new();
    for _ in 0..2 {
        let report = rig
            .run("spin.wat", |run| run.spec.limits.fuel = Some(1_000_000))
            .await;
        used.push(report.usage.fuel);
        let failure = failure(report);
        assert_eq!(failure.kind, FailureKind::FuelExhausted);
        assert!(
            failure.message.ends_with("of 1000000 units of fuel"),
            "{failure:?}"
        );
    }
    assert_eq!(used[0], used[1]);
}

async fn the_stack_is_bounded(at: Isolation) {
    let failure = Rig::new(at).fail("recurse.wat", |_| {}).await;
    assert_eq!(failure.kind, FailureKind::StackOverflow);
    assert!(
        failure.message.ends_with("524288 bytes are allowed"),
        "{failure:?}"
    );
    let lines = failure.backtrace.unwrap().lines().count();
    assert!(lines < 100, "{lines}");
}

async fn live_input_arrives_as_it_is_written(at: Isolation) {
    let rig = Rig::new(at);
    let (reader, mut writer) = tokio::io::duplex(16);
    let mut run = a_run(at);
    run.attachments.stdin = Some(Stdin::Stream(Box::new(reader)));
    let running = rig
        .sandbox
        .start(rig.load("read-stdin.wat", EngineClass::Fast), run);
    let (report, ()) = tokio::join!(running, async move {
        for _ in 0..100 {
            writer.write_all(b"0123456789").await.unwrap();
        }
    });
    assert_eq!(output(report.unwrap()).body.len(), 1000);
}
