//! `/v1/tenants`: what the operator says of tenants.

mod purge;

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

pub(crate) use self::purge::TenantLeft;
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::page::{self, Page};
use crate::http::path::PathParts;
use crate::http::{AppState, Services, json};
use crate::intake::access::{self, TenantRequest};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam_domain::caller::tenant::KnownTenant;
use cofferdam_domain::caller::{Caller, Tenant};
use cofferdam_domain::limits::LimitRequest;

/// A tenant and what holds for it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TenantJson {
    name: String,
    weight: u32,
    pending_max: Option<u64>,
    running_max: Option<u32>,
    storage_bytes: Option<u64>,
    cpu_ms_per_day: Option<u64>,
    sessions_max: Option<u32>,
    rate: Option<String>,
    burst: Option<u32>,
    ceilings: CeilingsJson,
    egress: Option<Vec<String>>,
    dirs: Option<Vec<String>>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

/// The most that a run of a tenant may ask for, where that is less than the host's ceilings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CeilingsJson {
    timeout_ms: Option<u64>,
    cpu_ms: Option<u64>,
    fuel: Option<u64>,
    memory_bytes: Option<u64>,
    table_elements: Option<u64>,
    disk_bytes: Option<u64>,
    disk_files: Option<u64>,
    output_bytes: Option<u64>,
}

/// List the tenants
#[utoipa::path(
    get, path = "/v1/tenants", operation_id = "list_tenants", tag = "Access",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by name", body = Page<TenantJson>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let after = page::after_tenant(&mut query)?;
    query.done()?;
    let mut tenants = services.access.tenants(&caller).await?;
    tenants.sort_by(|one, other| one.name.cmp(&other.name));
    tenants.retain(|tenant| after.as_ref().is_none_or(|after| tenant.name > *after));
    let cursor = |last: &KnownTenant| page::tenant_cursor(&last.name);
    let page = Page::of(tenants, limit, cursor, shown);
    Ok(json::answer(StatusCode::OK, &page))
}

/// Make a tenant, or replace what was said of it
///
/// What is absent has no bound but the host's own.
#[utoipa::path(
    put, path = "/v1/tenants/{name}", operation_id = "put_tenant", tag = "Access",
    params(("name" = String, Path, description = "[a-z0-9][a-z0-9_-]{0,63}")),
    request_body = TenantRequest,
    responses(
        (status = 201, description = "It is new", body = TenantJson),
        (status = 200, description = "It was there", body = TenantJson),
        (status = 409, description = "There are as many tenants as may be", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn put(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let name = access::tenant(path.text(0))?;
    let body = json::body(&services, &headers, body).await?;
    let rules = access::rules(&body)?;
    let is_new = services.access.put_tenant(&caller, &name, &rules).await?;
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(json::answer(
        status,
        &shown(one(&services, &caller, &name).await?),
    ))
}

/// Look at a tenant
#[utoipa::path(
    get, path = "/v1/tenants/{name}", operation_id = "get_tenant", tag = "Access",
    params(("name" = String, Path, description = "The tenant")),
    responses((status = 200, description = "The tenant", body = TenantJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let name = named(&path)?;
    Ok(json::answer(
        StatusCode::OK,
        &shown(one(&services, &caller, &name).await?),
    ))
}

/// Remove a tenant
///
/// Only one that has no live key, no task and no module; the tenant `default` always exists. With `purge=true` its
/// keys are revoked, its attempts are cancelled, and all that it has is removed; where that takes longer than a
/// request may, the same request goes on.
#[utoipa::path(
    delete, path = "/v1/tenants/{name}", operation_id = "delete_tenant", tag = "Access",
    params(
        ("name" = String, Path, description = "The tenant"),
        ("purge" = Option<bool>, Query, description = "Remove what it has, too"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 202, description = "With purge: something is left; send the request again", body = TenantLeft),
        (status = 409, description = "It has something, or is the default one", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let is_purge = query.parsed("purge", "true or false", |text| text.parse().ok())?;
    query.done()?;
    let name = named(&path)?;
    if is_purge == Some(true) {
        return purge::purge(&services, &caller, &name).await;
    }
    services.access.remove_tenant(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The part of a path that names a tenant. Other text names none.
fn named(path: &PathParts) -> Result<Tenant, ApiError> {
    Tenant::parse(path.text(0)).map_err(|_| unknown(path.text(0)))
}

async fn one(services: &Services, caller: &Caller, name: &Tenant) -> Result<KnownTenant, ApiError> {
    let tenants = services.access.tenants(caller).await?;
    let found = tenants.into_iter().find(|tenant| tenant.name == *name);
    found.ok_or_else(|| unknown(name.as_str()))
}

fn unknown(name: &str) -> ApiError {
    ApiError::not_found("tenant_not_found", format!("there is no tenant {name}"))
}

fn shown(tenant: KnownTenant) -> TenantJson {
    let rules = tenant.rules;
    TenantJson {
        name: tenant.name.to_string(),
        weight: rules.weight,
        pending_max: rules.pending_max,
        running_max: rules.running_max,
        storage_bytes: rules.storage_bytes,
        cpu_ms_per_day: rules.cpu_ms_per_day,
        sessions_max: rules.sessions_max,
        rate: rules.rate.map(|rate| rate.to_string()),
        burst: rules.rate.map(|rate| rate.burst().get()),
        ceilings: ceilings(&rules.ceilings),
        egress: rules
            .egress
            .map(|hosts| hosts.iter().map(ToString::to_string).collect()),
        dirs: rules.dirs,
        created_at: Time(tenant.created_at),
    }
}

fn ceilings(ceilings: &LimitRequest) -> CeilingsJson {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    CeilingsJson {
        timeout_ms: ceilings.timeout.map(millis),
        cpu_ms: ceilings.cpu.map(millis),
        fuel: ceilings.fuel,
        memory_bytes: ceilings.memory_bytes,
        table_elements: ceilings.table_elements,
        disk_bytes: ceilings.disk_bytes,
        disk_files: ceilings.disk_files,
        output_bytes: ceilings.output_bytes,
    }
}
