//! Commands: streams, exit codes, traps, and determinism of the metered engine.

use super::*;

everywhere! {
    streams_are_cut_off_and_never_kill,
    an_exit_code_is_kept,
    a_trap_has_a_backtrace,
    the_body_is_standard_input_unless_another_is_given,
    the_metered_engine_repeats_itself,
    log_lines_are_json_and_bounded,
}

async fn streams_are_cut_off_and_never_kill(at: Isolation) {
    let ear = Arc::new(Ear::default());
    let report = Rig::new(at)
        .run("flood-stdout.wat", |run| {
            run.attachments.control.observer = Some(ear.clone())
        })
        .await;
    assert_eq!(report.streams.stderr.bytes.len() as u64, MIB);
    assert!(report.streams.stderr.truncated);
    assert!(report.streams.stdout.truncated && report.streams.stdout.bytes.is_empty());
    let output = output(report);
    assert_eq!(output.body.len() as u64, 4 * MIB);
    assert_eq!(&*output.content_type, "text/plain; charset=utf-8");
    assert_eq!(*ear.wrote_bytes.lock().unwrap(), [8 << 20, 8 << 20, 0]);
}

async fn an_exit_code_is_kept(at: Isolation) {
    let rig = Rig::new(at);
    let report = rig.run("exit-7.wat", |_| {}).await;
    assert_eq!(&report.streams.stderr.bytes[..], b"seven\n");
    let failure = failure(report);
    assert_eq!(
        (failure.kind, failure.exit_code),
        (FailureKind::Exit, Some(7))
    );

    let failure = rig.fail("command.wat", |_| {}).await;
    assert_eq!(
        (failure.kind, failure.exit_code),
        (FailureKind::Exit, Some(1))
    );
}

async fn a_trap_has_a_backtrace(at: Isolation) {
    let failure = Rig::new(at).fail("trap.wat", |_| {}).await;
    assert_eq!(failure.kind, FailureKind::Trap);
    assert_eq!(failure.message, "wasm trap: integer divide by zero");
    let backtrace = failure.backtrace.unwrap();
    assert!(
        backtrace.contains("divide") && backtrace.contains("work"),
        "{backtrace}"
    );
}

async fn the_body_is_standard_input_unless_another_is_given(at: Isolation) {
    let rig = Rig::new(at);
    let body = b"never read".to_vec();
    let input = || GuestInput::Inline(payload(&body));
    let report = rig
        .run("read-stdin.wat", |run| run.spec.input = input())
        .await;
    assert_eq!(&output(report).body[..], body);
    let report = rig
        .run("read-stdin.wat", |run| {
            run.spec.input = input();
            run.attachments.stdin = Some(Stdin::Bytes(Bytes::from_static(&[0xff, 0xfe])));
        })
        .await;
    let output = output(report);
    assert_eq!(
        (&output.body[..], &*output.content_type),
        (&[0xff, 0xfe][..], "application/octet-stream")
    );
}

async fn the_metered_engine_repeats_itself(at: Isolation) {
    let rig = Rig::new(at);
    let mut runs = Vec::new();
    for _ in 0..2 {
        let report = rig
            .run("clock-and-random.wat", |run| {
                run.spec.limits.fuel = Some(100_000)
            })
            .await;
        let fuel = report.usage.fuel;
        assert!(fuel.is_some_and(|fuel| fuel > 0));
        runs.push((output(report).body, fuel));
    }
    assert_eq!(runs[0], runs[1]);
    let monotonic = &runs[0].0[16..32];
    assert_eq!(monotonic[..8], 0_u64.to_le_bytes());
    assert_eq!(monotonic[8..], 1_000_000_u64.to_le_bytes());

    let report = rig.run("clock-and-random.wat", |_| {}).await;
    let unmetered = output(report).body;
    assert_ne!(
        unmetered[32..],
        runs[0].0[32..],
        "randomness is real on the fast engine"
    );
}

async fn log_lines_are_json_and_bounded(at: Isolation) {
    const LINE: &str =
        "{\"level\":\"warn\",\"message\":\"disk \\\"full\\\"\\n\",\"fields\":{\"row\":\"a7\"}}\n";
    let ear = Arc::new(Ear::default());
    let report = Rig::new(at)
        .run("log.wat", |run| {
            run.attachments.control.observer = Some(ear.clone());
            run.spec.limits.log_bytes = 10 * LINE.len() as u64 + 5;
        })
        .await;
    assert_eq!(report.streams.log.bytes, LINE.repeat(10));
    assert!(report.streams.log.truncated);
    assert_eq!(*ear.wrote_bytes.lock().unwrap(), [0, 0, 1000 * LINE.len()]);
    assert!(matches!(report.outcome, Outcome::Completed(_)));
}
