//! The API document: OpenAPI 3.1, made from the handlers and the wire types, served as it is.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use utoipa::OpenApi;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};

use crate::http::error::Problem;
use crate::http::{events, exec, mcp, modules, ops, pool, run, sessions, tasks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cofferdam",
        description = "A host for untrusted WebAssembly tasks. Errors are application/problem+json; `code` is stable. Bodies may be Content-Encoding: gzip or zstd.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem)),
    paths(
        modules::put,
        modules::list,
        modules::get,
        modules::delete,
        run::run,
        exec::exec,
        exec::files::get,
        sessions::create,
        sessions::list,
        sessions::get,
        sessions::delete,
        sessions::exec::exec,
        sessions::files::list,
        sessions::files::get,
        sessions::files::snapshot,
        tasks::submit::submit,
        tasks::list,
        tasks::get,
        tasks::cancel,
        tasks::retry,
        tasks::attempts,
        tasks::output::result,
        tasks::output::logs,
        tasks::artifacts::list,
        tasks::artifacts::get,
        events::events,
        mcp::send,
        mcp::listen,
        mcp::end,
        pool::execute,
        pool::status,
        pool::result,
        pool::cancel,
        pool::health,
        ops::livez,
        ops::readyz,
        ops::metrics,
        document,
    )
)]
struct Document;

static TEXT: LazyLock<Bytes> = LazyLock::new(|| {
    let text = build().to_json().expect("the document is plain JSON");
    Bytes::from(text)
});

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "Operations",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
)]
pub(crate) async fn document() -> Response {
    let mut response = Response::new(TEXT.clone().into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn build() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let problem = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build();
            let response = ResponseBuilder::new()
                .description("What went wrong")
                .content("application/problem+json", problem)
                .build();
            operation
                .responses
                .responses
                .insert("default".to_owned(), RefOr::T(response));
            problems_by_their_type(operation);
        }
    }
    document
}

/// A body of the type `Problem` is announced as JSON by its derivation; it is sent as what it is.
fn problems_by_their_type(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let is_refusal = status.starts_with(['4', '5']);
        if let (true, RefOr::T(response)) = (is_refusal, response)
            && let Some(content) = response.content.shift_remove("application/json")
        {
            let media_type = "application/problem+json".to_owned();
            response.content.insert(media_type, content);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let served: BTreeSet<(String, &str)> = routes::table()
            .into_iter()
            .flat_map(|route| {
                let path = route.pattern.replace("{*", "{");
                route
                    .methods
                    .into_iter()
                    .map(move |method| (path.clone(), method))
            })
            .collect();
        let document: serde_json::Value = serde_json::from_slice(&TEXT).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<(String, &str)> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (path.clone(), method.as_str()))
            })
            .collect();
        assert_eq!(served, described);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_slice(&TEXT).unwrap();
        let text = std::str::from_utf8(&TEXT).unwrap();
        let references = text
            .split("\"$ref\":\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());
        let dangling: Vec<&str> = references
            .filter(|pointer| document.pointer(pointer).is_none())
            .collect();
        assert!(dangling.is_empty(), "{dangling:?}");
    }
}
