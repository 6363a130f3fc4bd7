//! The files that a task left under `/out`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::PathParts;
use crate::http::tasks::find;
use crate::http::tasks::wire::ArtifactJson;
use crate::http::{AppState, Services, guest, json};
use crate::intake::query::Query;
use cofferdam_domain::attempt::Attempt;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::task::TaskId;
use cofferdam_domain::whose::Whose;

/// The files of one attempt.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ArtifactList {
    /// The attempt that left them; null if none has finished.
    attempt: Option<u32>,
    items: Vec<ArtifactJson>,
    /// How many other entries are not kept, by reason.
    #[schema(value_type = BTreeMap<String, u64>)]
    left_out: BTreeMap<&'static str, u64>,
}

/// List the files that a task left
#[utoipa::path(
    get, path = "/v1/tasks/{id}/artifacts", operation_id = "list_task_artifacts", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("attempt" = Option<u32>, Query, minimum = 1, description = "The newest finished one if absent"),
    ),
    responses((status = 200, description = "The files", body = ArtifactList)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = path.task()?;
    let attempt = attempt(&services, &caller, id, &uri).await?;
    let list = ArtifactList {
        attempt: attempt.as_ref().map(|attempt| attempt.number),
        left_out: attempt
            .iter()
            .flat_map(|attempt| attempt.left_out.reasons())
            .collect(),
        items: attempt
            .map(|attempt| {
                attempt
                    .artifacts
                    .into_iter()
                    .map(ArtifactJson::from)
                    .collect()
            })
            .unwrap_or_default(),
    };
    Ok(json::answer(StatusCode::OK, &list))
}

/// Get a file that a task left
#[utoipa::path(
    get, path = "/v1/tasks/{id}/artifacts/{path}", operation_id = "get_task_artifact", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("path" = String, Path, description = "The file's path below /out"),
        ("attempt" = Option<u32>, Query, minimum = 1, description = "The newest finished one if absent"),
    ),
    responses((status = 200, description = "The bytes", content_type = "application/octet-stream")),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = path.task()?;
    let wanted = path.artifact()?;
    let unknown = || {
        let detail = format!("task {id} left no file {wanted:?}");
        ApiError::not_found("artifact_not_found", detail)
    };
    let attempt = attempt(&services, &caller, id, &uri)
        .await?
        .ok_or_else(unknown)?;
    if !attempt
        .artifacts
        .iter()
        .any(|artifact| artifact.path == wanted)
    {
        return Err(unknown());
    }
    let opened = services
        .files
        .open_artifact(id, attempt.number, wanted)
        .await?;
    let (file, size_bytes) = opened.ok_or_else(unknown)?;
    Ok(guest::file(file, size_bytes))
}

/// The attempt that a query names.
async fn attempt(
    services: &Services,
    caller: &Caller,
    id: TaskId,
    uri: &Uri,
) -> Result<Option<Attempt>, ApiError> {
    let mut query = Query::of(uri.query())?;
    let number = query.number("attempt", 1..=u64::from(u32::MAX))?;
    query.done()?;
    find(services, caller, id, Duration::ZERO).await?;
    // A number beyond what a task can have is that of no attempt.
    let wanted = number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let whose = Whose::of(caller);
    let attempt = services.storage.attempt(&whose, id, wanted).await?;
    match (number, attempt) {
        (Some(number), None) => {
            let detail = format!("task {id} has no finished attempt {number}");
            Err(ApiError::not_found("artifact_not_found", detail))
        }
        (_, attempt) => Ok(attempt),
    }
}
