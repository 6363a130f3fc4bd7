//! A session's files: list, read, and keep them beyond the session.

use std::path::Path;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::path::PathParts;
use crate::http::sessions::wire::{SessionFiles, SnapshotJson, files_url, listed};
use crate::http::{AppState, guest, json};
use crate::intake::time::Time;
use cofferdam::interpreters::answer::Written;
use cofferdam_storage::StorageError;

/// List a session's files
///
/// The answer waits until code that runs in the session has ended; so do the other calls for files.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/files", operation_id = "list_session_files", tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, description = "The files of its working directory", body = SessionFiles),
        (status = 410, description = "Its host has ended, and it with it (`session_lost`)", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<Response, ApiError> {
    let id = path.session()?;
    let found = services.sessions.with_files(&caller, id, |files| {
        let Written { kept, left_out } = Written::of(files);
        (kept.to_vec(), left_out)
    });
    let (artifacts, left_out) = found.await?;
    let answer = SessionFiles {
        files: listed(&artifacts, &files_url(id)),
        files_left_out: left_out.reasons().collect(),
    };
    Ok(json::answer(StatusCode::OK, &answer))
}

/// Get a file of a session
#[utoipa::path(
    get, path = "/v1/sessions/{id}/files/{path}", operation_id = "get_session_file", tag = "Sessions",
    params(
        ("id" = String, Path, description = "The session's id"),
        ("path" = String, Path, description = "The file's path below the working directory"),
    ),
    responses(
        (status = 200, description = "The bytes", content_type = "application/octet-stream"),
        (status = 410, description = "Its host has ended, and it with it (`session_lost`)", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<Response, ApiError> {
    let id = path.session()?;
    let wanted = path.artifact()?.to_owned();
    let unknown = format!("there is no file {wanted:?} in this session");
    let open = services
        .sessions
        .with_files(&caller, id, move |files| match files {
            Some(files) => files.open_artifact(&wanted),
            None => Ok(None),
        });
    let opened = open.await?.map_err(ApiError::internal)?;
    let (file, size_bytes) =
        opened.ok_or_else(|| ApiError::not_found("artifact_not_found", unknown))?;
    Ok(guest::file(tokio::fs::File::from_std(file), size_bytes))
}

/// Keep a session's files
///
/// A copy of the present working directory, kept on disk after the session and the host have ended.
/// A new session can begin with it.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/snapshot", operation_id = "snapshot_session", tag = "Sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 201, description = "The snapshot", body = SnapshotJson),
        (status = 410, description = "Its host has ended, and it with it (`session_lost`)", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn snapshot(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
) -> Result<Response, ApiError> {
    let id = path.session()?;
    let now = services.clock.now();
    let snapshot = services.files.new_execution(now);
    let (storage, tenant) = (services.files.clone(), caller.tenant().clone());
    let copied = services.sessions.with_files(&caller, id, move |files| {
        let Written { kept, left_out } = Written::of(files);
        let artifacts = kept.to_vec();
        let occupied_bytes = files.map_or(0, |files| files.occupied_bytes());
        let put = |target: &Path| files.map_or(Ok(()), |files| files.copy_to(target));
        let kept = storage.place_execution(&tenant, snapshot, occupied_bytes, put)?;
        Ok::<_, StorageError>((artifacts, left_out, kept))
    });
    let (artifacts, left_out, kept) = copied.await??;
    kept.stay().await?;
    let answer = SnapshotJson {
        snapshot: snapshot.to_string(),
        expires_at: Time(now.plus(services.files_retention)),
        files: listed(&artifacts, &format!("/v1/exec/{snapshot}/files/")),
        files_left_out: left_out.reasons().collect(),
    };
    Ok(json::answer(StatusCode::CREATED, &answer))
}
