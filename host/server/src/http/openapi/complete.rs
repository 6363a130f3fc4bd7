//! What every operation has in common, added to what each says of itself: refusals by status, the
//! headers they come with, and a schema for each media type, without which generated clients leave
//! an operation out.

use serde_json::{Map, Value, json};

/// What a request with these properties may be refused with besides what it says itself.
const ALWAYS: &[(&str, &str)] = &[
    (
        "400",
        "The request is malformed; the detail names the field",
    ),
    ("403", "The request is not this machine's"),
    (
        "503",
        "The host has no room for the request now, or is draining",
    ),
];
const WITH_A_BODY: &[(&str, &str)] = &[
    ("408", "The body came too slowly"),
    ("413", "The body is too large"),
    (
        "415",
        "The body is of a type or a coding that is not taken here",
    ),
];
const OF_A_THING: &[(&str, &str)] = &[("404", "There is no such thing, or no longer")];

/// The methods that an item of a path may have here.
const METHODS: [&str; 4] = ["get", "put", "post", "delete"];
const PROBLEM: &str = "application/problem+json";

/// Completes every operation of `document`.
pub(super) fn complete(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else {
        return;
    };
    for (path, item) in paths {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                complete_one(path, method, operation);
            }
        }
    }
}

fn complete_one(path: &str, method: &str, operation: &mut Map<String, Value>) {
    let has_body = operation.contains_key("requestBody");
    if let Some(body) = operation.get_mut("requestBody") {
        give_schemas(body);
    }
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    // What is put need not be there.
    let names_a_thing = path.contains('{') && method != "put";
    let refusals = ALWAYS
        .iter()
        .chain(WITH_A_BODY.iter().filter(|_| has_body))
        .chain(OF_A_THING.iter().filter(|_| names_a_thing))
        .chain([&("default", "What went wrong")]);
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
                "description": "Seconds after which it may be worth to ask again",
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

/// Bytes are told as such; what has no schema of its own is text or bytes.
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
