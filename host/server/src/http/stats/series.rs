//! `GET /v1/stats/series`: what the figures of the host that answers were, for charts.
//!
//! Each series is a list with one value for each point, so that an hour of them is short.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam::vitals::series::{Point, Step};
use cofferdam_domain::attempt::FailureKind;

/// The longest range that is asked for by default.
const RANGE: Duration = Duration::from_secs(60 * 60);

/// Figures over time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Series {
    /// The host that answers; each has its own.
    worker_id: String,
    /// How far apart the points are.
    step_ms: u64,
    /// The end of each point's step, the oldest first. Where the host stood still there is a gap.
    #[schema(value_type = Vec<String>)]
    at: Vec<Time>,
    /// Attempts and runs that completed in the step.
    completed: Vec<u64>,
    /// Those that failed, by failure kind; kinds of which there were none are left out.
    failed: BTreeMap<&'static str, Vec<u64>>,
    /// Microseconds that tasks waited for their claim.
    wait_us: Percentiles,
    /// Microseconds that attempts and runs took.
    run_us: Percentiles,
    /// Attempts that ran at the end of the step.
    active: Vec<u64>,
    /// Attempts that might have.
    slots: Vec<u64>,
    /// Tasks that waited, over all hosts and tenants.
    pending: Vec<Option<u64>>,
    memory_bytes: Vec<u64>,
    memory_limit_bytes: Vec<u64>,
}

/// Percentiles, each with one value for each point; null where there was nothing.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Percentiles {
    p50: Vec<Option<u64>>,
    p95: Vec<Option<u64>>,
    p99: Vec<Option<u64>>,
}

impl Percentiles {
    fn of(points: &[Point], of: impl Fn(&Point) -> Option<[u64; 3]>) -> Percentiles {
        let at = |place: usize| {
            let values = points.iter().map(|point| of(point).map(|it| it[place]));
            values.collect()
        };
        Percentiles {
            p50: at(0),
            p95: at(1),
            p99: at(2),
        }
    }
}

/// Figures of this host over time
///
/// Throughput, failures by kind, percentiles of waiting and running, slots and memory, of all tenants together. They
/// are in memory: a restart begins anew.
#[utoipa::path(
    get, path = "/v1/stats/series", operation_id = "get_stats_series", tag = "Operations",
    params(
        ("range" = Option<String>, Query, pattern = "^[0-9]+[smh]$", description = "How far back, such as 30m; an hour if absent, and a day at most"),
        ("step" = Option<String>, Query, pattern = "^(5s|1m)$", description = "How far apart points are: 5s, for an hour at most, or 1m; the finer one that is enough if absent"),
    ),
    responses((status = 200, description = "The figures", body = Series)),
)]
pub(crate) async fn series(
    State(services): State<AppState>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let range = query.parsed("range", "a number and s, m or h", duration)?;
    let step = query.parsed("step", "5s or 1m", step)?;
    query.done()?;
    let range = range.unwrap_or(RANGE);
    let reach = |step: Step| step.duration() * u32::try_from(step.points_max()).unwrap_or(u32::MAX);
    let fits = |step: &Step| range <= reach(*step);
    let step = match step {
        Some(step) => Some(step).filter(fits),
        None => Step::ALL.into_iter().find(fits),
    };
    let step = step.ok_or_else(|| {
        ApiError::parameter("range", "at most 1h with step=5s, and 24h with step=1m")
    })?;
    let most = range.as_millis().div_ceil(step.duration().as_millis());
    let points = services
        .vitals
        .points(step, usize::try_from(most).unwrap_or(usize::MAX));
    let mut answer = shown(step, &points);
    answer.worker_id = services.worker.0.to_string();
    Ok(json::answer(StatusCode::OK, &answer))
}

fn shown(step: Step, points: &[Point]) -> Series {
    let each = |of: fn(&Point) -> u64| points.iter().map(of).collect::<Vec<u64>>();
    let failed = FailureKind::ALL.into_iter().filter_map(|kind| {
        let counts: Vec<u64> = points.iter().map(|it| it.failed[kind as usize]).collect();
        let is_any = counts.iter().any(|count| *count > 0);
        is_any.then(|| (kind.as_str(), counts))
    });
    Series {
        worker_id: String::new(),
        step_ms: u64::try_from(step.duration().as_millis()).unwrap_or(u64::MAX),
        at: points.iter().map(|point| Time(point.at)).collect(),
        completed: each(|point| point.completed),
        failed: failed.collect(),
        wait_us: Percentiles::of(points, |point| point.wait_us),
        run_us: Percentiles::of(points, |point| point.run_us),
        active: each(|point| point.levels.active),
        slots: each(|point| point.levels.slots),
        pending: points.iter().map(|point| point.levels.pending).collect(),
        memory_bytes: each(|point| point.levels.memory_bytes),
        memory_limit_bytes: each(|point| point.levels.memory_limit_bytes),
    }
}

fn step(text: &str) -> Option<Step> {
    let asked = duration(text)?;
    Step::ALL.into_iter().find(|step| step.duration() == asked)
}

/// Reads a number and its unit.
fn duration(text: &str) -> Option<Duration> {
    let (unit, seconds) = [("s", 1), ("m", 60), ("h", 3600)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))?;
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    (number > 0).then(|| Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_its_unit() {
        let seconds = |text| duration(text).map(|found| found.as_secs());
        assert_eq!(seconds("5s"), Some(5));
        assert_eq!(seconds("90m"), Some(5400));
        assert_eq!(seconds("24h"), Some(86_400));
        for bad in ["", "s", "0s", "-1s", "5", "5d", "1.5h", "99999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        assert_eq!(step("5s"), Some(Step::Fine));
        assert_eq!(step("60s"), Some(Step::Coarse));
        assert_eq!(step("10s"), None);
    }
}
