//! `POST /v1/tasks/cancel` and `POST /v1/tasks/retry`: a change of every task that a filter finds.
//!
//! Without a number nothing is changed, so that a caller sees first what the filter finds.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::tasks::list;
use crate::http::{AppState, Services, json};
use crate::intake::bulk::BulkRequest;
use crate::intake::json::parse;
use crate::intake::query::Query;
use cofferdam::queue::{Bulk, BulkChange};
use cofferdam_domain::caller::Caller;
use cofferdam_storage::TaskFilter;

/// How many tasks a filter finds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Matches {
    /// Of those that can be changed so.
    matches: u64,
}

/// Cancel every task that a filter finds
///
/// Without `expect` they are counted and nothing happens. With it they are cancelled in the background,
/// or none is, if they are more than that. A host that ends meanwhile leaves the rest as it is; the same
/// request finds it again.
#[utoipa::path(
    post, path = "/v1/tasks/cancel", operation_id = "cancel_tasks", tag = "Tasks",
    request_body(description = "Which tasks, and how many at most", content((BulkRequest = "application/json"))),
    responses(
        (status = 200, description = "So many would be cancelled", body = Matches),
        (status = 202, description = "So many are being cancelled", body = Matches),
        (status = 409, description = "More tasks match than expected; none is cancelled", body = crate::http::error::Problem),
        (status = 503, description = "Other bulk changes are in progress", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn cancel(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    change(&services, &caller, BulkChange::Cancel, request).await
}

/// Retry every task that a filter finds
///
/// Those that failed or were cancelled become pending again, each with as many further attempts as it
/// had at first. Without `expect` they are counted and nothing happens; all else is as for
/// `POST /v1/tasks/cancel`.
#[utoipa::path(
    post, path = "/v1/tasks/retry", operation_id = "retry_tasks", tag = "Tasks",
    request_body(description = "Which tasks, and how many at most", content((BulkRequest = "application/json"))),
    responses(
        (status = 200, description = "So many would be retried", body = Matches),
        (status = 202, description = "So many are being retried", body = Matches),
        (status = 409, description = "More tasks match than expected; none is retried", body = crate::http::error::Problem),
        (status = 503, description = "Other bulk changes are in progress, or the host is draining", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn retry(
    State(services): State<AppState>,
    By(caller): By,
    request: Request,
) -> Result<Response, ApiError> {
    change(&services, &caller, BulkChange::Retry, request).await
}

async fn change(
    services: &Services,
    caller: &Caller,
    change: BulkChange,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    Query::of(parts.uri.query())?.done()?;
    let body = json::body(services, &parts.headers, body).await?;
    let (query, expect) = parse::<BulkRequest>(&body)?.into_parts();
    let filter = filter(query, services).map_err(|error| error.under("filter"))?;
    let queue = &services.queue;
    let Some(expect) = expect else {
        let matches = queue.matches(caller, change, filter).await?;
        return Ok(json::answer(StatusCode::OK, &Matches { matches }));
    };
    match queue
        .change_matching(caller, change, filter, expect)
        .await?
    {
        Bulk::Begun(matches) => Ok(json::answer(StatusCode::ACCEPTED, &Matches { matches })),
        Bulk::Grown(matches) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "matches_grew",
            format!("{matches} tasks match, which is more than {expect}; none is changed"),
        )
        .with("matches", matches)
        .with("expect", expect)),
    }
}

fn filter(mut query: Query<'_>, services: &Services) -> Result<TaskFilter, ApiError> {
    let (filter, _order, _as_of) = list::filter(&mut query, services.clock.now())?;
    query.done()?;
    for (name, is_given) in [
        ("since", filter.since.is_some()),
        ("cursor", filter.after.is_some()),
    ] {
        if is_given {
            return Err(ApiError::parameter(name, "a bulk change takes none"));
        }
    }
    Ok(filter)
}
