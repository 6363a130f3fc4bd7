//! Maps the errors of the inner layers to HTTP; those about modules are in `modules`.

use axum::http::StatusCode;

use crate::http::error::modules::schema_mismatch;
use crate::http::error::{ApiError, FULL_RETRY_S, UNAVAILABLE_RETRY_S};
use crate::http::rates;
use crate::mcp::SessionsFull;
use cofferdam::access::{AccessError, Refusal};
use cofferdam::audit::Unwritten;
use cofferdam::interpreters::Unavailable;
use cofferdam::queue::QueueError;
use cofferdam::runner::{RoomError, RunError};
use cofferdam::schedules::ScheduleError;
use cofferdam::schedules::timetable::Unreadable;
use cofferdam::secrets::SecretsError;
use cofferdam::sessions::SessionError;
use cofferdam::workflows::WorkflowError;
use cofferdam::workflows::definitions::DefinitionError;
use cofferdam_domain::attempt::Failure;
use cofferdam_domain::caller::Forbidden;
use cofferdam_domain::caller::quota::OverQuota;
use cofferdam_domain::limits::AboveCeiling;
use cofferdam_domain::pressure::Pressed;
use cofferdam_domain::said;
use cofferdam_domain::workflow::graph::BadGraph;
use cofferdam_storage::StorageError;

/// Seconds after which another host, or this one after a restart, may answer.
pub(super) const DRAIN_RETRY_S: u32 = 5;
/// Seconds after which an interpreter that is being compiled may be ready.
const WARM_UP_RETRY_S: u32 = 2;
/// Seconds after which an operator may have replaced an interpreter that cannot be used.
const FAILED_RETRY_S: u32 = 300;
/// Seconds after which a host that did not answer may do so, or is known to have ended.
pub(super) const UNREACHABLE_RETRY_S: u32 = 5;
/// Seconds after which a bulk change may have ended.
const BULK_RETRY_S: u32 = 2;
/// Seconds after which the last task that asked one of them may have been removed.
const PLACEMENTS_RETRY_S: u32 = 60;
/// Seconds after which a session may have ended, or have taken the waiting calls.
const SESSION_RETRY_S: u32 = 5;
/// How long memory stays short, as a rule, once a host refuses work for it.
const PRESSED_RETRY_S: u32 = 5;

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> ApiError {
        let text = error.to_string();
        match error {
            StorageError::Conflict(task) => ApiError::new(StatusCode::CONFLICT, "conflict", text)
                .with("task_id", task.to_string()),
            StorageError::BatchConflict(batch) => {
                ApiError::new(StatusCode::CONFLICT, "conflict", text)
                    .with("batch_id", batch.to_string())
            }
            StorageError::WorkflowConflict(workflow) => {
                ApiError::new(StatusCode::CONFLICT, "conflict", text)
                    .with("workflow_id", workflow.to_string())
            }
            StorageError::QueueFull { pending, limit } => {
                ApiError::busy("queue_full", text, FULL_RETRY_S)
                    .with("pending", pending)
                    .with("limit", limit)
            }
            StorageError::OverQuota(over) => over.into(),
            StorageError::TooManyPlacements(most) => {
                ApiError::busy("placements_full", text, PLACEMENTS_RETRY_S).with("limit", most)
            }
            StorageError::ModuleGone(_) => ApiError::not_found("module_not_found", text),
            StorageError::TooLarge(_) => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text)
            }
            StorageError::Refused(cause) => {
                ApiError::host("storage_refused", "storage refused this request", cause)
            }
            StorageError::Full(_) | StorageError::OverBudget { .. } => {
                ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", text)
            }
            StorageError::TooSlow => ApiError::busy("read_timeout", text, UNAVAILABLE_RETRY_S),
            StorageError::Unavailable(cause) => {
                tracing::warn!(cause, "storage is unavailable");
                let detail = "storage is unavailable";
                ApiError::busy("storage_unavailable", detail, UNAVAILABLE_RETRY_S)
            }
            StorageError::BlobsUnavailable(cause) => {
                tracing::warn!(cause, "the bucket is unavailable");
                let detail = "the bucket that keeps large bytes is unavailable";
                ApiError::busy("blobs_unavailable", detail, UNAVAILABLE_RETRY_S)
            }
            StorageError::Unknown(cause) => ApiError::host(
                "outcome_unknown",
                "whether this took effect is unknown; repeat it with the same Idempotency-Key or task_id",
                cause,
            ),
            StorageError::Corrupt(cause) => {
                ApiError::host("storage_corrupt", "stored data is corrupt", cause)
            }
            StorageError::KeyMissing { .. } => {
                let detail = "stored data is sealed with a key that this host does not have";
                ApiError::host("encryption_key_missing", detail, text)
            }
        }
    }
}

impl From<OverQuota> for ApiError {
    fn from(over: OverQuota) -> ApiError {
        ApiError::over_quota(over)
    }
}

impl From<Unwritten> for ApiError {
    fn from(unwritten: Unwritten) -> ApiError {
        match unwritten {
            Unwritten::NotDone => ApiError::busy(
                "audit_unavailable",
                unwritten.to_string(),
                UNAVAILABLE_RETRY_S,
            ),
            Unwritten::NotNoted => ApiError::host(
                "outcome_unknown",
                "whether this took effect is unknown",
                unwritten,
            ),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let code = match refusal {
            Refusal::Missing => "key_missing",
            Refusal::Unknown => "key_unknown",
            Refusal::Expired => "key_expired",
            Refusal::Revoked => "key_revoked",
            Refusal::Stale => {
                let text = refusal.to_string();
                return ApiError::busy("storage_unavailable", text, UNAVAILABLE_RETRY_S);
            }
            Refusal::TooMany(standing) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let refused = ApiError::new(status, "rate_limited", refusal.to_string());
                let seconds = rates::wait_s(standing).max(1);
                return refused
                    .with("limit", standing.rate.to_string())
                    .retry_after(seconds);
            }
            Refusal::NotLocal => {
                return ApiError::new(StatusCode::FORBIDDEN, "host_refused", refusal.to_string());
            }
        };
        let detail = format!("{refusal}; keys go into X-API-Key or Authorization: Bearer");
        ApiError::new(StatusCode::UNAUTHORIZED, code, detail)
    }
}

impl From<AccessError> for ApiError {
    fn from(error: AccessError) -> ApiError {
        let text = error.to_string();
        let conflict = |code| ApiError::new(StatusCode::CONFLICT, code, text.clone());
        match error {
            AccessError::Forbidden(error) => error.into(),
            AccessError::UnknownTenant(_) => ApiError::not_found("tenant_not_found", text),
            AccessError::UnknownKey(_) | AccessError::NotLive(_) => {
                ApiError::not_found("key_not_found", text)
            }
            AccessError::Expired => {
                ApiError::bad_request("invalid_field", text).with("field", "expires_at")
            }
            AccessError::FirstKey => conflict("first_key"),
            AccessError::TooManyKeys => conflict("keys_full"),
            AccessError::TooManyTenants => conflict("tenants_full"),
            AccessError::DefaultTenant => conflict("tenant_default"),
            AccessError::OwnTenant => conflict("tenant_own"),
            AccessError::NotEmpty {
                keys,
                tasks,
                modules,
            } => conflict("tenant_not_empty")
                .with("keys", keys)
                .with("tasks", tasks)
                .with("modules", modules),
            AccessError::Storage(error) => error.into(),
        }
    }
}

impl From<SecretsError> for ApiError {
    fn from(error: SecretsError) -> ApiError {
        let text = error.to_string();
        match error {
            SecretsError::Forbidden(error) => error.into(),
            SecretsError::Unknown(_) => ApiError::not_found("secret_not_found", text),
            SecretsError::TooMany => ApiError::new(StatusCode::CONFLICT, "secrets_full", text),
            SecretsError::NoKeys => {
                ApiError::new(StatusCode::NOT_IMPLEMENTED, "secrets_disabled", text)
            }
            SecretsError::Storage(error) => error.into(),
        }
    }
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> ApiError {
        let text = error.to_string();
        let field = |name| {
            ApiError::bad_request("invalid_field", format!("{name}: {text}")).with("field", name)
        };
        match error {
            ScheduleError::Forbidden(error) => error.into(),
            ScheduleError::Timetable(unreadable) => field(match unreadable {
                Unreadable::Pattern(_) | Unreadable::Never => "cron",
                Unreadable::Zone => "time_zone",
                Unreadable::Interval => "every_ms",
            }),
            ScheduleError::Unreadable { field: name, .. } => field(name),
            ScheduleError::Queue(error) => ApiError::from(error).under("task"),
            ScheduleError::Workflow(error) => ApiError::from(error).under("workflow"),
            ScheduleError::Definition(error) => ApiError::from(error).under("workflow"),
            ScheduleError::Unknown(_) => ApiError::not_found("schedule_not_found", text),
            ScheduleError::TooMany => ApiError::new(StatusCode::CONFLICT, "schedules_full", text),
            ScheduleError::Storage(error) => error.into(),
        }
    }
}

impl From<Forbidden> for ApiError {
    fn from(error: Forbidden) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "forbidden", error.to_string())
            .with("scope", error.0.as_str())
    }
}

impl From<Pressed> for ApiError {
    fn from(pressed: Pressed) -> ApiError {
        ApiError::busy("memory_short", pressed.to_string(), PRESSED_RETRY_S)
    }
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> ApiError {
        match error {
            RunError::Module(error) => error.into(),
            RunError::Limit(error) => error.into(),
            RunError::Schema(misfit) => schema_mismatch(&misfit),
            RunError::Forbidden(error) => error.into(),
            RunError::Code(bad) => ApiError::field(&bad.field, bad.why),
            RunError::Unavailable(unavailable) => unavailable.into(),
            RunError::OverQuota(over) => over.into(),
            RunError::NoRoom(no_room) => no_room.into(),
            RunError::Draining => ApiError::draining(),
            RunError::Pressed(pressed) => pressed.into(),
            RunError::Held(held) => {
                let retry_s = u32::try_from(held.wait.as_secs()).unwrap_or(u32::MAX);
                let detail = held.to_string();
                ApiError::busy("module_held", detail, retry_s.saturating_add(1))
                    .with("failures", held.failures)
                    .with("reason", held.reason)
            }
            RunError::Script(failure) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                ApiError::new(status, "module_refused", failure.message)
                    .with("traceback", failure.backtrace)
            }
            RunError::Secret(SecretsError::Unknown(_)) => {
                ApiError::bad_request("grant_refused", error.to_string())
            }
            RunError::Secret(error) => error.into(),
            RunError::Grant(detail) => ApiError::bad_request("grant_refused", detail),
            RunError::Callback(detail) => ApiError::bad_request("callback_refused", detail),
        }
    }
}

impl From<RoomError> for ApiError {
    fn from(no_room: RoomError) -> ApiError {
        let code = match no_room {
            RoomError::Waited(_) | RoomError::Crowded => "queue_timeout",
            RoomError::Memory => "memory_busy",
        };
        ApiError::busy(code, no_room.to_string(), FULL_RETRY_S)
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> ApiError {
        let text = error.to_string();
        match error {
            SessionError::Disabled => {
                ApiError::new(StatusCode::NOT_IMPLEMENTED, "sessions_disabled", text)
            }
            SessionError::Full(_) => ApiError::busy("sessions_full", text, SESSION_RETRY_S),
            SessionError::OverQuota(over) => over.into(),
            SessionError::IdleTimeout { .. } => {
                ApiError::bad_request("limit_above_ceiling", text).with("field", "idle_timeout_ms")
            }
            SessionError::Unknown(_) => ApiError::not_found("session_not_found", text),
            SessionError::Ended(failure) => ApiError::new(StatusCode::GONE, "session_ended", text)
                .with("failure", failure.kind.as_str()),
            SessionError::Busy => {
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, "session_busy", text)
                    .retry_after(SESSION_RETRY_S)
            }
            SessionError::Running => {
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, "session_busy", text)
                    .retry_after(SESSION_RETRY_S)
            }
            SessionError::NotBegun(failure) => failure_problem(&failure),
            SessionError::Forbidden(error) => error.into(),
            SessionError::Run(error) => error.into(),
        }
    }
}

impl From<SessionsFull> for ApiError {
    fn from(full: SessionsFull) -> ApiError {
        ApiError::busy("sessions_full", full.to_string(), SESSION_RETRY_S)
    }
}

impl From<Unavailable> for ApiError {
    fn from(unavailable: Unavailable) -> ApiError {
        let text = unavailable.to_string();
        match unavailable {
            Unavailable::NotInstalled(_) => ApiError::new(
                StatusCode::NOT_IMPLEMENTED,
                "interpreter_not_installed",
                text,
            ),
            Unavailable::WarmingUp(_) => {
                ApiError::busy("interpreter_warming_up", text, WARM_UP_RETRY_S)
            }
            Unavailable::NoRoom(_) => ApiError::busy("interpreter_failed", text, WARM_UP_RETRY_S),
            Unavailable::Failed { again, .. } => {
                let retry_s = if again {
                    WARM_UP_RETRY_S
                } else {
                    FAILED_RETRY_S
                };
                ApiError::busy("interpreter_failed", text, retry_s)
            }
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> ApiError {
        match error {
            QueueError::InBatch { place, error } => {
                let is_limit = matches!(&*error, QueueError::Run(RunError::Limit(_)));
                let within = if is_limit { ".limits" } else { "" };
                let parent = format!("tasks[{place}]{within}");
                ApiError::from(*error).under(&parent)
            }
            QueueError::TooManyMatches(_) => {
                ApiError::bad_request("too_many_matches", error.to_string())
            }
            QueueError::BulksBusy => ApiError::busy("bulk_busy", error.to_string(), BULK_RETRY_S),
            QueueError::Run(error) => error.into(),
            QueueError::Forbidden(error) => error.into(),
            QueueError::Draining => ApiError::draining(),
            QueueError::Pressed(pressed) => pressed.into(),
            QueueError::Storage(error) => error.into(),
        }
    }
}

impl From<DefinitionError> for ApiError {
    fn from(error: DefinitionError) -> ApiError {
        let text = error.to_string();
        match error {
            DefinitionError::Forbidden(error) => error.into(),
            DefinitionError::Workflow(error) => error.into(),
            DefinitionError::Unknown(_) => {
                ApiError::not_found("workflow_definition_not_found", text)
            }
            DefinitionError::TooMany => {
                ApiError::new(StatusCode::CONFLICT, "workflow_definitions_full", text)
            }
            DefinitionError::Storage(error) => error.into(),
        }
    }
}

impl From<WorkflowError> for ApiError {
    fn from(error: WorkflowError) -> ApiError {
        let text = error.to_string();
        let refused = ApiError::bad_request("invalid_workflow", said::repeated(&text));
        match error {
            WorkflowError::Graph { nested, error } => match error {
                BadGraph::Unknown { .. } | BadGraph::TooManyEdges(_) | BadGraph::Cycle(_) => {
                    refused.with("field", "edges")
                }
                BadGraph::Name(_)
                | BadGraph::Empty
                | BadGraph::TooManyNodes(_)
                | BadGraph::Twice(_) => refused.with("field", "nodes"),
            }
            .with("nested", nested),
            WorkflowError::Edge { to, .. } => refused.with("field", "edges").with("node", to),
            WorkflowError::Node { node, .. } | WorkflowError::TooDeep(node) => {
                refused.with("node", node)
            }
            WorkflowError::Task { node, error } => {
                let is_limit = matches!(&*error, QueueError::Run(RunError::Limit(_)));
                let error = ApiError::from(*error);
                let error = if is_limit {
                    error.under("limits")
                } else {
                    error
                };
                error.under(&format!("node {node}")).with("node", node)
            }
            WorkflowError::Queue(error) => error.into(),
        }
    }
}

impl From<AboveCeiling> for ApiError {
    fn from(error: AboveCeiling) -> ApiError {
        ApiError::bad_request("limit_above_ceiling", error.to_string())
            .with("field", error.field)
            .with("asked", error.asked)
            .with("ceiling", error.ceiling)
    }
}

/// A failed run or task as a problem: 422, with the kind as its code.
pub(crate) fn failure_problem(failure: &Failure) -> ApiError {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let mut problem = ApiError::new(status, failure.kind.as_str(), failure.message.as_str());
    if let Some(backtrace) = &failure.backtrace {
        problem = problem.with("backtrace", backtrace.as_str());
    }
    if let Some(code) = failure.exit_code {
        problem = problem.with("exit_code", code);
    }
    problem.with("transient", failure.transient)
}
