//! The API document: OpenAPI 3.1, made from the handlers and the wire types.

mod complete;

use std::collections::HashMap;
use std::sync::OnceLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use utoipa::OpenApi;

use crate::http::error::Problem;
use crate::http::openapi::complete::complete;
use crate::http::{
    alerts, audit, events, exec, home, interpreters, keys, mcp, modules, monitoring, ops, run,
    schedules, secrets, sessions, stats, tasks, tenants, worker_api, workers, workflows,
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
        modules::reset,
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
        tasks::callback::redeliver,
        tasks::callback::redeliver_of_batch,
        tasks::callback::redeliver_of_workflow,
        tasks::attempts::list,
        tasks::request::get,
        tasks::output::result,
        tasks::output::logs,
        tasks::artifacts::list,
        tasks::artifacts::get,
        events::events,
        workflows::submit,
        workflows::list,
        workflows::get,
        workflows::events::events,
        workflows::change::cancel,
        workflows::change::retry,
        workflows::change::pause,
        workflows::change::resume,
        workflows::change::signal,
        workflows::definitions::put,
        workflows::definitions::list,
        workflows::definitions::get,
        workflows::definitions::delete,
        mcp::send,
        mcp::listen,
        mcp::end,
        stats::stats,
        stats::series::series,
        alerts::list,
        workers::list,
        workers::get,
        workers::drain,
        workers::undrain,
        keys::create,
        keys::list,
        keys::revoke,
        keys::rotate,
        schedules::list,
        schedules::put,
        schedules::get,
        schedules::delete,
        schedules::run,
        audit::list,
        tenants::list,
        tenants::put,
        tenants::get,
        tenants::delete,
        secrets::list,
        secrets::put,
        secrets::delete,
        worker_api::execute,
        worker_api::status,
        worker_api::result,
        worker_api::cancel,
        worker_api::health,
        ops::livez,
        ops::readyz,
        ops::metrics,
        document,
        monitoring::page,
        monitoring::file,
        home::home,
    )
)]
struct Document;

/// What an operation asks of callers, by its path and method: the scope's word; none if it asks nothing. The
/// table of routes knows.
#[derive(Clone, Copy)]
pub(crate) struct Needed(pub(crate) fn(&str, &str) -> Option<&'static str>);

static TEXT: OnceLock<Bytes> = OnceLock::new();

fn text(needed: Needed) -> &'static Bytes {
    TEXT.get_or_init(|| Bytes::from(build(needed).to_string()))
}

/// The name of the operation that a route serves. A route may serve operations of several paths, because names
/// of modules contain slashes; it has one name for each of its methods.
pub(crate) fn name(pattern: &str, method: &str) -> Option<&'static str> {
    static NAMES: OnceLock<HashMap<(String, String), String>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let document = serde_json::to_value(Document::openapi()).expect("it is plain JSON");
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, item)| {
            let operations = item.as_object().into_iter().flatten();
            operations.filter_map(move |(method, operation)| {
                let name = operation["operationId"].as_str()?;
                Some(((path.clone(), method.clone()), name.to_owned()))
            })
        });
        operations.collect()
    });
    let described = (pattern.replace("{*", "{"), method.to_owned());
    let below = format!("{}/", described.0);
    let name = names.get(&described).or_else(|| {
        let mut others = names.iter();
        let other = others.find(|((path, of), _)| of == method && path.starts_with(&below));
        other.map(|(_, name)| name)
    });
    name.map(String::as_str)
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "get_api_document", tag = "Operations",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
pub(crate) async fn document(needed: Needed) -> Response {
    let mut response = Response::new(text(needed).clone().into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn build(needed: Needed) -> Value {
    let mut document = serde_json::to_value(Document::openapi()).expect("it is plain JSON");
    complete(&mut document, needed);
    document
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::routes;

    /// The only path below which the router serves others as a part of it, because names of modules contain
    /// slashes.
    const WITH_PARTS: &str = "/v1/modules/{name}";

    fn document() -> Value {
        serde_json::from_slice(text(routes::NEEDED)).unwrap()
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
            .flat_map(|(path, item)| {
                let is_part = path.starts_with(&format!("{WITH_PARTS}/"));
                let path = if is_part { WITH_PARTS } else { path };
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (path.to_owned(), method.as_str()))
            })
            .collect();
        assert_eq!(served, described);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let text = std::str::from_utf8(text(routes::NEEDED)).unwrap();
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
