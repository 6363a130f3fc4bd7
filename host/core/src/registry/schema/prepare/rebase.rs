//! Moves a schema into another document, with its references.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{Patterns, Reader};

/// Rewrites the references to places in `schema` for a document in which it is found at `prefix`.
/// A schema that this host cannot read stays unchanged.
pub(in crate::registry::schema) fn rebase(schema: &mut Value, prefix: &str) {
    let read = Reader::new(schema, Patterns::Left).and_then(|reader| reader.read_document(schema));
    let referring = match read {
        // The paths of a schema with its own `$id` begin at itself, wherever it is.
        Ok(reader) if !reader.resources.is_root_named() => reader.referring,
        Ok(_) | Err(_) => return,
    };
    rewrite(schema, &referring, prefix);
}

/// The words that refer. A schema has one of them at most.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Makes a reference to a place one to where the place is now. The root that a dynamic reference to
/// it would look for is another document's from now on, so it becomes a plain one.
fn redirect(members: &mut Map<String, Value>, word: &str, prefix: &str) {
    let path = match members.get(word).and_then(Value::as_str) {
        Some(reference) => reference.strip_prefix('#'),
        None => None,
    };
    if let Some(path) = path
        && (path.is_empty() || path.starts_with('/'))
    {
        let redirected = format!("#{prefix}{path}");
        members.remove(word);
        members.insert("$ref".to_owned(), redirected.into());
    }
}

fn rewrite(value: &mut Value, referring: &HashSet<*const Value>, prefix: &str) {
    let refers = referring.contains(&std::ptr::from_ref(value));
    match value {
        Value::Array(items) => {
            for item in items {
                rewrite(item, referring, prefix);
            }
        }
        Value::Object(members) => {
            for member in members.values_mut() {
                rewrite(member, referring, prefix);
            }
            // Last, since it moves the members, which are known by where they are.
            if refers {
                REFERENCES
                    .iter()
                    .for_each(|word| redirect(members, word, prefix));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn moved(mut schema: Value) -> Value {
        rebase(&mut schema, "/p");
        schema
    }

    #[test]
    fn references_to_places_follow_their_schema() {
        let schema = json!({
            "properties": {"a": {"$ref": "#"}, "b": {"$dynamicRef": "#"}},
            "items": [{"$ref": "#/$defs/c"}],
            "$schema": "http://json-schema.org/draft-07/schema",
            "$defs": {"c": true},
        });
        let expected = json!({
            "properties": {"a": {"$ref": "#/p"}, "b": {"$ref": "#/p"}},
            "items": [{"$ref": "#/p/$defs/c"}],
            "$schema": "http://json-schema.org/draft-07/schema",
            "$defs": {"c": true},
        });
        assert_eq!(moved(schema), expected);
    }

    #[test]
    fn what_refers_by_name_or_refers_to_nothing_stays_as_it_is() {
        for schema in [
            json!({"$ref": "#here", "$defs": {"h": {"$anchor": "here"}}}),
            json!({"$id": "https://example.com/a", "items": {"$ref": "#"}}),
            json!({"$defs": {"b": {"$id": "b", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": true}}}}),
            json!({"const": {"$ref": "#/x"}, "properties": {"$ref": {"default": {"$ref": "#"}}}}),
            json!({"$ref": "#/nowhere"}),
        ] {
            assert_eq!(moved(schema.clone()), schema);
        }
    }
}
