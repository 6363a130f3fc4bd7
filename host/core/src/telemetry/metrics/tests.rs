//! Series and their bounds.

use super::*;

#[test]
fn counts_are_rendered_under_their_kind() {
    let metrics = Metrics::new();
    let (wait, run) = (Duration::from_millis(2), Duration::from_millis(7));
    metrics.attempt_finished("resize", Some(FailureKind::HostError), wait, run);
    metrics.attempt_finished("resize", None, wait, run);
    metrics.task_finished("resize", TaskState::Failed, Some(FailureKind::Trap), run);
    metrics.route("/v1/tasks").count(202);
    let text = metrics.render(&Readings {
        active: 3,
        ..Readings::default()
    });
    for line in [
        r#"cofferdam_attempts_total{kind="host_error"} 1"#,
        r#"cofferdam_attempts_total{kind="none"} 1"#,
        r#"cofferdam_tasks_total{state="failed",kind="trap"} 1"#,
        r#"cofferdam_http_requests_total{route="/v1/tasks",status="2xx"} 1"#,
        r#"cofferdam_run_duration_seconds_count{module="resize"} 2"#,
        "cofferdam_active_attempts 3",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn module_labels_are_bounded() {
    let metrics = Metrics::new();
    for number in 0..MODULES_MAX * 3 {
        metrics.run_finished(&format!("module-{number}"), None, Duration::ZERO);
    }
    let text = metrics.render(&Readings::default());
    let series = text
        .matches("cofferdam_run_duration_seconds_count{")
        .count();
    assert_eq!(series, MODULES_MAX + 1);
    assert!(text.contains(r#"run_duration_seconds_count{module="other"} 200"#));
}
