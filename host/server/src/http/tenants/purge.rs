//! `DELETE /v1/tenants/{name}?purge=true`: removes a tenant with everything that it has.
//!
//! Its keys are revoked first, so that nothing new comes; then its attempts are cancelled, and its tasks, modules,
//! sessions and files go. A request does as much as it can in its time, and whoever sends it again goes on: what is
//! left is all that says how far it has come.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::error::ApiError;
use crate::http::{Services, json};
use cofferdam::access::AccessError;
use cofferdam_domain::caller::{Caller, Scope, Tenant};
use cofferdam_domain::whose::Whose;

/// How long one request goes on.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_millis(100);
/// Names that are looked at together.
const NAMES: u32 = 500;

/// What is left of a tenant that is being removed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TenantLeft {
    /// Tasks that are not final yet.
    open_tasks: u64,
    /// Tasks in all.
    tasks: u64,
}

/// Removes what it can.
pub(super) async fn purge(
    services: &Services,
    caller: &Caller,
    tenant: &Tenant,
) -> Result<Response, ApiError> {
    let until = Instant::now() + PATIENCE;
    let closed_at = services.access.close_tenant(caller, tenant).await?;
    loop {
        services.sessions.keep_those(|whose, _| whose != tenant);
        let is_clear = services.queue.clear_tenant(caller, tenant, until).await?;
        remove_modules(services, caller, tenant).await?;
        services.files.remove_executions_of(tenant).await?;
        let is_closed = closed_at.is_none_or(|at| services.clock.now() >= at);
        if is_clear && is_closed {
            match services.access.remove_tenant(caller, tenant).await {
                Ok(()) => return Ok(StatusCode::NO_CONTENT.into_response()),
                // Something came before the last host had heard of the keys.
                Err(AccessError::NotEmpty { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if Instant::now() >= until || services.shutdown.is_requested() {
            return left(services, tenant).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn left(services: &Services, tenant: &Tenant) -> Result<Response, ApiError> {
    let whose = Whose::One(tenant.clone());
    let counts = services.storage.counts(&whose).await?;
    let left = TenantLeft {
        open_tasks: counts.blocked + counts.pending + counts.running,
        tasks: counts.all(),
    };
    Ok(json::answer(StatusCode::ACCEPTED, &left))
}

async fn remove_modules(
    services: &Services,
    caller: &Caller,
    tenant: &Tenant,
) -> Result<(), ApiError> {
    let scopes = [Scope::Modules].into_iter().collect();
    let as_tenant = Caller::new(tenant.clone(), scopes, caller.from());
    let mut after = None;
    loop {
        let modules = &services.modules;
        let page = modules.list_modules(tenant, after.as_ref(), NAMES).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.name.clone());
        for module in page {
            // Those that are everybody's are listed too.
            if module.name.owner(tenant) == *tenant {
                services.registry.remove(&as_tenant, &module.name).await?;
            }
        }
    }
}
