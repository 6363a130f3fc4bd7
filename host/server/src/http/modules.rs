//! Modules: upload, show, list, fetch, remove.
//!
//! A name may contain slashes, so one wildcard route serves all names; a GET that ends in `/wasm`
//! asks for the bytes, so no name may end in `/wasm`.

pub(crate) mod upload;
pub(crate) mod wire;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;

use crate::http::body::BodyLimit;
use crate::http::caller::By;
use crate::http::error::{ApiError, no_such_method};
use crate::http::json;
use crate::http::modules::upload::{Said, looks_like_wasm, said, unsaid, upload};
use crate::http::modules::wire::{HeldJson, ModuleJson, VersionJson, text_bytes};
use crate::http::noted::Made;
use crate::http::page::{self, Page};
use crate::http::path::PathParts;
use crate::http::{AppState, Services};
use crate::intake::query::Query;
use cofferdam_domain::caller::{Caller, Tenant};
use cofferdam_domain::module::{Language, ModuleInfo, ModuleKind, ModuleName, ModuleRef};
use cofferdam_storage::{PutModule, StoredModule};

/// The largest script.
const SCRIPT_BYTES_MAX: u64 = 1024 * 1024;
/// The suffix that asks for a module's bytes instead of its description.
const BYTES_SUFFIX: &str = "/wasm";
/// The suffix of a POST that lets a module run again.
const RESET_SUFFIX: &str = "/reset";

/// Upload a module
///
/// The body is a component, a WASI 0.1 core module, or either as WAT; or a script in Python or
/// JavaScript, with a function `run(input)` or as a whole. A script's constants `INPUT_SCHEMA` and
/// `OUTPUT_SCHEMA` are its schemas, and its docstring, or the `/** comment */` it begins with, its
/// summary. Everything is checked and compiled before the answer. A script's digest is that of its
/// language, a zero byte and its text.
#[utoipa::path(
    put, path = "/v1/modules/{name}", operation_id = "put_module", tag = "Modules",
    params(("name" = String, Path, max_length = 128, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}$", description = "May contain slashes")),
    request_body(content(
        (Vec<u8> = "application/octet-stream"), (Vec<u8> = "application/wasm"),
        (String = "text/wat"), (String = "text/x-python"), (String = "text/javascript"),
    )),
    responses(
        (status = 201, description = "The name is new or referred to other bytes", body = ModuleJson),
        (status = 200, description = "The name already referred to these bytes", body = ModuleJson),
        (status = 422, description = "It cannot be accepted; the detail says why", body = crate::http::error::Problem),
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
    let name = new_name(path.text(0))?;
    Query::of(parts.uri.query())?.done()?;
    let said = said(&parts.headers, &name)?;
    let config = &services.config;
    let most = match said {
        Said::Wasm | Said::Nothing => config.module_bytes,
        Said::Script(_) => config.module_bytes.min(SCRIPT_BYTES_MAX),
    };
    let limit = BodyLimit::new(&services, most, "module_too_large", "the module");
    let bytes = upload(&services, &parts.headers, body, limit).await?;
    let (put, info) = match said {
        Said::Script(language) => put_script(&services, &caller, &name, language, bytes).await?,
        Said::Nothing if !looks_like_wasm(&bytes) => return Err(unsaid(&name)),
        Said::Wasm | Said::Nothing => services.registry.put(&caller, &name, bytes).await?,
    };
    let status = match put {
        PutModule::Created => StatusCode::CREATED,
        PutModule::Unchanged => StatusCode::OK,
    };
    let mut response = json::answer(status, &ModuleJson::new(&name, &info));
    let made = Made(format!("/v1/modules/{name}@{}", info.digest));
    response.extensions_mut().insert(made);
    Ok(response)
}

/// List modules
#[utoipa::path(
    get, path = "/v1/modules", operation_id = "list_modules", tag = "Modules",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by name", body = Page<ModuleJson>)),
)]
pub(crate) async fn list(
    State(services): State<AppState>,
    By(caller): By,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut query = Query::of(uri.query())?;
    let limit = page::limit(&mut query)?;
    let after = page::after_module(&mut query)?;
    query.done()?;
    let (modules, tenant) = (&services.modules, caller.tenant());
    let name = |module: &StoredModule| module.name.clone();
    let read = |from: Option<ModuleName>, most| async move {
        Ok(modules.list_modules(tenant, from.as_ref(), most).await?)
    };
    let (found, is_last) = page::filled(limit, after, name, text_bytes, read).await?;
    let cursor = |last: &StoredModule| page::module_cursor(&last.name);
    let page = Page::ending(found, is_last, cursor, |module| ModuleJson::stored(&module));
    Ok(json::answer(StatusCode::OK, &page))
}

/// Show a module
#[utoipa::path(
    get, path = "/v1/modules/{name}", operation_id = "get_module", tag = "Modules",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?$", description = "A name, or name@sha256:…")),
    responses((status = 200, description = "The module and its versions", body = ModuleJson)),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    match path.text(0).strip_suffix(BYTES_SUFFIX) {
        Some(name) => wasm(&services, caller.tenant(), &ModuleRef::parse(name)?).await,
        None => one(&services, &caller, &path.module()?).await,
    }
}

/// Remove a module
///
/// Tasks already submitted still run the version they were submitted with.
#[utoipa::path(
    delete, path = "/v1/modules/{name}", operation_id = "delete_module", tag = "Modules",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}$", description = "The name")),
    responses((status = 204, description = "The name is removed")),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    Query::of(uri.query())?.done()?;
    let name = ModuleName::parse(path.text(0))?;
    match services.registry.remove(&caller, &name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&name)),
    }
}

/// Let a module run again
///
/// A module that this host holds back, because it failed again and again, runs again at once.
#[utoipa::path(
    post, path = "/v1/modules/{name}/reset", operation_id = "reset_module", tag = "Modules",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?$", description = "A name, or name@sha256:…")),
    responses((status = 200, description = "The module", body = ModuleJson)),
)]
pub(crate) async fn reset(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let Some(name) = path.text(0).strip_suffix(RESET_SUFFIX) else {
        return Err(no_such_method(Method::POST).await);
    };
    let reference = ModuleRef::parse(name)?;
    let info = services
        .registry
        .resolve(caller.tenant(), &reference)
        .await?;
    // One against which nothing was held is as it should be.
    let _was_held = services.runner.reset(&caller, info.digest)?;
    one(&services, &caller, &reference).await
}

async fn one(
    services: &Services,
    caller: &Caller,
    reference: &ModuleRef,
) -> Result<Response, ApiError> {
    let tenant = caller.tenant();
    let stored = services.modules.find_module(tenant, reference).await?;
    let stored = stored.ok_or_else(|| unknown(reference))?;
    let (modules, name) = (&services.modules, &reference.name);
    let versions = modules.module_versions(tenant, name).await?;
    let mut module = ModuleJson::stored(&stored);
    let held = services.runner.held(stored.info.digest, caller);
    module.held = held.map(HeldJson::from);
    module.versions = Some(versions.iter().map(VersionJson::from).collect());
    Ok(json::answer(StatusCode::OK, &module))
}

/// Fetch a module's bytes
///
/// As they were uploaded, with their media type.
#[utoipa::path(
    get, path = "/v1/modules/{name}/wasm", operation_id = "get_module_bytes", tag = "Modules",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?$", description = "A name, or name@sha256:…")),
    responses((
        status = 200, description = "The bytes",
        headers(("ETag" = String, description = "The digest")),
        content(
            (Vec<u8> = "application/octet-stream"), (Vec<u8> = "application/wasm"),
            (String = "text/wat"), (String = "text/x-python"), (String = "text/javascript"),
        ),
    )),
)]
async fn wasm(
    services: &Services,
    tenant: &Tenant,
    reference: &ModuleRef,
) -> Result<Response, ApiError> {
    let stored = services.modules.find_module(tenant, reference).await?;
    let info = stored.ok_or_else(|| unknown(reference))?.info;
    let ModuleInfo { digest, kind, .. } = info;
    let held = services.room.take(info.size_bytes).await?;
    let bytes = services
        .modules
        .module_wasm(&digest)
        .await?
        .ok_or_else(|| unknown(reference))?;
    let media_type = match kind {
        ModuleKind::Script(Language::Python) => "text/x-python",
        ModuleKind::Script(Language::JavaScript) => "text/javascript",
        ModuleKind::Task
        | ModuleKind::Command
        | ModuleKind::CoreCommand
        | ModuleKind::Interpreter(_) => {
            if bytes.starts_with(b"\0asm") {
                "application/wasm"
            } else {
                "text/wat"
            }
        }
    };
    let length = HeaderValue::from(bytes.len());
    let mut response = held.answer(Response::new, bytes);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_LENGTH, length);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{digest}\"")) {
        headers.insert(ETAG, tag);
    }
    Ok(response)
}

fn new_name(text: &str) -> Result<ModuleName, ApiError> {
    let name = ModuleName::parse(text)?;
    match text.ends_with(BYTES_SUFFIX) {
        false => Ok(name),
        true => Err(ApiError::bad_request(
            "invalid_module_name",
            "a module's name does not end in /wasm, which names the module's bytes",
        )),
    }
}

async fn put_script(
    services: &Services,
    caller: &Caller,
    name: &ModuleName,
    language: Language,
    source: Bytes,
) -> Result<(PutModule, Arc<ModuleInfo>), ApiError> {
    let text = std::str::from_utf8(&source).map_err(|error| {
        let detail = format!("a script is UTF-8 text: {error}");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "module_refused", detail)
    })?;
    let descriptor = services.runner.check_script(caller, language, text).await?;
    let registry = &services.registry;
    Ok(registry
        .put_script(caller, name, language, source, descriptor)
        .await?)
}

fn unknown(module: &impl std::fmt::Display) -> ApiError {
    ApiError::not_found("module_not_found", format!("there is no module {module}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_hides_behind_the_bytes_of_another() {
        assert!(new_name("team/resize").is_ok());
        assert_eq!(
            new_name("resize/wasm").unwrap_err().code(),
            "invalid_module_name"
        );
    }
}
