//! Tasks as callers see them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::modules::wire::HeldJson;
use crate::http::tasks::callback_state::CallbackStateJson;
use crate::intake::time::Time;
use cofferdam_domain::attempt::{Artifact, Attempt, Failure, Usage};
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Task;
use cofferdam_domain::time::Timestamp;

/// A task and its state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TaskJson {
    task_id: String,
    /// The module's name at submission.
    module: String,
    /// The version every attempt runs.
    digest: String,
    /// `blocked`, `pending`, `running`, `completed`, `failed` or `cancelled`.
    status: &'static str,
    /// The more detailed state: also `scheduled`, `retrying`, `cancelling` and `dead` (it failed
    /// after several attempts, with none left, or it lost more hosts than it may).
    label: &'static str,
    priority: &'static str,
    /// Attempts begun so far.
    attempt: u32,
    max_attempts: u32,
    /// How often its host died under it.
    lost: u32,
    /// 0 to 1; 1 once it is completed.
    progress: f64,
    progress_note: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// The earliest moment it may run.
    #[schema(value_type = String, format = DateTime)]
    run_at: Time,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Time>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Time>,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
    worker_id: Option<String>,
    /// The isolation it asks for, `shared`, `process` or `dedicated`; null if the host decides.
    isolation: Option<&'static str>,
    /// What it requires of a worker.
    requires: Vec<String>,
    /// The worker it is for at first.
    preferred_worker: Option<String>,
    /// What it waits for, if it is pending and no worker that takes tasks can run it.
    waiting_for: Option<WaitingFor>,
    /// Why this host holds its module back, if it is pending and that is so.
    held: Option<HeldJson>,
    /// An estimate, from recent attempts, of when it will be final.
    #[schema(value_type = Option<String>, format = DateTime)]
    estimated_completion: Option<Time>,
    /// What the newest attempt used.
    usage: Option<UsageJson>,
    /// Why the newest attempt failed.
    error: Option<FailureJson>,
    result_bytes: Option<u64>,
    truncated: TruncatedJson,
    /// Whom its end is told, and how far that has come; null in lists.
    pub(super) callback: Option<CallbackStateJson>,
    /// The submitter's object.
    #[schema(value_type = Object)]
    metadata: Box<RawValue>,
}

/// What a pending task waits for.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WaitingFor {
    /// `capable_worker`: no registered worker has all that the task requires. `worker_up`: one has, but
    /// none of them is up and takes tasks.
    pub(super) reason: &'static str,
    /// What it requires and, for `capable_worker`, no single registered worker has besides the rest.
    pub(super) missing: Vec<String>,
}

/// What an attempt used.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct UsageJson {
    duration_us: u64,
    cpu_us: u64,
    fuel: Option<u64>,
    peak_memory_bytes: u64,
    disk_bytes: u64,
    /// Requests to other machines, refused ones among them.
    egress_requests: u64,
    egress_in_bytes: u64,
    egress_out_bytes: u64,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct FailureJson {
    /// The stable failure kind.
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    /// For `guest_error`: whether the module says that it may pass.
    transient: bool,
}

/// Which streams are truncated.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TruncatedJson {
    stdout: bool,
    stderr: bool,
    log: bool,
}

/// One attempt.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AttemptJson {
    attempt: u32,
    worker_id: String,
    digest: String,
    #[schema(value_type = String, format = DateTime)]
    started_at: Time,
    #[schema(value_type = String, format = DateTime)]
    finished_at: Time,
    /// Why it failed; null if it completed.
    error: Option<FailureJson>,
    usage: UsageJson,
    result_bytes: u64,
    truncated: TruncatedJson,
    artifacts: Vec<ArtifactJson>,
}

/// A file an attempt left.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ArtifactJson {
    /// Below `/out`.
    path: String,
    size_bytes: u64,
}

impl TaskJson {
    /// The task at `now`; `estimated_wait` is for a task that is not final.
    pub(crate) fn new(
        task: Task,
        now: Timestamp,
        estimated_wait: std::time::Duration,
        waiting_for: Option<WaitingFor>,
        held: Option<HeldJson>,
    ) -> TaskJson {
        let label = task.label(now).as_str();
        let estimated_completion = match task.state.is_final() {
            true => None,
            false => Some(Time(task.run_at.max(now).plus(estimated_wait))),
        };
        let metadata = RawValue::from_string(task.metadata)
            .unwrap_or_else(|_unreadable| RawValue::NULL.to_owned());
        let requires = task.placement.requires().iter();
        let requires = requires.map(|capability| capability.as_str().to_owned());
        let preferred = task.placement.preferred();
        TaskJson {
            task_id: task.id.to_string(),
            module: task.module.to_string(),
            digest: task.digest.to_string(),
            status: task.state.as_str(),
            label,
            priority: task.priority.as_str(),
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            lost: task.lost,
            progress: progress(task.state, task.progress),
            progress_note: task.progress_note,
            created_at: Time(task.created_at),
            run_at: Time(task.run_at),
            started_at: task.started_at.map(Time),
            finished_at: task.finished_at.map(Time),
            updated_at: Time(task.updated_at),
            worker_id: task.worker.map(|worker| worker.0.to_string()),
            isolation: task.isolation.map(Isolation::as_str),
            requires: requires.collect(),
            preferred_worker: preferred.map(|preferred| preferred.as_str().to_owned()),
            waiting_for,
            held,
            estimated_completion,
            usage: task.usage.as_ref().map(UsageJson::from),
            error: task.failure.map(FailureJson::from),
            result_bytes: task.result_bytes,
            truncated: TruncatedJson::from(task.truncated),
            callback: None,
            metadata,
        }
    }
}

/// A task's progress: its last report, or 1 once it is done.
pub(crate) fn progress(state: TaskState, said: f64) -> f64 {
    match state {
        TaskState::Completed => 1.0,
        TaskState::Blocked
        | TaskState::Pending
        | TaskState::Running
        | TaskState::Failed
        | TaskState::Cancelled => said,
    }
}

impl From<&Usage> for UsageJson {
    fn from(usage: &Usage) -> UsageJson {
        UsageJson {
            duration_us: usage.duration_us(),
            cpu_us: usage.cpu_us(),
            fuel: usage.fuel,
            peak_memory_bytes: usage.peak_memory_bytes,
            disk_bytes: usage.disk_bytes,
            egress_requests: usage.egress.requests,
            egress_in_bytes: usage.egress.in_bytes,
            egress_out_bytes: usage.egress.out_bytes,
        }
    }
}

impl From<Failure> for FailureJson {
    fn from(failure: Failure) -> FailureJson {
        FailureJson {
            kind: failure.kind.as_str(),
            message: failure.message,
            backtrace: failure.backtrace,
            exit_code: failure.exit_code,
            transient: failure.transient,
        }
    }
}

impl From<[bool; 3]> for TruncatedJson {
    fn from([stdout, stderr, log]: [bool; 3]) -> TruncatedJson {
        TruncatedJson {
            stdout,
            stderr,
            log,
        }
    }
}

impl From<Attempt> for AttemptJson {
    fn from(attempt: Attempt) -> AttemptJson {
        AttemptJson {
            attempt: attempt.number,
            worker_id: attempt.worker.0.to_string(),
            digest: attempt.digest.to_string(),
            started_at: Time(attempt.started_at),
            finished_at: Time(attempt.finished_at),
            error: attempt.failure.map(FailureJson::from),
            usage: UsageJson::from(&attempt.usage),
            result_bytes: attempt.result_bytes,
            truncated: TruncatedJson::from(attempt.truncated),
            artifacts: attempt
                .artifacts
                .into_iter()
                .map(ArtifactJson::from)
                .collect(),
        }
    }
}

impl From<Artifact> for ArtifactJson {
    fn from(artifact: Artifact) -> ArtifactJson {
        ArtifactJson {
            path: artifact.path,
            size_bytes: artifact.size_bytes,
        }
    }
}
