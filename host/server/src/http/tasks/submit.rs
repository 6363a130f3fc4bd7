//! `POST /v1/tasks`: from a request to an acknowledged task.
//!
//! A 2xx is given only after the queue says that the task is stored.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::tasks::{find, location, one, patience, raw, task_status, view};
use crate::http::{AppState, Services, json};
use crate::intake::json::parse;
use crate::intake::query::Query;
use crate::intake::task::TaskRequest;
use cofferdam::queue::{Submission, Submitted};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;

/// The longest idempotency key, in bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Submit a task
///
/// The body is JSON. With `module` in the query, the body is the raw input of any content type,
/// which may be large, and the query has everything else about the task. An `Idempotency-Key`, a
/// repeated `task_id` or a held `dedup_key` gives the earlier task with 200.
#[utoipa::path(
    post, path = "/v1/tasks", operation_id = "submit_task", tag = "Tasks",
    params(
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "1 to 255 visible characters"),
        ("wait_ms" = Option<u64>, Query, description = "Wait up to this long for the task to be final"),
        ("module" = Option<String>, Query, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?$", description = "For a raw body: the module; the following parameters are for a raw body too"),
        ("task_id" = Option<String>, Query, pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", description = "A UUID that the caller chose"),
        ("arg" = Option<Vec<String>>, Query, description = "An argument, for commands; may be repeated"),
        ("env" = Option<Vec<String>>, Query, description = "KEY=VALUE; may be repeated"),
        ("priority" = Option<String>, Query, pattern = "^(critical|high|normal|medium|low)$", description = "critical, high, normal or low"),
        ("delay_ms" = Option<u64>, Query, description = "How long it must wait first"),
        ("run_at" = Option<String>, Query, format = DateTime, description = "The earliest moment it may run"),
        ("dedup_key" = Option<String>, Query, min_length = 1, max_length = 255, description = "At most one task has it within the host's window"),
        ("callback_url" = Option<String>, Query, max_length = 2048, description = "Where its end is posted, at a host that the operator lists"),
        ("callback_secret_name" = Option<String>, Query, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description = "The secret of the tenant with which it is signed"),
        ("callback_on" = Option<Vec<String>>, Query, description = "An end that is told: completed, failed or cancelled; may be repeated; all of them if absent"),
        ("cache_ttl_ms" = Option<u64>, Query, minimum = 1, maximum = 604_800_000, description = "Takes the result of an earlier run that was the same and is no older than this, and keeps that of this one for as long"),
        ("isolation" = Option<String>, Query, pattern = "^(shared|process|dedicated)$", description = "Whether it runs in the host's process, in a jailed one, or in one that it has for itself"),
        ("requires" = Option<Vec<String>>, Query, description = "A capability that the worker must have, or group:NAME; may be repeated, up to 16 times"),
        ("preferred_worker" = Option<String>, Query, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description = "The worker, by id or name, that the task is for at first"),
        ("timeout_ms" = Option<u64>, Query, minimum = 1, description = "Wall-clock limit"),
        ("cpu_ms" = Option<u64>, Query, minimum = 1, description = "CPU-time limit"),
        ("fuel" = Option<u64>, Query, minimum = 1, description = "Fuel limit; uses the metered engine"),
        ("memory_bytes" = Option<u64>, Query, minimum = 1, description = "Memory limit"),
        ("table_elements" = Option<u64>, Query, description = "Table limit"),
        ("disk_bytes" = Option<u64>, Query, description = "Disk limit"),
        ("disk_files" = Option<u64>, Query, description = "Limit on files"),
        ("output_bytes" = Option<u64>, Query, description = "Output limit"),
        ("max_attempts" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Attempts in all"),
    ),
    request_body(description = "The task; or, with module in the query, its input", content(
        (TaskRequest = "application/json"), (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (
            status = 202, description = "The task is stored", body = super::TaskStatus,
            headers(("Location" = String, description = "Where the task is")),
        ),
        (status = 200, description = "The task is final, or it is an earlier task with the same id or key", body = super::TaskJson),
        (status = 409, description = "The id or key belongs to a different request", body = crate::http::error::Problem),
        (status = 503, description = "The queue is full, or the host is draining", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn submit(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let (parts, body) = request.into_parts();
    let mut query = Query::of(parts.uri.query())?;
    let patience = patience(&mut query, &services)?;
    let key = idempotency_key(&parts.headers)?;
    let submitted = match query.text("module")? {
        Some(module) => {
            raw::submit(&services, caller.clone(), &parts, query, &module, key, body).await?
        }
        None => {
            query.done()?;
            let submission = from_json(&services, &parts.headers, key, body).await?;
            one(services.queue.submit(&caller, vec![submission]).await?)?
        }
    };
    match submitted {
        Submitted::Existing(id) => {
            let task = find(&services, &caller, id, patience).await?;
            Ok(json::answer(StatusCode::OK, &view(&services, task).await?))
        }
        Submitted::New(id) if patience.is_zero() => Ok(accepted(id)),
        Submitted::New(id) => {
            let task = find(&services, &caller, id, patience).await?;
            let status = match task.state.is_final() {
                true => StatusCode::OK,
                false => StatusCode::ACCEPTED,
            };
            Ok(json::answer(status, &view(&services, task).await?))
        }
    }
}

fn accepted(id: TaskId) -> Response {
    let status = task_status(id, TaskState::Pending);
    json::answer_at(StatusCode::ACCEPTED, &location(id), &status)
}

async fn from_json(
    services: &Services,
    headers: &HeaderMap,
    idempotency_key: Option<String>,
    body: Body,
) -> Result<Submission, ApiError> {
    let body = json::body(services, headers, body).await?;
    Ok(Submission {
        idempotency_key,
        ..parse::<TaskRequest<'_>>(&body)?.into_submission(&body)?
    })
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else {
        return Ok(None);
    };
    let key = key.as_bytes();
    let visible = key.iter().all(u8::is_ascii_graphic);
    if keys.next().is_some() || !visible || !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
        let detail = format!(
            "Idempotency-Key: must occur once, with 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible \
             ASCII characters"
        );
        return Err(
            ApiError::bad_request("invalid_header", detail).with("field", "Idempotency-Key")
        );
    }
    Ok(Some(String::from_utf8_lossy(key).into_owned()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(keys: &[&str]) -> Result<Option<String>, ApiError> {
        let mut headers = HeaderMap::new();
        for key in keys {
            headers.append(
                "idempotency-key",
                HeaderValue::from_bytes(key.as_bytes()).unwrap(),
            );
        }
        idempotency_key(&headers)
    }

    #[test]
    fn idempotency_keys_are_short_and_visible() {
        assert_eq!(read(&[]).unwrap(), None);
        let longest = "k".repeat(255);
        assert_eq!(read(&[&longest]).unwrap(), Some(longest));
        for bad in [
            &[""][..],
            &["a b"],
            &["é"],
            &["a", "b"],
            &[&"k".repeat(256)],
        ] {
            assert_eq!(read(bad).unwrap_err().code(), "invalid_header", "{bad:?}");
        }
    }
}
