//! `GET /v1/alerts`: how the rules of the host that answers stand; and the message that tells of them.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam::vitals::{Told, Write};
use cofferdam_domain::alert::Alert;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::worker::Profile;

/// How the rules of one host stand.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Alerts {
    #[schema(value_type = String, format = DateTime)]
    at: Time,
    /// The host that answers; each judges itself.
    worker_id: String,
    memory: MemoryJson,
    items: Vec<AlertJson>,
}

/// The host's memory, and what it does about a shortage.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MemoryJson {
    /// What this host and its children hold.
    own_bytes: u64,
    /// What counts against the limit: all of its control group if that is limited, else its own.
    used_bytes: u64,
    limit_bytes: u64,
    /// `none`; `shed`: it gives up caches and idle sessions; `hold`: it claims no tasks either; `refuse`: it
    /// refuses new work too.
    pressure: &'static str,
}

/// A rule, and how it stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AlertJson {
    rule: &'static str,
    /// `firing`, `ok` or `off`.
    state: &'static str,
    /// `warning` or `critical`.
    severity: &'static str,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    since: Time,
    /// Its figure when it was read last.
    value: u64,
    /// From which figure on it fires; 0 if it is switched off.
    threshold: u64,
    /// `bytes`, `bytes_per_second`, `tasks`, `ms`, `workers`, `modules`, `callbacks` or `percent`.
    unit: &'static str,
}

/// What the operator's receiver is told.
#[derive(Serialize)]
struct Message<'m> {
    id: &'m str,
    r#type: &'static str,
    at: Time,
    worker_id: String,
    worker: &'m str,
    alerts: Vec<AlertJson>,
}

impl From<Alert> for AlertJson {
    fn from(alert: Alert) -> AlertJson {
        AlertJson {
            rule: alert.rule.as_str(),
            state: alert.state.as_str(),
            severity: alert.rule.severity().as_str(),
            since: Time(alert.since),
            value: alert.value,
            threshold: alert.threshold,
            unit: alert.rule.unit(),
        }
    }
}

/// How a host of that name writes to the operator's receiver.
pub(crate) fn messages(worker: WorkerId, profile: &Profile) -> Write {
    let name = profile.name.clone();
    Box::new(move |told: &Told| {
        let message = Message {
            id: &told.id,
            r#type: "alerts",
            at: Time(told.at),
            worker_id: worker.0.to_string(),
            worker: name.as_str(),
            alerts: told.alerts.iter().copied().map(AlertJson::from).collect(),
        };
        Bytes::from(serde_json::to_vec(&message).expect("it is plain JSON"))
    })
}

/// How the rules of this host stand
///
/// Each host judges itself once a second; ask every one, or scrape `cofferdam_alert` of each. A rule fires when
/// its value reaches its threshold (`[alerts]`), and ends ten seconds after it has fallen a tenth below.
#[utoipa::path(
    get, path = "/v1/alerts", operation_id = "list_alerts", tag = "Operations",
    responses((status = 200, description = "Every rule", body = Alerts)),
)]
pub(crate) async fn list(State(services): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let vitals = &services.vitals;
    let memory = vitals.memory();
    let alerts = Alerts {
        at: Time(services.clock.now()),
        worker_id: services.worker.0.to_string(),
        memory: MemoryJson {
            own_bytes: memory.own_bytes,
            used_bytes: memory.used_bytes,
            limit_bytes: memory.limit_bytes,
            pressure: vitals.level().as_str(),
        },
        items: vitals.alerts().map(AlertJson::from).into(),
    };
    Ok(json::answer(StatusCode::OK, &alerts))
}
