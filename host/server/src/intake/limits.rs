//! The limits in a caller's request: the same names, units and ranges at every entry point. The
//! runner and the queue enforce the operator's ceilings.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use crate::intake::json::{EXACT_MAX, Whole};
use cofferdam_domain::limits::LimitRequest;

/// A limit of at least 1.
pub(crate) type Positive = Whole<1, EXACT_MAX>;
/// A limit that may be 0.
pub(crate) type Any = Whole<0, EXACT_MAX>;

/// Limits of each attempt; an absent one is the host's default.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsJson {
    #[schema(value_type = Option<u64>, minimum = 1)]
    timeout_ms: Option<Positive>,
    #[schema(value_type = Option<u64>, minimum = 1)]
    cpu_ms: Option<Positive>,
    #[schema(value_type = Option<u64>, minimum = 1)]
    fuel: Option<Positive>,
    #[schema(value_type = Option<u64>, minimum = 1)]
    memory_bytes: Option<Positive>,
    #[schema(value_type = Option<u64>, minimum = 0)]
    table_elements: Option<Any>,
    #[schema(value_type = Option<u64>, minimum = 0)]
    disk_bytes: Option<Any>,
    #[schema(value_type = Option<u64>, minimum = 0)]
    disk_files: Option<Any>,
    #[schema(value_type = Option<u64>, minimum = 0)]
    output_bytes: Option<Any>,
}

impl From<LimitsJson> for LimitRequest {
    fn from(limits: LimitsJson) -> LimitRequest {
        LimitRequest {
            timeout: millis(limits.timeout_ms),
            cpu: millis(limits.cpu_ms),
            fuel: limits.fuel.map(|limit| limit.0),
            memory_bytes: limits.memory_bytes.map(|limit| limit.0),
            table_elements: limits.table_elements.map(|limit| limit.0),
            disk_bytes: limits.disk_bytes.map(|limit| limit.0),
            disk_files: limits.disk_files.map(|limit| limit.0),
            output_bytes: limits.output_bytes.map(|limit| limit.0),
        }
    }
}

/// A number of milliseconds as a duration.
pub(crate) fn millis(said: Option<Positive>) -> Option<Duration> {
    said.map(|millis| Duration::from_millis(millis.0))
}

/// The limits that a run at once accepts. `number` reads the one with that name.
pub(crate) fn of_run<E>(
    mut number: impl FnMut(&'static str, RangeInclusive<u64>) -> Result<Option<u64>, E>,
) -> Result<LimitRequest, E> {
    Ok(LimitRequest {
        timeout: number("timeout_ms", 1..=EXACT_MAX)?.map(Duration::from_millis),
        cpu: number("cpu_ms", 1..=EXACT_MAX)?.map(Duration::from_millis),
        fuel: number("fuel", 1..=EXACT_MAX)?,
        memory_bytes: number("memory_bytes", 1..=EXACT_MAX)?,
        ..LimitRequest::default()
    })
}

/// The limits that a task accepts. `number` reads the one with that name.
pub(crate) fn of_task<E>(
    mut number: impl FnMut(&'static str, RangeInclusive<u64>) -> Result<Option<u64>, E>,
) -> Result<LimitRequest, E> {
    let of_run = of_run(&mut number)?;
    Ok(LimitRequest {
        table_elements: number("table_elements", 0..=EXACT_MAX)?,
        disk_bytes: number("disk_bytes", 0..=EXACT_MAX)?,
        disk_files: number("disk_files", 0..=EXACT_MAX)?,
        output_bytes: number("output_bytes", 0..=EXACT_MAX)?,
        ..of_run
    })
}
