//! `/v1/workflows`: tasks that wait for each other.
//!
//! Submitting and looking are here, changing as a whole is in [`change`], and what many may be submitted by in
//! [`definitions`]; how a workflow is shown is in [`wire`], and how it is
//! followed in [`events`].

pub(crate) mod change;
pub(crate) mod definitions;
pub(crate) mod events;
pub(crate) mod wire;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use crate::http::body;
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::page::{self, Page};
use crate::http::path::{PathParts, unknown_workflow};
use crate::http::tasks::callback_state::CallbackStateJson;
use crate::http::tasks::list::words;
use crate::http::tasks::submit::idempotency_key;
use crate::http::workflows::wire::{WorkflowJson, WorkflowStatus, WorkflowSummary};
use crate::http::{AppState, Services, json};
use crate::intake::query::Query;
use crate::intake::workflow::{WorkflowRequest, WorkflowSource};
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};
use cofferdam_storage::{WorkflowFilter, WorkflowNodes};

/// Submit a workflow
///
/// All of it is checked, each node as if it were a task, and stored in one commit, or none of it. A refusal names the
/// field as `nodes[3].limits.timeout_ms`, or the node or edge. An `Idempotency-Key` or a repeated `workflow_id`
/// gives the earlier workflow with 200.
#[utoipa::path(
    post, path = "/v1/workflows", operation_id = "submit_workflow", tag = "Workflows",
    params(
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "1 to 255 visible characters"),
    ),
    request_body(description = "The workflow", content((WorkflowRequest = "application/json"))),
    responses(
        (
            status = 202, description = "The workflow is stored", body = WorkflowStatus,
            headers(("Location" = String, description = "Where the workflow is")),
        ),
        (status = 200, description = "An earlier workflow takes its place", body = WorkflowStatus),
        (status = 409, description = "The key or the id belongs to another request", body = crate::http::error::Problem),
        (status = 413, description = "The body is above http.batch_body_bytes", body = crate::http::error::Problem),
        (status = 503, description = "The queue has no room for all nodes, or the host is draining", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn submit(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let (parts, body) = request.into_parts();
    Query::of(parts.uri.query())?.done()?;
    json::require(&parts.headers)?;
    let most = services.config.batch_body_bytes;
    let limit = body::BodyLimit::new(&services, most, "body_too_large", "the workflow");
    let source = WorkflowSource {
        idempotency_key: idempotency_key(&parts.headers)?,
        body: body::collect(&parts.headers, body, limit).await?,
    };
    let (queue, runner) = (Arc::clone(&services.queue), Arc::clone(&services.runner));
    let (by, definitions) = (caller.clone(), Arc::clone(&services.definitions));
    // Reading and checking so many nodes takes too long for a thread that serves others too.
    let submitted = services.threads.hand_over(async move {
        let request = source.request()?;
        let named = request.definition()?;
        let definition = definitions.named(&by, named.as_ref()).await?;
        let workflow = source.read(request, definition.as_ref(), &runner)?;
        Ok::<_, ApiError>(queue.submit_workflow(&by, workflow).await?)
    });
    let inserted = submitted.await?;
    let (status, state) = match inserted.is_new {
        true => (StatusCode::ACCEPTED, WorkflowState::Running),
        false => {
            let whose = Whose::of(&caller);
            let found = services
                .queue
                .workflows()
                .workflow_state(&whose, inserted.id);
            let state = found.await?.ok_or_else(|| unknown_workflow(inserted.id))?;
            (StatusCode::OK, state)
        }
    };
    let path = format!("/v1/workflows/{}", inserted.id);
    let answer = WorkflowStatus::new(inserted.id, state);
    Ok(json::answer_at(status, &path, &answer))
}

/// Look at a workflow
#[utoipa::path(
    get, path = "/v1/workflows/{id}", operation_id = "get_workflow", tag = "Workflows",
    params(("id" = String, Path, description = "The workflow's id")),
    responses((status = 200, description = "The workflow with its nodes", body = WorkflowJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let shown = shown(&services, &caller, path.workflow()?).await?;
    Ok(json::answer(StatusCode::OK, &shown))
}

/// List workflows
#[utoipa::path(
    get, path = "/v1/workflows", operation_id = "list_workflows", tag = "Workflows",
    params(
        ("status" = Option<String>, Query, description = "running, paused, completed, failed or cancelled; or several, separated by commas"),
        ("name" = Option<String>, Query, description = "Only those of that name"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, newest first", body = Page<WorkflowSummary>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let known = WorkflowState::ALL.map(WorkflowState::as_str);
    let states = words(
        &mut query,
        "status",
        "a state",
        &known,
        WorkflowState::parse,
    )?;
    let filter = WorkflowFilter {
        states: states.unwrap_or_default(),
        name: query.text("name")?,
        after: page::after_workflow(&mut query)?,
    };
    query.done()?;
    let workflows = services.queue.workflows();
    let found = workflows.workflows(caller.tenant(), &filter, limit).await?;
    let page = Page {
        items: found
            .workflows
            .into_iter()
            .map(WorkflowSummary::from)
            .collect(),
        next_cursor: found.next.map(page::workflow_cursor),
    };
    Ok(json::answer(StatusCode::OK, &page))
}

/// The caller's workflow as it is shown.
async fn shown(
    services: &Services,
    caller: &Caller,
    id: WorkflowId,
) -> Result<WorkflowJson, ApiError> {
    let found = find(services, caller, id).await?;
    let callback = callback(services, caller, id).await?;
    Ok(WorkflowJson::new(found, callback, services.clock.now()))
}

/// The callback of the caller's workflow.
pub(super) async fn callback(
    services: &Services,
    caller: &Caller,
    id: WorkflowId,
) -> Result<Option<CallbackStateJson>, ApiError> {
    let (whose, of) = (Whose::of(caller), Subject::Workflow(id));
    let callback = services.callbacks.of(&whose, of).await?;
    Ok(callback.map(|(callback, told)| CallbackStateJson::new(callback, told)))
}

/// The caller's workflow.
pub(super) async fn find(
    services: &Services,
    caller: &Caller,
    id: WorkflowId,
) -> Result<WorkflowNodes, ApiError> {
    let workflows = services.queue.workflows();
    let found = workflows.workflow(&Whose::of(caller), id).await?;
    found.ok_or_else(|| unknown_workflow(id))
}
