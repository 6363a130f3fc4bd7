//! A task's attempts, page by page: a task that is tried anew again and again has many.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::page::{self, Page, Rest};
use crate::http::path::PathParts;
use crate::http::tasks::find;
use crate::http::tasks::wire::AttemptJson;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use cofferdam_domain::attempt::Attempt;
use cofferdam_domain::whose::Whose;

/// List a task's attempts
///
/// Every finished one, in order. A page ends early where its attempts hold much text.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/attempts", operation_id = "list_task_attempts", tag = "Tasks",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page", body = Page<AttemptJson>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let mut last = page::after_attempt(&mut query)?.unwrap_or(0);
    query.done()?;
    let id = path.task()?;
    find(&services, &caller, id, Duration::ZERO).await?;
    let (storage, whose) = (&services.storage, Whose::of(&caller));
    let (mut items, mut rest) = (Vec::new(), Rest::of_page(limit));
    let mut next_cursor = None;
    // One after the other: each can be large.
    while let [attempt] = storage.attempts(&whose, id, last, 1).await?.as_slice() {
        if rest.batch().is_none() {
            next_cursor = Some(page::attempt_cursor(last));
            break;
        }
        last = attempt.number;
        rest.add(text_bytes(attempt));
        items.push(AttemptJson::from(attempt.clone()));
    }
    let page = Page { items, next_cursor };
    Ok(json::answer(StatusCode::OK, &page))
}

/// The text of guests that an attempt holds in a list.
fn text_bytes(attempt: &Attempt) -> usize {
    let failure = attempt.failure.as_ref().map_or(0, |failure| {
        failure.message.len() + failure.backtrace.as_ref().map_or(0, String::len)
    });
    let paths: usize = attempt.artifacts.iter().map(|file| file.path.len()).sum();
    failure + paths
}
