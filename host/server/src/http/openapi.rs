//! The API document: OpenAPI 3.1, made from the handlers and the wire types.

mod complete;

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use utoipa::OpenApi;

use crate::http::error::Problem;
use crate::http::openapi::complete::complete;
use crate::http::{
    events, exec, home, interpreters, mcp, modules, ops, run, sessions, tasks, worker_api, workers,
};

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
        modules::wasm,
        modules::delete,
        run::run,
        exec::exec,
        exec::files::get,
        interpreters::list,
        sessions::create,
        sessions::list,
        sessions::get,
        sessions::delete,
        sessions::exec::exec,
        sessions::files::list,
        sessions::files::get,
        sessions::files::snapshot,
        tasks::submit::submit,
        tasks::batch::submit,
        tasks::batch::get,
        tasks::batch::cancel,
        tasks::bulk::cancel,
        tasks::bulk::retry,
        tasks::list::list,
        tasks::get,
        tasks::cancel,
        tasks::retry,
        tasks::attempts::list,
        tasks::output::result,
        tasks::output::logs,
        tasks::artifacts::list,
        tasks::artifacts::get,
        events::events,
        mcp::send,
        mcp::listen,
        mcp::end,
        workers::list,
        workers::get,
        workers::drain,
        workers::undrain,
        worker_api::execute,
        worker_api::status,
        worker_api::result,
        worker_api::cancel,
        worker_api::health,
        ops::livez,
        ops::readyz,
        ops::metrics,
        document,
        home::home,
    )
)]
struct Document;

static TEXT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(build().to_string()));

/// This document
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "get_api_document", tag = "Operations",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(crate) async fn document() -> Response {
    let mut response = Response::new(TEXT.clone().into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn build() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).expect("it is plain JSON");
    complete(&mut document);
    document
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes;

    /// The only path that the router serves as a part of another, because names of modules contain
    /// slashes.
    const PART_OF_ANOTHER: &str = "/v1/modules/{name}/wasm";

    fn document() -> Value {
        serde_json::from_slice(&TEXT).unwrap()
    }

    fn operations(document: &Value) -> Vec<&Value> {
        let items = document["paths"].as_object().unwrap().values();
        items
            .flat_map(|item| item.as_object().unwrap().values())
            .collect()
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = document();
        let mut names = BTreeSet::new();
        for operation in operations(&document) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name), "{name} is the name of two operations");
        }
    }

    #[test]
    fn every_media_type_has_a_schema_and_every_answer_words() {
        let document = document();
        for operation in operations(&document) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(operation["summary"].is_string(), "{name}");
            let responses = operation["responses"].as_object().unwrap();
            let bodies = responses.iter().map(|(status, response)| {
                assert!(response["description"].is_string(), "{name} {status}");
                &response["content"]
            });
            let bodies = bodies.chain([&operation["requestBody"]["content"]]);
            for (media_type, content) in bodies.filter_map(Value::as_object).flatten() {
                assert!(content["schema"].is_object(), "{name}: {media_type}");
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            for parameter in parameters {
                assert!(parameter["schema"].is_object(), "{name}: {parameter}");
            }
        }
    }

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
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<(String, &str)> = paths
            .iter()
            .filter(|(path, _)| *path != PART_OF_ANOTHER)
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (path.clone(), method.as_str()))
            })
            .collect();
        assert_eq!(served, described);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
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
