//! Maps the errors of the inner layers to HTTP.

use axum::http::StatusCode;

use crate::http::error::ApiError;
use crate::mcp::SessionsFull;
use cofferdam::interpreters::Unavailable;
use cofferdam::queue::QueueError;
use cofferdam::registry::schema::Misfit;
use cofferdam::registry::{CompileFailure, RegistryError};
use cofferdam::runner::{RoomError, RunError};
use cofferdam::sessions::SessionError;
use cofferdam_domain::attempt::Failure;
use cofferdam_domain::caller::Forbidden;
use cofferdam_domain::limits::AboveCeiling;
use cofferdam_domain::module::{BadModuleName, BadModuleRef};
use cofferdam_storage::StorageError;

/// Seconds after which another host, or this one after a restart, may answer.
pub(super) const DRAIN_RETRY_S: u32 = 5;
/// Seconds after which an interpreter that is being compiled may be ready.
const WARM_UP_RETRY_S: u32 = 2;
/// Seconds after which an operator may have replaced an interpreter that cannot be used.
const FAILED_RETRY_S: u32 = 300;
/// Seconds after which a full queue may have room.
const FULL_RETRY_S: u32 = 1;
/// Seconds after which a busy or unreachable database may answer.
pub(super) const UNAVAILABLE_RETRY_S: u32 = 2;
/// Seconds after which a host that did not answer may do so, or is known to have ended.
pub(super) const UNREACHABLE_RETRY_S: u32 = 5;
/// Seconds after which a bulk change may have ended.
const BULK_RETRY_S: u32 = 2;
/// Seconds after which the last task that asked one of them may have been removed.
const PLACEMENTS_RETRY_S: u32 = 60;
/// Seconds after which a session may have ended, or have taken the waiting calls.
const SESSION_RETRY_S: u32 = 5;

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
            StorageError::QueueFull { pending, limit } => {
                ApiError::busy("queue_full", text, FULL_RETRY_S)
                    .with("pending", pending)
                    .with("limit", limit)
            }
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
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> ApiError {
        match error {
            RegistryError::Unknown(module) => {
                ApiError::not_found("module_not_found", format!("there is no module {module}"))
            }
            // It is a pinned version, or one that a task was submitted with.
            RegistryError::Gone(digest) => ApiError::not_found(
                "module_not_found",
                format!("the module version {digest} is no longer kept"),
            ),
            RegistryError::Compile(error) => compile_error(error),
            RegistryError::Reserved(_) => {
                ApiError::bad_request("invalid_module_name", error.to_string())
            }
            RegistryError::Forbidden(error) => error.into(),
            RegistryError::Storage(error) => error.into(),
        }
    }
}

impl From<Forbidden> for ApiError {
    fn from(error: Forbidden) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "forbidden", error.to_string())
            .with("scope", error.0.as_str())
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
            RunError::NoRoom(no_room) => no_room.into(),
            RunError::Draining => ApiError::draining(),
            RunError::Script(failure) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                ApiError::new(status, "module_refused", failure.message)
                    .with("traceback", failure.backtrace)
            }
            RunError::Grant(detail) => {
                ApiError::bad_request("grant_refused", format!("grants.dirs: {detail}"))
            }
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
            QueueError::Storage(error) => error.into(),
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

impl From<BadModuleName> for ApiError {
    fn from(error: BadModuleName) -> ApiError {
        ApiError::bad_request("invalid_module_name", error.to_string())
    }
}

impl From<BadModuleRef> for ApiError {
    fn from(error: BadModuleRef) -> ApiError {
        ApiError::bad_request("invalid_module_name", error.to_string())
    }
}

/// An input that does not fit the module's schema, or could not be checked.
fn schema_mismatch(misfit: &Misfit) -> ApiError {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    match misfit {
        Misfit::Unfit(_) | Misfit::NotJson(_) => {
            let detail = format!("the input does not fit the module's schema: {misfit}");
            ApiError::new(unprocessable, "invalid_input", detail)
        }
        Misfit::Costly(_) => {
            let detail = format!("the input cannot be checked: {misfit}");
            ApiError::new(unprocessable, "schema_check_limit", detail)
        }
        Misfit::TooLarge(memory_bytes) => {
            let detail = format!("the input cannot be checked: {misfit}");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            ApiError::new(status, "schema_check_too_large", detail)
                .with("limit_bytes", *memory_bytes)
        }
        Misfit::Lost(_) => ApiError::internal(misfit),
        Misfit::Schema(_) => {
            let detail = format!("the input cannot be checked: {misfit}; upload the module again");
            ApiError::new(unprocessable, "schema_refused", detail)
        }
        Misfit::Busy => ApiError::busy("schema_checks_busy", misfit.to_string(), FULL_RETRY_S),
    }
}

/// The compiler's errors, which `registry` passes on unchanged.
fn compile_error(error: CompileFailure) -> ApiError {
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    match error {
        CompileFailure::Refused(reason) => ApiError::new(unprocessable, "module_refused", reason),
        CompileFailure::Limit(reason) => ApiError::new(unprocessable, "compile_limit", reason),
        CompileFailure::Full(cause) => {
            tracing::warn!(cause, "no room for a compiled module");
            let detail = "there is no room for the compiled module";
            ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", detail)
        }
        CompileFailure::Busy => ApiError::busy(
            "compiler_busy",
            "too many modules already wait for the compiler",
            UNAVAILABLE_RETRY_S,
        ),
        CompileFailure::Host(cause) => ApiError::host(
            "compiler_failed",
            "the compiler failed on this module",
            cause,
        ),
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
