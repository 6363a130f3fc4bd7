//! Changing a workflow as a whole: cancel, retry, pause, resume, signal.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::http::body::{self, BodyLimit};
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::{PathParts, unknown_workflow};
use crate::http::tasks::submit::idempotency_key;
use crate::http::workflows::wire::WorkflowStatus;
use crate::http::{AppState, json};
use crate::intake::fingerprint::fingerprint;
use crate::intake::json::parse;
use crate::intake::query::Query;
use crate::intake::refused::Refused;
use cofferdam::nodes::plan::{SIGNAL_BYTES_MAX, is_signal};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::workflow::graph::NODES_MAX;
use cofferdam_domain::workflow::{RetryMode, WorkflowId, WorkflowState};
use cofferdam_storage::{
    CancelledWorkflow, NewSignal, PausedWorkflow, RetriedWorkflow, Retry, Signalled,
    WORKFLOW_SIGNALS_MAX,
};

/// The most bytes that come with a signal.
const SIGNAL_CONTENT_BYTES_MAX: u64 = 256 * 1024;

/// The answer to a workflow's cancellation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkflowCancelled {
    workflow_id: String,
    /// How many nodes are cancelled now.
    cancelled: usize,
    /// How many run and are asked to end.
    cancelling: usize,
}

/// Which nodes are tried again.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRequest {
    /// `failed` (those that did not complete; the default), `failed_and_downstream` (and all that come behind them)
    /// or `all`.
    #[schema(pattern = "^(failed|failed_and_downstream|all)$")]
    mode: Option<String>,
    /// The nodes to begin with instead of those that did not complete.
    #[serde(default)]
    #[schema(max_items = 1_000)]
    from: Vec<String>,
}

/// The answer to a retry.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkflowRetried {
    workflow_id: String,
    status: &'static str,
    /// The number of the new run.
    run: u32,
}

/// The answer to a signal.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct WorkflowSignalled {
    workflow_id: String,
    signal: String,
    /// `given` to the node that waited for it; `kept` for one that will; or `repeated`, because it was given before.
    outcome: &'static str,
    /// The task of the node that waited for it.
    task_id: Option<String>,
}

/// Cancel a workflow
///
/// Every node that is not final is cancelled: at once if it has not begun, else as a running task is.
#[utoipa::path(
    delete, path = "/v1/workflows/{id}", operation_id = "cancel_workflow", tag = "Workflows",
    params(("id" = String, Path, description = "The workflow's id")),
    responses(
        (status = 202, description = "Its nodes are cancelled, or will be", body = WorkflowCancelled),
        (status = 409, description = "The workflow is final", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn cancel(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.workflow()?;
    match services.queue.cancel_workflow(&caller, id).await? {
        CancelledWorkflow::Cancelled { at_once, requested } => {
            let answer = WorkflowCancelled {
                workflow_id: id.to_string(),
                cancelled: at_once.len(),
                cancelling: requested.len(),
            };
            Ok(json::answer(StatusCode::ACCEPTED, &answer))
        }
        CancelledWorkflow::Final(state) => Err(is_final(id, state)),
        CancelledWorkflow::Unknown => Err(unknown_workflow(id)),
    }
}

/// Try nodes of a workflow again
///
/// The results of the other nodes stay. The attempts of a node are counted on, and the workflow has another run.
#[utoipa::path(
    post, path = "/v1/workflows/{id}/retry", operation_id = "retry_workflow", tag = "Workflows",
    params(("id" = String, Path, description = "The workflow's id")),
    request_body = RetryRequest,
    responses(
        (status = 202, description = "It runs again", body = WorkflowRetried),
        (status = 409, description = "It is not final, or nothing of it would be tried again", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn retry(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    Query::of(uri.query())?.done()?;
    let id = path.workflow()?;
    let body = body::collect(&headers, body, json::limit(&services)).await?;
    let asked: RetryRequest = match body.is_empty() {
        true => RetryRequest::default(),
        false => {
            json::require(&headers)?;
            parse(&body)?
        }
    };
    let mode = asked.mode.as_deref().map(|mode| {
        let refused = || Refused::field("mode", "not failed, failed_and_downstream or all");
        RetryMode::parse(mode).ok_or_else(refused)
    });
    if asked.from.len() > NODES_MAX {
        return Err(Refused::field("from", format!("at most {NODES_MAX} nodes")).into());
    }
    let retry = Retry {
        mode: mode.transpose()?.unwrap_or(RetryMode::Failed),
        from: asked.from,
    };
    let conflict = |code, detail: String| Err(ApiError::new(StatusCode::CONFLICT, code, detail));
    match services.queue.retry_workflow(&caller, id, retry).await? {
        RetriedWorkflow::Running { run } => {
            let answer = WorkflowRetried {
                workflow_id: id.to_string(),
                status: WorkflowState::Running.as_str(),
                run,
            };
            Ok(json::answer(StatusCode::ACCEPTED, &answer))
        }
        RetriedWorkflow::Nothing => conflict(
            "nothing_to_retry",
            format!("no node of workflow {id} would be tried again"),
        ),
        RetriedWorkflow::NotFinal(state) => conflict(
            "workflow_not_final",
            format!(
                "workflow {id} is {}; only a final one can be tried again",
                state.as_str()
            ),
        ),
        RetriedWorkflow::Exhausted => conflict(
            "task_exhausted",
            format!("a node of workflow {id} has had as many attempts as one task can have"),
        ),
        RetriedWorkflow::UnknownNode(node) => {
            Err(Refused::field("from", format!("the workflow has no node {node:?}")).into())
        }
        RetriedWorkflow::Unknown => Err(unknown_workflow(id)),
    }
}

/// Pause a workflow
///
/// No node of it begins until it is resumed. What runs goes on.
#[utoipa::path(
    post, path = "/v1/workflows/{id}/pause", operation_id = "pause_workflow", tag = "Workflows",
    params(("id" = String, Path, description = "The workflow's id")),
    responses(
        (status = 200, description = "It is paused", body = WorkflowStatus),
        (status = 409, description = "The workflow is final", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn pause(
    state: State<AppState>,
    by: By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    set_paused(state, by, path, uri, WorkflowState::Paused).await
}

/// Let a paused workflow go on
#[utoipa::path(
    post, path = "/v1/workflows/{id}/resume", operation_id = "resume_workflow", tag = "Workflows",
    params(("id" = String, Path, description = "The workflow's id")),
    responses(
        (status = 200, description = "It goes on", body = WorkflowStatus),
        (status = 409, description = "The workflow is final", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn resume(
    state: State<AppState>,
    by: By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    set_paused(state, by, path, uri, WorkflowState::Running).await
}

async fn set_paused(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
    wanted: WorkflowState,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.workflow()?;
    let paused = wanted == WorkflowState::Paused;
    match services.queue.pause_workflow(&caller, id, paused).await? {
        PausedWorkflow::Changed | PausedWorkflow::Unchanged => Ok(json::answer(
            StatusCode::OK,
            &WorkflowStatus::new(id, wanted),
        )),
        PausedWorkflow::Final(state) => Err(is_final(id, state)),
        PausedWorkflow::Unknown => Err(unknown_workflow(id)),
    }
}

/// Give a signal to a workflow
///
/// The node that waits for it longest completes with what comes with it: any JSON, or null. If none waits for it yet,
/// it is kept. With an `Idempotency-Key` a repeated call is the same signal.
#[utoipa::path(
    post, path = "/v1/workflows/{id}/signals/{name}", operation_id = "signal_workflow", tag = "Workflows",
    params(
        ("id" = String, Path, description = "The workflow's id"),
        ("name" = String, Path, description = "The signal: 1 to 128 of A-Z a-z 0-9 _ . - :"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "1 to 255 visible characters"),
    ),
    request_body(description = "What comes with it", content((serde_json::Value = "application/json"))),
    responses(
        (status = 202, description = "It is given or kept", body = WorkflowSignalled),
        (status = 200, description = "It was given before", body = WorkflowSignalled),
        (status = 409, description = "The workflow is final, or the key belongs to another signal", body = crate::http::error::Problem),
        (status = 429, description = "The workflow has had as many signals as it may", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn signal(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let (id, name) = (path.workflow()?, path.text(1).to_owned());
    if !is_signal(&name) {
        let why = format!("1 to {SIGNAL_BYTES_MAX} of A-Z a-z 0-9 _ . - :");
        return Err(Refused::field("name", why).into());
    }
    let most = SIGNAL_CONTENT_BYTES_MAX;
    let limit = BodyLimit::new(
        &services,
        most,
        "body_too_large",
        "what comes with a signal",
    );
    let body = body::collect(&headers, body, limit).await?;
    let content = content(&headers, body)?;
    let signal = NewSignal {
        fingerprint: fingerprint(&[name.as_bytes(), b"\0", &content].concat()),
        idempotency_key: idempotency_key(&headers)?,
        payload: Payload::json(content),
        name: name.clone(),
    };
    let answer = |status, outcome, task: Option<String>| {
        let answer = WorkflowSignalled {
            workflow_id: id.to_string(),
            signal: name.clone(),
            outcome,
            task_id: task,
        };
        Ok(json::answer(status, &answer))
    };
    match services.queue.signal_workflow(&caller, id, signal).await? {
        Signalled::Given(task) => answer(StatusCode::ACCEPTED, "given", Some(task.to_string())),
        Signalled::Kept => answer(StatusCode::ACCEPTED, "kept", None),
        Signalled::Repeated => answer(StatusCode::OK, "repeated", None),
        Signalled::Conflict => Err(ApiError::new(
            StatusCode::CONFLICT,
            "conflict",
            "an earlier, different signal has this idempotency key",
        )),
        Signalled::Final(state) => Err(is_final(id, state)),
        Signalled::TooMany => Err(ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "signals_full",
            format!("a workflow may have {WORKFLOW_SIGNALS_MAX} signals"),
        )),
        Signalled::Unknown => Err(unknown_workflow(id)),
    }
}

/// What comes with a signal: JSON, or null for an empty body.
fn content(headers: &HeaderMap, body: Bytes) -> Result<Bytes, ApiError> {
    if body.is_empty() {
        return Ok(Bytes::from_static(b"null"));
    }
    json::require(headers)?;
    match serde_json::from_slice::<&serde_json::value::RawValue>(&body) {
        Ok(_json) => Ok(body),
        Err(error) => {
            let detail = format!("the body is not JSON: {error}");
            Err(ApiError::bad_request("invalid_json", detail))
        }
    }
}

fn is_final(id: WorkflowId, state: WorkflowState) -> ApiError {
    let detail = format!("workflow {id} is already {}", state.as_str());
    ApiError::new(StatusCode::CONFLICT, "workflow_final", detail)
        .with("workflow_status", state.as_str())
}
