//! Schemas in the form of tools: always those of an object.
//!
//! A module may take any JSON. If its schema is not that of an object, the tool takes an object
//! with the one member `input`.

use bytes::Bytes;
use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use cofferdam::registry::schema::rebase;

/// The one member for an input that is not an object.
const MEMBER: &str = "input";

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

    /// The input in `arguments`, verbatim.
    pub(super) fn input(&self, arguments: &Bytes) -> Result<Bytes, String> {
        match self {
            InputSchema::Object(_) => Ok(arguments.clone()),
            InputSchema::Member(_) => {
                let member: Member<'_> = serde_json::from_slice(arguments)
                    .map_err(|error| format!("the arguments are {{\"input\": …}}: {error}"))?;
                // Serde also reads a list as the members in their order.
                if !arguments.trim_ascii_start().starts_with(b"{") {
                    return Err("the arguments are {\"input\": …}".to_owned());
                }
                Ok(arguments.slice_ref(member.input.get().as_bytes()))
            }
        }
    }
}

/// The arguments of a module that does not take an object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
}

/// The schema, if it is that of an object. Only objects are structured content.
pub(super) fn object(text: &str) -> Option<JsonObject> {
    let schema: JsonObject = serde_json::from_str(text).ok()?;
    let kind = schema.get("type").and_then(Value::as_str);
    (kind == Some("object")).then_some(schema)
}

fn wrapped(mut schema: Value) -> JsonObject {
    let mut outer = JsonObject::new();
    // References begin at the root, which is not the module's root here.
    rebase(&mut schema, &format!("/properties/{MEMBER}"));
    if let Value::Object(inner) = &mut schema
        && let Some(dialect) = inner.remove("$schema")
    {
        outer.insert("$schema".to_owned(), dialect);
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

    fn input(schema: &InputSchema, arguments: &'static str) -> Result<Bytes, String> {
        schema.input(&Bytes::from_static(arguments.as_bytes()))
    }

    #[test]
    fn an_object_stays_as_it_is() {
        let schema = InputSchema::of(r#"{"type": "object", "required": ["n"]}"#).unwrap();
        let large = r#"{"n": 18446744073709551617}"#;
        assert_eq!(input(&schema, large), Ok(large.into()));
        let kept = map(json!({"type": "object", "required": ["n"]}));
        assert_eq!(schema.into_schema(), kept);
    }

    #[test]
    fn anything_else_becomes_a_member_and_its_references_still_lead_somewhere() {
        let text = r##"{"$ref": "#/$defs/N", "$defs": {"N": {"type": "integer"}}}"##;
        let schema = InputSchema::of(text).unwrap();
        let large = "18446744073709551617";
        assert_eq!(
            input(&schema, r#"{"input": 18446744073709551617}"#),
            Ok(large.into())
        );
        for wrong in [
            "{}",
            "[7]",
            r#"{"input": 7, "x": 1}"#,
            r#"{"input": 7, "input": 8}"#,
        ] {
            assert!(input(&schema, wrong).is_err(), "{wrong}");
        }
        let fits = |schema: InputSchema, value: Value| {
            let schema = Value::Object(schema.into_schema());
            let validator = jsonschema::validator_for(&schema).unwrap();
            validator.is_valid(&json!({ "input": value }))
        };
        assert!(fits(InputSchema::of(text).unwrap(), json!(7)));
        assert!(!fits(schema, json!("7")));
        // A tree of lists, with a property whose name is a keyword.
        let tree = r##"{"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"properties": {
            "$ref": {"$ref": "#/items"}, "const": {"const": {"$ref": "#"}}}}]}}"##;
        let tree = || InputSchema::of(tree).unwrap();
        assert!(fits(
            tree(),
            json!([[], [[{"$ref": {"const": {"$ref": "#"}}}]]])
        ));
        assert!(!fits(tree(), json!({})));
        assert!(!fits(
            tree(),
            json!([{"const": {"$ref": "#/properties/input"}}])
        ));
        let named =
            r##"{"$id": "https://example.com/a", "type": "array", "items": {"$ref": "#"}}"##;
        let named = || InputSchema::of(named).unwrap();
        assert!(fits(named(), json!([[]])) && !fits(named(), json!([1])));
        assert!(InputSchema::of("true").is_some() && InputSchema::of("{").is_none());
    }

    #[test]
    fn only_an_objects_schema_is_one_of_structured_content() {
        assert!(object(r#"{"type": "object"}"#).is_some());
        assert!(object(r#"{"type": "integer"}"#).is_none() && object("true").is_none());
    }
}
