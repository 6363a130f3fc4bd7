//! What is known of a task, in words.

use super::*;
use crate::attempt::FailureKind;

#[test]
fn priorities_are_ranked_and_named() {
    for (rank, priority) in (0..).zip(Priority::ALL) {
        assert_eq!(priority.rank(), rank);
        assert_eq!(Priority::from_rank(rank), Some(priority));
        assert_eq!(Priority::parse(priority.as_str()), Some(priority));
    }
    assert_eq!(Priority::parse("medium"), Some(Priority::Normal));
    assert_eq!(Priority::parse("urgent"), None);
    assert_eq!(Priority::from_rank(4), None);
}

#[test]
fn no_input_is_no_bytes_of_no_type() {
    let Input::Inline(empty) = Input::empty() else {
        panic!("it is with the task");
    };
    assert!(empty.body.is_empty());
    assert_eq!(&*empty.content_type, "application/octet-stream");
    let words = Priority::ALL.map(Priority::as_str);
    assert_eq!(words, ["critical", "high", "normal", "low"]);
    assert_eq!(TaskId(Uuid::nil()).to_string(), Uuid::nil().to_string());
}

#[test]
fn a_label_says_what_a_task_waits_for() {
    let now = Timestamp::from_millis(100);
    let label = |state: TaskState, attempt: u32, run_at: i64, cancel_requested: bool| {
        let task = Task {
            state,
            attempt,
            run_at: Timestamp::from_millis(run_at),
            cancel_requested,
            ..task()
        };
        task.label(now).as_str()
    };
    assert_eq!(label(TaskState::Pending, 0, 101, false), "scheduled");
    assert_eq!(label(TaskState::Pending, 1, 101, true), "retrying");
    assert_eq!(label(TaskState::Pending, 0, 100, false), "pending");
    assert_eq!(label(TaskState::Pending, 1, 99, true), "pending");
    assert_eq!(label(TaskState::Running, 1, 101, false), "running");
    assert_eq!(label(TaskState::Running, 1, 0, true), "cancelling");
    assert_eq!(label(TaskState::Cancelled, 1, 101, true), "cancelled");
    assert_eq!(label(TaskState::Blocked, 0, 101, false), "blocked");
    assert_eq!(label(TaskState::Completed, 1, 101, true), "completed");
}

#[test]
fn a_task_that_failed_is_dead_if_another_attempt_could_have_helped() {
    let label = |kind: Option<FailureKind>, attempt: u32| {
        let task = Task {
            state: TaskState::Failed,
            attempt,
            max_attempts: 2,
            failure: kind.map(|kind| Failure::new(kind, "")),
            ..task()
        };
        task.label(Timestamp::EPOCH).as_str()
    };
    assert_eq!(label(Some(FailureKind::Trap), 1), "failed");
    assert_eq!(label(Some(FailureKind::Trap), 2), "dead");
    assert_eq!(label(Some(FailureKind::Lost), 1), "dead");
    assert_eq!(label(None, 1), "failed");
}

fn task() -> Task {
    let now = Timestamp::EPOCH;
    Task {
        id: TaskId(Uuid::nil()),
        tenant: Tenant::DEFAULT,
        module: ModuleName::parse("m").unwrap(),
        digest: Digest::from_bytes([0; 32]),
        state: TaskState::Pending,
        priority: Priority::Normal,
        attempt: 0,
        max_attempts: 1,
        lost: 0,
        progress: 0.0,
        progress_note: String::new(),
        cancel_requested: false,
        created_at: now,
        run_at: now,
        started_at: None,
        finished_at: None,
        updated_at: now,
        isolation: None,
        placement: Placement::default(),
        worker: None,
        usage: None,
        failure: None,
        result_bytes: None,
        truncated: [false; 3],
        metadata: "{}".to_owned(),
        has_callback: false,
    }
}
