//! Batches: submitting many tasks at once, counting them, cancelling them.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::body::{self, BodyLimit};
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::{PathParts, unknown_batch};
use crate::http::tasks::callback_state::CallbackStateJson;
use crate::http::tasks::submit::idempotency_key;
use crate::http::{AppState, Services, json};
use crate::intake::batch::{BatchRequest, BatchSource};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::{Batch, Counts};

/// The answer to a batch.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct BatchAccepted {
    batch_id: String,
    /// The tasks in the order of the request. Where a task's `task_id` or `dedup_key` is that of an
    /// earlier one, this is the earlier one's id, and the batch does not count it.
    task_ids: Vec<String>,
}

/// A batch.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct BatchJson {
    batch_id: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// How many tasks may be under way at once; null for any number.
    parallelism: Option<u32>,
    /// How many tasks it brought.
    tasks: u64,
    /// How many of them there are by status.
    counts: BatchCounts,
    /// How many are gone: removed by hand, or past their retention.
    removed: u64,
    /// Whether none of them will go on by itself.
    done: bool,
    /// Whom the batch's end is told, and how far that has come; null if nobody is.
    callback: Option<CallbackStateJson>,
}

/// Tasks by status.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct BatchCounts {
    blocked: u64,
    pending: u64,
    running: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// The answer to a batch's cancellation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct BatchCancelled {
    batch_id: String,
    /// How many tasks were not final.
    tasks: u64,
}

/// Submit up to 10 000 tasks
///
/// All of them are stored, in one commit, or none. Each one is read by the rules of `POST /v1/tasks`;
/// a refusal names the field as `tasks[17].limits.timeout_ms`. With `parallelism`, no more of them than
/// that are under way at once over all hosts: a task is from when it may be claimed until it is final,
/// waits between its attempts included. With `callback`, the end of the whole batch is posted once, when its last
/// task is final, and once more when a task that is tried again by hand has made it go on. An `Idempotency-Key` gives an earlier batch with 200; keys of
/// batches and of single tasks are apart.
#[utoipa::path(
    post, path = "/v1/tasks/batch", operation_id = "submit_batch", tag = "Tasks",
    params(
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "1 to 255 visible characters"),
    ),
    request_body(description = "The tasks", content((BatchRequest = "application/json"))),
    responses(
        (
            status = 202, description = "The tasks are stored", body = BatchAccepted,
            headers(("Location" = String, description = "Where the batch is")),
        ),
        (status = 200, description = "An earlier batch takes its place", body = BatchAccepted),
        (status = 409, description = "The key, or the id of one of the tasks, belongs to another request", body = crate::http::error::Problem),
        (status = 413, description = "The body is above http.batch_body_bytes", body = crate::http::error::Problem),
        (status = 503, description = "The queue has no room for all of them, or the host is draining", body = crate::http::error::Problem),
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
    let source = BatchSource {
        idempotency_key: idempotency_key(&parts.headers)?,
        body: body::collect(&parts.headers, body, limit(&services)).await?,
    };
    let queue = Arc::clone(&services.queue);
    // Reading and checking so many tasks takes too long for a thread that serves others too.
    let submitted = services.threads.hand_over(async move {
        let batch = source.read()?;
        Ok::<_, ApiError>(queue.submit_batch(&caller, batch).await?)
    });
    let inserted = submitted.await?;
    let path = format!("/v1/batches/{}", inserted.id);
    let answer = BatchAccepted {
        batch_id: inserted.id.to_string(),
        task_ids: inserted.tasks.iter().map(ToString::to_string).collect(),
    };
    let status = match inserted.is_new {
        true => StatusCode::ACCEPTED,
        false => StatusCode::OK,
    };
    Ok(json::answer_at(status, &path, &answer))
}

fn limit(services: &Services) -> BodyLimit {
    let bytes = services.config.batch_body_bytes;
    BodyLimit::new(services, bytes, "body_too_large", "the batch")
}

/// Look at a batch
#[utoipa::path(
    get, path = "/v1/batches/{id}", operation_id = "get_batch", tag = "Tasks",
    params(("id" = String, Path, description = "The batch's id")),
    responses((status = 200, description = "The batch, with its tasks counted by status", body = BatchJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.batch()?;
    let batch = services.storage.batch(&Whose::of(&caller), id).await?;
    let batch = batch.ok_or_else(|| unknown_batch(id))?;
    let callback = services
        .callbacks
        .of(&Whose::of(&caller), Subject::Batch(id))
        .await?;
    let callback = callback.map(|(callback, told)| CallbackStateJson::new(callback, told));
    Ok(json::answer(
        StatusCode::OK,
        &BatchJson::new(batch, callback),
    ))
}

/// Cancel a batch
///
/// Every task of it that is not final is cancelled, as if each had been cancelled by itself. All of
/// these requests are stored when this is answered.
#[utoipa::path(
    delete, path = "/v1/batches/{id}", operation_id = "cancel_batch", tag = "Tasks",
    params(("id" = String, Path, description = "The batch's id")),
    responses((status = 202, description = "Its tasks are cancelled, or will be", body = BatchCancelled)),
)]
pub(crate) async fn cancel(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.batch()?;
    let tasks = services.queue.cancel_batch(&caller, id).await?;
    let answer = BatchCancelled {
        batch_id: id.to_string(),
        tasks: tasks.ok_or_else(|| unknown_batch(id))?,
    };
    Ok(json::answer(StatusCode::ACCEPTED, &answer))
}

impl BatchJson {
    pub(super) fn new(batch: Batch, callback: Option<CallbackStateJson>) -> BatchJson {
        let Batch {
            id,
            parallelism,
            created_at,
            tasks,
            counts,
        } = batch;
        let mut states = TaskState::ALL.into_iter();
        BatchJson {
            batch_id: id.to_string(),
            created_at: Time(created_at),
            parallelism,
            tasks,
            removed: tasks.saturating_sub(counts.all()),
            done: states.all(|state| state.is_final() || counts.of(state) == 0),
            counts: counts.into(),
            callback,
        }
    }
}

impl From<Counts> for BatchCounts {
    fn from(counts: Counts) -> BatchCounts {
        let Counts {
            blocked,
            pending,
            running,
            completed,
            failed,
            cancelled,
        } = counts;
        BatchCounts {
            blocked,
            pending,
            running,
            completed,
            failed,
            cancelled,
        }
    }
}
