//! `GET /v1/stats`: what the caller's tenant has, and what this host holds back of it.

pub(crate) mod series;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::modules::wire::HeldJson;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam_domain::whose::Whose;
use cofferdam_storage::Counts;

/// Figures of one tenant.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Stats {
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    tenant: String,
    /// The host that answers.
    worker_id: String,
    tasks: TaskCounts,
    callbacks: CallbackStats,
}

/// How many tasks there are in each state.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TaskCounts {
    blocked: u64,
    pending: u64,
    running: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
}

/// The ends of tasks that somebody is told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CallbackStats {
    /// Ends that are to be told, as far as 100,000.
    pending: u64,
    /// Ends that were given up, and whose tasks are kept, as far as 100,000.
    failed: u64,
    /// Hosts that this host holds back for the tenant, because they failed again and again.
    held: Vec<HeldPlace>,
}

/// A host that is held back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct HeldPlace {
    /// Host and port.
    host: String,
    #[serde(flatten)]
    held: HeldJson,
}

impl From<Counts> for TaskCounts {
    fn from(counts: Counts) -> TaskCounts {
        TaskCounts {
            blocked: counts.blocked,
            pending: counts.pending,
            running: counts.running,
            completed: counts.completed,
            failed: counts.failed,
            cancelled: counts.cancelled,
        }
    }
}

/// Figures of the caller's tenant
#[utoipa::path(
    get, path = "/v1/stats", operation_id = "get_stats", tag = "Operations",
    responses((status = 200, description = "The figures", body = Stats)),
)]
pub(crate) async fn stats(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let (counts, deliveries) = futures_util::future::try_join(
        services.storage.counts(&Whose::of(&caller)),
        services.callbacks.counts(&caller),
    )
    .await?;
    let held = services.callbacks.held(&caller).into_iter();
    let stats = Stats {
        at: Time(services.clock.now()),
        tenant: caller.tenant().to_string(),
        worker_id: services.worker.0.to_string(),
        tasks: counts.into(),
        callbacks: CallbackStats {
            pending: deliveries.pending,
            failed: deliveries.failed,
            held: held
                .map(|(host, held)| HeldPlace {
                    host,
                    held: held.into(),
                })
                .collect(),
        },
    };
    Ok(json::answer(StatusCode::OK, &stats))
}
