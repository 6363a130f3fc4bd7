//! Adds the common parts to every operation: refusals by status, their headers, the key it needs, and a schema for
//! each media type, without which generated clients leave out an operation.

use serde_json::{Map, Value, json};

use crate::http::openapi::Needed;

/// The refusals of a request with these properties, besides those that it declares.
const ALWAYS: &[(&str, &str)] = &[
    (
        "400",
        "The request is malformed; the detail names the field",
    ),
    (
        "403",
        "The key lacks the scope, or the host has no keys and the request does not come from this machine",
    ),
    (
        "503",
        "The host has no room for the request at the moment, or is draining",
    ),
];
const WITH_A_KEY: &[(&str, &str)] = &[
    (
        "401",
        "The host has keys, and the request shows none that opens anything",
    ),
    (
        "429",
        "The key or its tenant makes more requests than it may",
    ),
];
const WITH_A_BODY: &[(&str, &str)] = &[
    ("408", "The body arrived too slowly"),
    ("413", "The body is too large"),
    (
        "415",
        "The body has a type or a coding that is not accepted here",
    ),
];
const OF_A_THING: &[(&str, &str)] = &[("404", "There is no such thing, or it has been removed")];

/// The methods of a path that are used here.
const METHODS: [&str; 4] = ["get", "put", "post", "delete"];
/// The member of an operation that says which scope a key needs for it.
const SCOPE: &str = "x-cofferdam-scope";
const PROBLEM: &str = "application/problem+json";

/// Completes every operation of `document`.
pub(super) fn complete(document: &mut Value, needed: Needed) {
    document["components"]["securitySchemes"] = json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key, cfd_ID_SECRET. A host without keys answers its own machine only.",
        },
        "api_key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
    });
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                complete_one(path, method, operation, needed);
            }
        }
    }
}

fn complete_one(
    path: &str,
    method: &str,
    operation: &mut Map<String, Value>,
    Needed(needed): Needed,
) {
    let has_body = operation.contains_key("requestBody");
    let needs = needed(path, method);
    if let Some(scope) = needs {
        operation.insert(
            "security".to_owned(),
            json!([{ "bearer": [] }, { "api_key": [] }]),
        );
        operation.insert(SCOPE.to_owned(), json!(scope));
    }
    if let Some(body) = operation.get_mut("requestBody") {
        give_schemas(body);
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    // A PUT does not need an existing thing.
    let names_a_thing = path.contains('{') && method != "put";
    let refusals = ALWAYS
        .iter()
        .chain(WITH_A_KEY.iter().filter(|_| needs.is_some()))
        .chain(WITH_A_BODY.iter().filter(|_| has_body))
        .chain(OF_A_THING.iter().filter(|_| names_a_thing))
        .chain([&("default", "The error")]);
    for (status, description) in refusals {
        responses
            .entry(*status)
            .or_insert_with(|| json!({ "description": description, "content": problem() }));
    }
    for (status, response) in responses {
        let is_refusal = status.starts_with(['4', '5']);
        if is_refusal {
            response["content"] = problem();
        }
        if ["429", "503"].contains(&status.as_str()) {
            let retry_after = json!({
                "description": "Seconds after which a retry may succeed",
                "schema": { "type": "integer", "minimum": 0 },
            });
            response["headers"]["Retry-After"] = retry_after;
        }
        give_schemas(response);
    }
}

fn problem() -> Value {
    json!({ PROBLEM: { "schema": { "$ref": "#/components/schemas/Problem" } } })
}

/// Marks bytes as such; content without a schema is text or bytes.
fn give_schemas(of: &mut Value) {
    let Some(content) = of.get_mut("content").and_then(Value::as_object_mut) else {
        return;
    };
    for (media_type, described) in content {
        let schema = &described["schema"];
        let is_list_of_bytes = schema["type"] == "array" && schema["items"]["type"] == "integer";
        if schema.is_null() || is_list_of_bytes {
            described["schema"] = match media_type.starts_with("text/") {
                true => json!({ "type": "string" }),
                false => json!({ "type": "string", "format": "binary" }),
            };
        }
    }
}
