//! Keys and tenants as every database keeps them: scopes as bits, a tenant's rules as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{from_json, millis, to_json};
use crate::StorageError;
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::caller::{Scope, Scopes};
use cofferdam_domain::grants::http::HostPattern;
use cofferdam_domain::limits::LimitRequest;
use cofferdam_domain::rate::Rate;

/// What a row says of a tenant besides its weight and its bound.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct RulesRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms_per_day: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    ceilings: CeilingsRow,
    #[serde(skip_serializing_if = "Option::is_none")]
    egress: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dirs: Option<Vec<String>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct CeilingsRow {
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table_elements: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_bytes: Option<u64>,
}

/// A tenant's rules as a row's text.
pub(crate) fn rules_text(rules: &TenantRules) -> Result<String, StorageError> {
    let ceilings = &rules.ceilings;
    to_json(&RulesRow {
        pending_max: rules.pending_max,
        storage_bytes: rules.storage_bytes,
        cpu_ms_per_day: rules.cpu_ms_per_day,
        sessions_max: rules.sessions_max,
        rate: rules.rate.map(|rate| rate.to_string()),
        burst: rules.rate.map(|rate| rate.burst().get()),
        ceilings: CeilingsRow {
            timeout_ms: ceilings.timeout.map(millis),
            cpu_ms: ceilings.cpu.map(millis),
            fuel: ceilings.fuel,
            memory_bytes: ceilings.memory_bytes,
            table_elements: ceilings.table_elements,
            disk_bytes: ceilings.disk_bytes,
            disk_files: ceilings.disk_files,
            output_bytes: ceilings.output_bytes,
        },
        egress: rules.egress.as_ref().map(|hosts| texts(hosts)),
        dirs: rules.dirs.clone(),
    })
}

/// The rules in a row.
pub(crate) fn rules_of(
    weight: u32,
    running_max: Option<u32>,
    text: &str,
) -> Result<TenantRules, StorageError> {
    let row: RulesRow = from_json(text)?;
    let ceilings = row.ceilings;
    let time = |millis: Option<u64>| millis.map(Duration::from_millis);
    Ok(TenantRules {
        weight,
        pending_max: row.pending_max,
        running_max,
        storage_bytes: row.storage_bytes,
        cpu_ms_per_day: row.cpu_ms_per_day,
        sessions_max: row.sessions_max,
        rate: rate_of(row.rate.as_deref(), row.burst)?,
        ceilings: LimitRequest {
            timeout: time(ceilings.timeout_ms),
            cpu: time(ceilings.cpu_ms),
            fuel: ceilings.fuel,
            memory_bytes: ceilings.memory_bytes,
            table_elements: ceilings.table_elements,
            disk_bytes: ceilings.disk_bytes,
            disk_files: ceilings.disk_files,
            output_bytes: ceilings.output_bytes,
        },
        egress: row.egress.as_deref().map(patterns).transpose()?,
        dirs: row.dirs,
    })
}

fn texts(hosts: &[HostPattern]) -> Vec<String> {
    hosts.iter().map(ToString::to_string).collect()
}

fn patterns(texts: &[String]) -> Result<Vec<HostPattern>, StorageError> {
    let pattern = |text: &String| text.parse().map_err(StorageError::corrupt);
    texts.iter().map(pattern).collect()
}

/// The rate in a row.
pub(crate) fn rate_of(
    text: Option<&str>,
    burst: Option<u32>,
) -> Result<Option<Rate>, StorageError> {
    text.map(|text| Rate::parse(text, burst))
        .transpose()
        .map_err(StorageError::corrupt)
}

/// The number of a row's scopes: a bit for each.
pub(crate) fn scopes_number(scopes: Scopes) -> u8 {
    scopes.iter().map(scope_bit).sum()
}

/// The scopes of that number. A bit that only a newer version knows gives no right here.
pub(crate) fn scopes_of(number: u8) -> Scopes {
    let all = Scope::ALL.into_iter();
    all.filter(|scope| number & scope_bit(*scope) != 0)
        .collect()
}

fn scope_bit(scope: Scope) -> u8 {
    match scope {
        Scope::Run => 1,
        Scope::Read => 2,
        Scope::Modules => 4,
        Scope::Admin => 8,
    }
}
