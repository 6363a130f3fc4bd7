//! `/v1/secrets`: what a tenant entrusts to the host. No answer has a value.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::page::{self, Page};
use crate::http::path::PathParts;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::secrets::{self, SecretRequest};
use crate::intake::time::Time;
use cofferdam_domain::secret::{KnownSecret, SecretName};

/// A secret, without its value.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SecretJson {
    name: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// When its value was put last.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Time,
}

/// List the secrets
///
/// Their names and times; values are never shown.
#[utoipa::path(
    get, path = "/v1/secrets", operation_id = "list_secrets", tag = "Access",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by name", body = Page<SecretJson>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let after = page::after_secret(&mut query)?;
    query.done()?;
    let mut secrets = services.secrets.list(&caller).await?;
    secrets.retain(|secret| after.as_ref().is_none_or(|after| secret.name > *after));
    let cursor = |last: &KnownSecret| page::secret_cursor(&last.name);
    let page = Page::of(secrets, limit, cursor, shown);
    Ok(json::answer(StatusCode::OK, &page))
}

/// Keep a secret, or replace its value
///
/// Whoever may run tasks can have the host use it, for callbacks and in headers to hosts that tasks may be
/// granted; nobody can read it. A host without `storage.encryption_keys` keeps none.
#[utoipa::path(
    put, path = "/v1/secrets/{name}", operation_id = "put_secret", tag = "Access",
    params(("name" = String, Path, description = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}")),
    request_body = SecretRequest,
    responses(
        (status = 201, description = "It is new"),
        (status = 204, description = "It has another value now"),
        (status = 409, description = "The tenant has as many as it may", body = crate::http::error::Problem),
        (status = 501, description = "This host has no key to seal it with", body = crate::http::error::Problem),
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
    let name = secrets::name(path.text(0))?;
    let body = json::body(&services, &headers, body).await?;
    let value = secrets::value(&body)?;
    Ok(match services.secrets.put(&caller, &name, &value).await? {
        true => StatusCode::CREATED.into_response(),
        false => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Forget a secret
#[utoipa::path(
    delete, path = "/v1/secrets/{name}", operation_id = "delete_secret", tag = "Access",
    params(("name" = String, Path, description = "The secret")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    services.secrets.remove(&caller, &named(&path)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The part of a path that names a secret. Other text names none.
fn named(path: &PathParts) -> Result<SecretName, ApiError> {
    let text = path.text(0);
    let unknown = |_| ApiError::not_found("secret_not_found", format!("there is no secret {text}"));
    SecretName::parse(text).map_err(unknown)
}

fn shown(secret: KnownSecret) -> SecretJson {
    SecretJson {
        name: secret.name.to_string(),
        created_at: Time(secret.created_at),
        updated_at: Time(secret.updated_at),
    }
}
