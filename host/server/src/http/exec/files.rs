//! The files that code wrote, for as long as the host keeps them.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::PathParts;
use crate::http::{AppState, guest};
use crate::intake::query::Query;
use crate::intake::words;

/// Get a file that code wrote
#[utoipa::path(
    get, path = "/v1/exec/{id}/files/{path}", operation_id = "get_code_file", tag = "Code",
    params(
        ("id" = String, Path, description = "The execution's id in the answer's url"),
        ("path" = String, Path, description = "The file's path below the working directory"),
    ),
    responses((status = 200, description = "The bytes", content_type = "application/octet-stream")),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let wanted = path.artifact()?;
    let unknown = || {
        let detail = format!("there is no file {wanted:?} of this execution, or it is gone");
        ApiError::not_found("artifact_not_found", detail)
    };
    let id = words::task_id(path.text(0)).ok_or_else(unknown)?;
    let (files, tenant) = (&services.files, caller.tenant());
    let opened = files.open_execution_file(tenant, id.0, wanted).await?;
    let (file, size_bytes) = opened.ok_or_else(unknown)?;
    Ok(guest::file(file, size_bytes))
}
