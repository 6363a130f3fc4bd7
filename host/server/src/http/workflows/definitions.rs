//! `/v1/workflow-definitions`: what workflows may be submitted by, under names, each version as long as its name.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::body;
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::noted::Made;
use crate::http::page::{self, Page};
use crate::http::path::PathParts;
use crate::http::{AppState, json};
use crate::intake::query::Query;
use crate::intake::time::Time;
use crate::intake::workflow::definition::{self, DefinitionRequest};
use cofferdam::workflows::definitions::Definition;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};
use cofferdam_storage::StoredDefinition;

/// A definition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DefinitionJson {
    name: String,
    /// The version: the sha-256 of what was put, `sha256:…`.
    digest: String,
    size_bytes: u64,
    /// When this version was put under this name.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// What was put, if one definition is asked for.
    #[schema(value_type = Option<Object>)]
    definition: Option<Box<RawValue>>,
    /// Every version of the name, newest first, if one definition is asked for.
    versions: Option<Vec<DefinitionVersion>>,
}

/// A version of a definition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DefinitionVersion {
    digest: String,
    size_bytes: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

/// The answer to putting a definition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DefinitionPut {
    name: String,
    digest: String,
}

impl DefinitionJson {
    fn new(stored: &StoredDefinition) -> DefinitionJson {
        DefinitionJson {
            name: stored.name.to_string(),
            digest: stored.digest.to_string(),
            size_bytes: stored.size_bytes,
            created_at: Time(stored.created_at),
            definition: None,
            versions: None,
        }
    }
}

impl From<&StoredDefinition> for DefinitionVersion {
    fn from(stored: &StoredDefinition) -> DefinitionVersion {
        DefinitionVersion {
            digest: stored.digest.to_string(),
            size_bytes: stored.size_bytes,
            created_at: Time(stored.created_at),
        }
    }
}

/// Keep a definition of workflows
///
/// It is checked as a workflow that is submitted, but for what depends on the input, and again whenever it is submitted.
/// A version never changes; the name means the one that was put last, and each is reachable as `name@sha256:…`.
#[utoipa::path(
    put, path = "/v1/workflow-definitions/{name}", operation_id = "put_workflow_definition", tag = "Workflows",
    params(("name" = String, Path, max_length = 128, pattern = "^[a-z0-9][a-z0-9._-]{0,127}$", description = "The definition's name")),
    request_body(description = "The definition", content((DefinitionRequest = "application/json"))),
    responses(
        (status = 201, description = "The name is new or meant another version", body = DefinitionPut),
        (status = 200, description = "The name meant this version already", body = DefinitionPut),
        (status = 409, description = "The tenant has as many versions as it may", body = crate::http::error::Problem),
        (status = 413, description = "The body is above http.batch_body_bytes", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn put(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let (parts, body) = request.into_parts();
    Query::of(parts.uri.query())?.done()?;
    json::require(&parts.headers)?;
    let name = definition::name(path.text(0))?;
    let most = services.config.batch_body_bytes;
    let limit = body::BodyLimit::new(&services, most, "body_too_large", "the definition");
    let text = body::collect(&parts.headers, body, limit).await?;
    let (definitions, runner) = (
        Arc::clone(&services.definitions),
        Arc::clone(&services.runner),
    );
    let (kept, now) = (name.clone(), services.clock.now());
    // As long as a submit takes.
    let put = services.threads.hand_over(async move {
        let definition = Definition { name: kept, text };
        let graph = definition::graph(&definition, &runner)?;
        Ok::<_, ApiError>(definitions.put(&caller, definition, graph, now).await?)
    });
    let (digest, is_new) = put.await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let answer = DefinitionPut {
        name: name.to_string(),
        digest: digest.to_string(),
    };
    let mut response = json::answer(status, &answer);
    let made = Made(format!("/v1/workflow-definitions/{name}@{digest}"));
    response.extensions_mut().insert(made);
    Ok(response)
}

/// List definitions of workflows
#[utoipa::path(
    get, path = "/v1/workflow-definitions", operation_id = "list_workflow_definitions", tag = "Workflows",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by name", body = Page<DefinitionJson>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let after = page::after_definition(&mut query)?;
    query.done()?;
    let (definitions, caller) = (&services.definitions, &caller);
    let name = |stored: &StoredDefinition| stored.name.clone();
    let read = |from: Option<DefinitionName>, most| async move {
        Ok(definitions.list(caller, from.as_ref(), most).await?)
    };
    let (found, is_last) = page::filled(limit, after, name, |_| 0, read).await?;
    let cursor = |last: &StoredDefinition| page::definition_cursor(&last.name);
    let page = Page::ending(found, is_last, cursor, |it| DefinitionJson::new(&it));
    Ok(json::answer(StatusCode::OK, &page))
}

/// Show a definition of workflows
#[utoipa::path(
    get, path = "/v1/workflow-definitions/{name}", operation_id = "get_workflow_definition", tag = "Workflows",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?$", description = "A name, or name@sha256:…")),
    responses((status = 200, description = "The definition and its versions", body = DefinitionJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let reference = named(&path)?;
    let (stored, definition) = services.definitions.find(&caller, &reference).await?;
    let versions = services.definitions.versions(&caller, &reference.name);
    let versions = versions.await?;
    let mut shown = DefinitionJson::new(&stored);
    // It was read as JSON when it was put.
    shown.definition = serde_json::from_slice(&definition.text).ok();
    shown.versions = Some(versions.iter().map(DefinitionVersion::from).collect());
    Ok(json::answer(StatusCode::OK, &shown))
}

/// Remove a definition of workflows
///
/// With all its versions. Workflows that were submitted by it stay.
#[utoipa::path(
    delete, path = "/v1/workflow-definitions/{name}", operation_id = "delete_workflow_definition", tag = "Workflows",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._-]{0,127}$", description = "The name")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let reference = named(&path)?;
    if reference.digest.is_some() {
        return Err(unknown(path.text(0)));
    }
    services
        .definitions
        .remove(&caller, &reference.name)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The part of a path that names a definition. Other text names none.
fn named(path: &PathParts) -> Result<DefinitionRef, ApiError> {
    DefinitionRef::parse(path.text(0)).map_err(|_no_name| unknown(path.text(0)))
}

fn unknown(text: &str) -> ApiError {
    let detail = format!("there is no workflow definition {text}");
    ApiError::not_found("workflow_definition_not_found", detail)
}
