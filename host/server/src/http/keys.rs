//! `/v1/keys`: making, listing, rotating and revoking keys.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::body;
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::noted::Made;
use crate::http::page::{self, Page};
use crate::http::path::PathParts;
use crate::http::{AppState, json};
use crate::intake::access::{self, KeyRequest, RotateRequest};
use crate::intake::query::Query;
use crate::intake::time::Time;
use cofferdam::access::KeyText;
use cofferdam_domain::caller::Scope;
use cofferdam_domain::caller::key::{Key, KeyId};
use cofferdam_domain::time::Timestamp;

/// A key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct KeyJson {
    /// The part of the key after `cfd_`.
    id: String,
    tenant: String,
    name: String,
    scopes: Vec<&'static str>,
    rate: Option<String>,
    burst: Option<u32>,
    /// `live`, `expired` or `revoked`.
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Time>,
    /// The key that was made in its place.
    replaced_by: Option<String>,
}

/// A key that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MadeKeyJson {
    /// The whole key. It is shown only here.
    key: String,
    #[serde(flatten)]
    made: KeyJson,
}

/// Make a key
///
/// From the first key on every request needs one.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "create_key", tag = "Access",
    request_body = KeyRequest,
    responses(
        (status = 201, description = "The key, which is shown only here", body = MadeKeyJson),
        (status = 404, description = "There is no such tenant", body = crate::http::error::Problem),
        (status = 409, description = "There are as many keys as may be, or the first one is no administrator's", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn create(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let body = json::body(&services, &headers, body).await?;
    let new = access::new_key(&body)?;
    let (key, text) = services.access.create_key(&caller, new).await?;
    Ok(made(&key, &text, services.clock.now()))
}

/// List the keys
///
/// One that opens nothing any more is listed for another month.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "list_keys", tag = "Access",
    params(
        ("tenant" = Option<String>, Query, description = "Only keys of this tenant"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by id", body = Page<KeyJson>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let after = page::after_key(&mut query)?;
    let tenant = query.text("tenant")?;
    query.done()?;
    let mut keys = services.access.keys(&caller).await?;
    keys.retain(|key| after.is_none_or(|after| key.id > after));
    keys.retain(|key| {
        tenant
            .as_ref()
            .is_none_or(|name| key.tenant.as_str() == name)
    });
    let now = services.clock.now();
    let cursor = |last: &Key| page::key_cursor(last.id);
    let page = Page::of(keys, limit, cursor, |key| shown(&key, now));
    Ok(json::answer(StatusCode::OK, &page))
}

/// Revoke a key
///
/// It opens nothing any more: at this host from now on, at every other within five seconds.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", operation_id = "revoke_key", tag = "Access",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "It is revoked")),
)]
pub(crate) async fn revoke(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    services.access.revoke_key(&caller, id(&path)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Make a key in the place of another
///
/// The new one has the tenant, name, scopes, rate and end of the old one, which goes on for a while.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", operation_id = "rotate_key", tag = "Access",
    params(("id" = String, Path, description = "The id of the old key")),
    request_body = Option<RotateRequest>,
    responses((status = 201, description = "The new key, which is shown only here", body = MadeKeyJson)),
)]
pub(crate) async fn rotate(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = id(&path)?;
    let body = body::collect(&headers, body, json::limit(&services)).await?;
    if !body.is_empty() {
        json::require(&headers)?;
    }
    let overlap = access::overlap(&body)?;
    let (key, text) = services.access.rotate_key(&caller, id, overlap).await?;
    Ok(made(&key, &text, services.clock.now()))
}

/// The part of a path that names a key. Other text names none.
fn id(path: &PathParts) -> Result<KeyId, ApiError> {
    let text = path.text(0);
    let unknown = || ApiError::not_found("key_not_found", format!("there is no key {text}"));
    KeyId::parse(text).ok_or_else(unknown)
}

/// The answer with a whole key, which nothing on the way is to keep.
fn made(key: &Key, text: &KeyText, now: Timestamp) -> Response {
    let made = MadeKeyJson {
        key: text.reveal(),
        made: shown(key, now),
    };
    let mut response = json::answer(StatusCode::CREATED, &made);
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    let made = Made(format!("/v1/keys/{}", key.id));
    response.extensions_mut().insert(made);
    response
}

fn shown(key: &Key, now: Timestamp) -> KeyJson {
    KeyJson {
        id: key.id.to_string(),
        tenant: key.tenant.to_string(),
        name: key.name.as_str().to_owned(),
        scopes: key.scopes.iter().map(Scope::as_str).collect(),
        rate: key.rate.map(|rate| rate.to_string()),
        burst: key.rate.map(|rate| rate.burst().get()),
        state: key.state(now).as_str(),
        created_at: Time(key.created_at),
        expires_at: key.expires_at.map(Time),
        revoked_at: key.revoked_at.map(Time),
        replaced_by: key.replaced_by.map(|id| id.to_string()),
    }
}
