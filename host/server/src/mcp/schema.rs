//! Schemas in the form that tools have them: always those of an object.
//!
//! A module may take anything that JSON can say. Where its schema is not that of an object, the
//! tool takes an object with the one member `input`.

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// The one member of an input that is no object.
const MEMBER: &str = "input";
/// Where a schema keeps what it refers to by a path from its root.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// How a tool's arguments become a module's input.
#[derive(Debug, PartialEq)]
pub(super) enum InputSchema {
    /// The arguments are the input.
    Object(JsonObject),
    /// The input is a member of the arguments.
    Member(JsonObject),
}

impl InputSchema {
    /// The tool's schema for a module with this one; `None` if the text is not a schema.
    pub(super) fn of(text: &str) -> Option<InputSchema> {
        match object(text) {
            Some(schema) => Some(InputSchema::Object(schema)),
            None => {
                let schema = serde_json::from_str(text).ok()?;
                Some(InputSchema::Member(wrapped(schema)))
            }
        }
    }

    /// The schema itself.
    pub(super) fn into_schema(self) -> JsonObject {
        match self {
            InputSchema::Object(schema) | InputSchema::Member(schema) => schema,
        }
    }

    /// The input that `arguments` hold.
    pub(super) fn input(&self, mut arguments: JsonObject) -> Result<Value, String> {
        match self {
            InputSchema::Object(_) => Ok(Value::Object(arguments)),
            InputSchema::Member(_) => {
                let input = arguments.remove(MEMBER);
                let input = input.ok_or_else(|| format!("{MEMBER}: is required"))?;
                match arguments.keys().next() {
                    None => Ok(input),
                    Some(other) => Err(format!("{other}: there is only {MEMBER}")),
                }
            }
        }
    }
}

/// The schema, if it is that of an object. Only objects are structured content.
pub(super) fn object(text: &str) -> Option<JsonObject> {
    let schema: JsonObject = serde_json::from_str(text).ok()?;
    let kind = schema.get("type").and_then(Value::as_str);
    (kind == Some("object")).then_some(schema)
}

fn wrapped(mut schema: Value) -> JsonObject {
    let mut outer = JsonObject::new();
    // References begin at the root, which is no longer the module's.
    if let Value::Object(inner) = &mut schema {
        for name in DEFINITIONS {
            if let Some(definitions) = inner.remove(name) {
                outer.insert(name.to_owned(), definitions);
            }
        }
        if let Some(dialect) = inner.remove("$schema") {
            outer.insert("$schema".to_owned(), dialect);
        }
    }
    outer.insert("type".to_owned(), json!("object"));
    outer.insert("properties".to_owned(), json!({ MEMBER: schema }));
    outer.insert("required".to_owned(), json!([MEMBER]));
    outer.insert("additionalProperties".to_owned(), json!(false));
    outer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> JsonObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_object_stays_as_it_is() {
        let schema = InputSchema::of(r#"{"type": "object", "required": ["n"]}"#).unwrap();
        assert_eq!(schema.input(map(json!({"n": 1}))), Ok(json!({"n": 1})));
        let kept = map(json!({"type": "object", "required": ["n"]}));
        assert_eq!(schema.into_schema(), kept);
    }

    #[test]
    fn anything_else_becomes_a_member_and_its_references_still_lead_somewhere() {
        let text = r##"{"$ref": "#/$defs/N", "$defs": {"N": {"type": "integer"}}}"##;
        let schema = InputSchema::of(text).unwrap();
        assert_eq!(schema.input(map(json!({"input": 7}))), Ok(json!(7)));
        assert!(schema.input(map(json!({}))).is_err());
        assert!(schema.input(map(json!({"input": 7, "x": 1}))).is_err());
        let schema = Value::Object(schema.into_schema());
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&json!({"input": 7})));
        assert!(!validator.is_valid(&json!({"input": "7"})));
        assert!(InputSchema::of("true").is_some() && InputSchema::of("{").is_none());
    }

    #[test]
    fn only_an_objects_schema_is_one_of_structured_content() {
        assert!(object(r#"{"type": "object"}"#).is_some());
        assert!(object(r#"{"type": "integer"}"#).is_none() && object("true").is_none());
    }
}
