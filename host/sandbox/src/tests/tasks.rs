//! Task modules: input, output, their own failures, their description.

use super::*;

everywhere! {
    a_task_module_answers,
    a_large_input_arrives_whole,
    a_module_says_how_it_failed,
    an_output_is_bounded,
    progress_is_clamped_and_heard,
    a_panic_of_the_host_ends_only_the_run,
    a_module_describes_itself_under_limits,
}

async fn a_task_module_answers(at: Isolation) {
    let rig = Rig::new(at);
    for fuel in [None, Some(10_000_000)] {
        let report = rig
            .run("echo.wat", |run| {
                run.spec.input = GuestInput::Inline(payload(b"{\"a\":1}"));
                run.spec.limits.fuel = fuel;
            })
            .await;
        assert_eq!(report.usage.fuel.is_some(), fuel.is_some());
        assert_eq!(report.usage.peak_memory_bytes, 128 * 1024);
        assert_eq!(output(report), payload(b"{\"a\":1}"));
    }
}

async fn a_large_input_arrives_whole(at: Isolation) {
    let body = vec![7; 4 << 20];
    let report = Rig::new(at)
        .run("echo.wat", |run| {
            run.spec.input = GuestInput::Inline(payload(&body))
        })
        .await;
    assert_eq!(output(report).body, body);
}

async fn a_module_says_how_it_failed(at: Isolation) {
    let rig = Rig::new(at);
    let cases = [
        ("0", FailureKind::InvalidInput, false),
        ("1", FailureKind::GuestError, false),
        ("2", FailureKind::GuestError, true),
    ];
    for (input, kind, transient) in cases {
        let failure = rig
            .fail("task-fails.wat", |run| {
                run.spec.input = GuestInput::Inline(payload(input.as_bytes()));
            })
            .await;
        assert_eq!(
            failure,
            Failure {
                transient,
                ..Failure::new(kind, input)
            }
        );
    }
}

async fn an_output_is_bounded(at: Isolation) {
    let rig = Rig::new(at);
    let allowed = Limits::DEFAULT.output_bytes;
    let cases = [
        (
            allowed + 1,
            "the output is 4194305 bytes long; 4194304 are allowed",
        ),
        (
            1 << 30,
            "the output is longer than the 4194304 bytes that are allowed",
        ),
    ];
    for (length, message) in cases {
        let began = Instant::now();
        let failure = rig
            .fail("task-output.wat", |run| {
                run.spec.limits.memory_bytes = 2048 * MIB;
                let length = u32::try_from(length).unwrap();
                run.spec.input = GuestInput::Inline(payload(&length.to_le_bytes()));
            })
            .await;
        assert!(began.elapsed() < GRACE * 2);
        assert_eq!(failure, Failure::new(FailureKind::OutputExceeded, message));
    }
}

async fn a_module_describes_itself_under_limits(at: Isolation) {
    let rig = Rig::new(at);
    let limits = Limits {
        cpu: Duration::from_millis(50),
        ..Limits::DEFAULT
    };
    let echo = rig.load_for("echo.wat", EngineClass::Fast);
    let said = rig
        .sandbox
        .describe(&echo, &limits, at)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(said.summary, "Answers with its input.");
    assert_eq!((said.input_schema, said.output_schema), (None, None));

    let command = rig.load_for("command.wat", EngineClass::Fast);
    assert_eq!(rig.sandbox.describe(&command, &limits, at).await, Ok(None));

    let endless = rig.load_for("describe-for-ever.wat", EngineClass::Fast);
    let failure = rig
        .sandbox
        .describe(&endless, &limits, at)
        .await
        .unwrap_err();
    assert!(
        matches!(&failure, Undescribed::Failed(failure) if failure.kind == FailureKind::CpuExhausted),
        "{failure:?}"
    );
    rig.assert_empty().await;
}

async fn progress_is_clamped_and_heard(at: Isolation) {
    let ear = Arc::new(Ear::default());
    let _too_long_a_note = Rig::new(at)
        .fail("progress.wat", |run| {
            run.attachments.control.observer = Some(ear.clone())
        })
        .await;
    assert_eq!(*ear.progress.lock().unwrap(), [0.0, 1.0, 0.0]);
}

async fn a_panic_of_the_host_ends_only_the_run(at: Isolation) {
    struct Clumsy;
    impl Observer for Clumsy {
        fn progress(&self, _: f64, _: &str) {
            panic!("dropped the tray");
        }
        fn wrote(&self, _: Stream, _: &[u8]) {}
    }
    let rig = Rig::new(at);
    let failure = rig
        .fail("progress.wat", |run| {
            run.attachments.control.observer = Some(Arc::new(Clumsy))
        })
        .await;
    assert_eq!(failure.kind, FailureKind::HostError);
    assert!(failure.message.contains("dropped the tray"), "{failure:?}");
    let report = rig.run("echo.wat", |_| {}).await;
    assert!(matches!(report.outcome, Outcome::Completed(_)));
}

#[tokio::test]
async fn code_is_loaded_only_by_the_engine_it_is_for() {
    let rig = Rig::new(Isolation::Shared);
    let dir = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(guest("echo.wat")).unwrap();
    let fast = &rig.sandbox.shared.engines.of(EngineClass::Fast).engine;
    let path = dir.path().join("echo.fast");
    std::fs::write(&path, fast.precompile_component(&wasm).unwrap()).unwrap();

    let load = |path: &Path, class| {
        let code = VerifiedCode::of_test(path, class);
        rig.sandbox.load(&code, ModuleKind::Task)
    };
    let module = load(&path, EngineClass::Fast).unwrap();
    assert!(matches!(
        rig.sandbox
            .start(module, a_run(Isolation::Shared))
            .await
            .unwrap()
            .outcome,
        Outcome::Completed(_)
    ));

    assert!(matches!(
        load(&path, EngineClass::Metered),
        Err(LoadError::Unusable(_))
    ));
    std::fs::write(&path, b"not code").unwrap();
    assert!(matches!(
        load(&path, EngineClass::Fast),
        Err(LoadError::Unusable(_))
    ));
    let other = fast
        .precompile_component(&wat::parse_str("(component)").unwrap())
        .unwrap();
    std::fs::write(&path, other).unwrap();
    assert!(matches!(
        load(&path, EngineClass::Fast),
        Err(LoadError::Refused(_))
    ));
}
