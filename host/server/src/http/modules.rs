//! Modules: upload, look, list, fetch, forget.
//!
//! A name may hold slashes, so one wildcard route serves all of it; a GET that ends in `/wasm`
//! asks for the bytes, which is why no name may end so.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::http::body::{BodyLimit, BodyReader};
use crate::http::error::ApiError;
use crate::http::json::{self, Time};
use crate::http::page::{self, Page};
use crate::http::path::PathParts;
use crate::http::query::Query;
use crate::http::room::UNCOUNTED_BYTES;
use crate::http::{AppState, Services};
use cofferdam_domain::module::{
    Descriptor, Language, ModuleInfo, ModuleKind, ModuleName, ModuleRef,
};
use cofferdam_storage::{PutModule, StoredModule};

/// The largest script.
const SCRIPT_BYTES_MAX: u64 = 1024 * 1024;
/// What asks for a module's bytes instead of what is known of it.
const BYTES_SUFFIX: &str = "/wasm";

/// A module.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ModuleJson {
    name: String,
    /// `sha256:` and 64 hexadecimal digits.
    digest: String,
    /// `task` or `command`.
    kind: &'static str,
    size_bytes: u64,
    imports: Vec<String>,
    /// The grants without which some imports only answer "denied".
    needs: Vec<String>,
    descriptor: Option<DescriptorJson>,
    compiled_ms: u64,
    /// When it was put under this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Time>,
    /// Every version still kept, newest first; only where one module is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<Vec<VersionJson>>,
}

/// What a task module says of itself.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct DescriptorJson {
    summary: String,
    #[schema(value_type = Option<Object>)]
    input_schema: Option<Box<RawValue>>,
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Box<RawValue>>,
}

/// A version of a module.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct VersionJson {
    digest: String,
    size_bytes: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

/// Upload a module
///
/// The body is a component, a WASI 0.1 core module, or either as WAT; or a script in Python or
/// JavaScript, with a function `run(input)` or as a whole. A script's constants `INPUT_SCHEMA` and
/// `OUTPUT_SCHEMA` are its schemas, and its docstring, or the `/** comment */` it begins with, its
/// summary. All is checked and compiled before the answer. A script's digest is that of its
/// language, a zero byte and its text.
#[utoipa::path(
    put, path = "/v1/modules/{name}", tag = "Modules",
    params(("name" = String, Path, max_length = 128, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}$", description = "May hold slashes")),
    request_body(content(
        (Vec<u8> = "application/wasm"), (String = "text/wat"), (String = "text/x-python"),
        (String = "text/javascript"),
    )),
    responses(
        (status = 201, description = "The name is new or means other bytes than before", body = ModuleJson),
        (status = 200, description = "The name meant these bytes already", body = ModuleJson),
        (status = 422, description = "It cannot be accepted; the detail says why", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn put(
    State(services): State<AppState>,
    path: PathParts,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let name = new_name(path.text(0))?;
    Query::of(&parts.uri)?.done()?;
    let sent = sent(&parts.headers)?;
    let config = &services.config;
    let most = match sent {
        Sent::Wasm => config.module_bytes,
        Sent::Script(_) => config.module_bytes.min(SCRIPT_BYTES_MAX),
    };
    let limit = BodyLimit::new(&services, most, "module_too_large", "the module");
    let bytes = upload(&services, &parts.headers, body, limit).await?;
    let (put, info) = match sent {
        Sent::Wasm => services.registry.put(&name, bytes).await?,
        Sent::Script(language) => put_script(&services, &name, language, bytes).await?,
    };
    let status = match put {
        PutModule::Created => StatusCode::CREATED,
        PutModule::Unchanged => StatusCode::OK,
    };
    Ok(json::answer(status, &ModuleJson::new(&name, &info)))
}

/// List modules
#[utoipa::path(
    get, path = "/v1/modules", tag = "Modules",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "An earlier answer's next_cursor"),
    ),
    responses((status = 200, description = "A page, by name", body = Page<ModuleJson>)),
)]
pub(crate) async fn list(State(services): State<AppState>, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::of(&uri)?;
    let limit = page::limit(&mut query)?;
    let after = page::after_module(&mut query)?;
    query.done()?;
    let found = services
        .modules
        .list_modules(after.as_ref(), limit + 1)
        .await?;
    let cursor = |last: &StoredModule| page::module_cursor(&last.name);
    let page = Page::of(found, limit, cursor, |stored| ModuleJson::stored(&stored));
    Ok(json::answer(StatusCode::OK, &page))
}

/// Look at a module, or fetch its bytes
///
/// `/v1/modules/{name}/wasm` gives the bytes as they were uploaded.
#[utoipa::path(
    get, path = "/v1/modules/{name}", tag = "Modules",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?(/wasm)?$", description = "A name, or name@sha256:…; with /wasm for the bytes")),
    responses((status = 200, description = "The module and its versions; or the bytes", content(
        (ModuleJson = "application/json"), (Vec<u8> = "application/wasm"), (String = "text/wat"),
        (String = "text/x-python"), (String = "text/javascript"),
    ))),
)]
pub(crate) async fn get(
    State(services): State<AppState>,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(&uri)?.done()?;
    match path.text(0).strip_suffix(BYTES_SUFFIX) {
        Some(name) => bytes(&services, &ModuleRef::parse(name)?).await,
        None => one(&services, &path.module()?).await,
    }
}

/// Forget a module
///
/// Tasks already submitted still run the version they were submitted with.
#[utoipa::path(
    delete, path = "/v1/modules/{name}", tag = "Modules",
    params(("name" = String, Path, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}$", description = "The name")),
    responses((status = 204, description = "The name means nothing any more")),
)]
pub(crate) async fn delete(
    State(services): State<AppState>,
    path: PathParts,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    Query::of(&uri)?.done()?;
    let name = ModuleName::parse(path.text(0))?;
    match services.registry.remove(&name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&name)),
    }
}

async fn one(services: &Services, reference: &ModuleRef) -> Result<Response, ApiError> {
    let stored = services.modules.find_module(reference).await?;
    let stored = stored.ok_or_else(|| unknown(reference))?;
    let versions = services.modules.module_versions(&reference.name).await?;
    let mut module = ModuleJson::stored(&stored);
    module.versions = Some(versions.iter().map(VersionJson::from).collect());
    Ok(json::answer(StatusCode::OK, &module))
}

async fn bytes(services: &Services, reference: &ModuleRef) -> Result<Response, ApiError> {
    let stored = services.modules.find_module(reference).await?;
    let info = stored.ok_or_else(|| unknown(reference))?.info;
    let ModuleInfo { digest, kind, .. } = info;
    let held = services.room.take(info.size_bytes).await?;
    let wasm = services
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
            if wasm.starts_with(b"\0asm") {
                "application/wasm"
            } else {
                "text/wat"
            }
        }
    };
    let length = HeaderValue::from(wasm.len());
    let mut response = held.answer(Response::new, wasm);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_LENGTH, length);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{digest}\"")) {
        headers.insert(ETAG, tag);
    }
    Ok(response)
}

/// The body, which lies on disk until the whole of it has come, however slowly that is.
async fn upload(
    services: &Services,
    headers: &HeaderMap,
    body: Body,
    limit: BodyLimit,
) -> Result<Bytes, ApiError> {
    let mut reader = BodyReader::new(headers, body, limit)?;
    if reader
        .announced_bytes()
        .is_some_and(|bytes| bytes <= UNCOUNTED_BYTES)
    {
        return reader.collect().await;
    }
    let mut writer = services.files.spool().await?;
    while let Some(chunk) = reader.chunk().await? {
        writer.write(chunk).await?;
    }
    let held = services.room.take(writer.size_bytes()).await?;
    Ok(held.keep(writer.take_back().await?))
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
    name: &ModuleName,
    language: Language,
    source: Bytes,
) -> Result<(PutModule, Arc<ModuleInfo>), ApiError> {
    let text = std::str::from_utf8(&source).map_err(|error| {
        let detail = format!("a script is UTF-8 text: {error}");
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "module_refused", detail)
    })?;
    let descriptor = services.runner.check_script(language, text).await?;
    let registry = &services.registry;
    Ok(registry
        .put_script(name, language, source, descriptor)
        .await?)
}

/// What a body says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Wasm,
    Script(Language),
}

/// Refuses what says that it is not a module. What wasm or WAT really is, its first bytes say.
fn sent(headers: &HeaderMap) -> Result<Sent, ApiError> {
    let said = headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or_default());
    let essence = said.map(|said| {
        let essence = said.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    });
    match essence.as_deref() {
        None | Some("application/wasm" | "text/wat" | "application/octet-stream") => Ok(Sent::Wasm),
        Some("text/x-python" | "application/x-python") => Ok(Sent::Script(Language::Python)),
        Some(
            "text/javascript"
            | "application/javascript"
            | "text/typescript"
            | "application/typescript",
        ) => Ok(Sent::Script(Language::JavaScript)),
        Some(other) => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!(
                "a module is application/wasm, text/wat, application/octet-stream, text/x-python, \
                 text/javascript or text/typescript, not {other:?}"
            ),
        )),
    }
}

fn unknown(module: &impl std::fmt::Display) -> ApiError {
    ApiError::not_found("module_not_found", format!("there is no module {module}"))
}

impl ModuleJson {
    fn new(name: &ModuleName, info: &ModuleInfo) -> ModuleJson {
        ModuleJson {
            name: name.to_string(),
            digest: info.digest.to_string(),
            kind: info.kind.as_str(),
            size_bytes: info.size_bytes,
            imports: info.imports.clone(),
            needs: info.needs.clone(),
            descriptor: info.descriptor.as_ref().map(DescriptorJson::from),
            compiled_ms: info.compiled_ms,
            created_at: None,
            versions: None,
        }
    }

    fn stored(stored: &StoredModule) -> ModuleJson {
        let created_at = Some(Time(stored.created_at));
        ModuleJson {
            created_at,
            ..ModuleJson::new(&stored.name, &stored.info)
        }
    }
}

impl From<&Descriptor> for DescriptorJson {
    fn from(descriptor: &Descriptor) -> DescriptorJson {
        // Anything but JSON was refused when the module was put.
        let schema = |text: &Option<String>| {
            text.clone()
                .and_then(|text| RawValue::from_string(text).ok())
        };
        DescriptorJson {
            summary: descriptor.summary.clone(),
            input_schema: schema(&descriptor.input_schema),
            output_schema: schema(&descriptor.output_schema),
        }
    }
}

impl From<&StoredModule> for VersionJson {
    fn from(stored: &StoredModule) -> VersionJson {
        VersionJson {
            digest: stored.info.digest.to_string(),
            size_bytes: stored.info.size_bytes,
            created_at: Time(stored.created_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_module_media_types_are_taken() {
        let taken = |media_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            sent(&headers).is_ok()
        };
        assert_eq!(sent(&HeaderMap::new()).unwrap(), Sent::Wasm);
        assert!(taken("text/x-python; charset=utf-8"));
        assert!(taken("application/wasm"));
        assert!(taken("text/wat; charset=utf-8"));
        assert!(!taken("application/json"));
        assert!(!taken("text/html"));
    }

    #[test]
    fn no_name_hides_behind_the_bytes_of_another() {
        assert!(new_name("team/resize").is_ok());
        assert_eq!(
            new_name("resize/wasm").unwrap_err().code(),
            "invalid_module_name"
        );
    }
}
