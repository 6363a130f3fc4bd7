//! Moves a schema into another document, with its references.

use std::collections::HashSet;

use serde_json::Value;

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

fn rewrite(value: &mut Value, referring: &HashSet<*const Value>, prefix: &str) {
    let refers = referring.contains(&std::ptr::from_ref(value));
    match value {
        Value::Array(items) => {
            for item in items {
                rewrite(item, referring, prefix);
            }
        }
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref").filter(|_| refers)
                && let Some(path) = reference.strip_prefix('#')
                && (path.is_empty() || path.starts_with('/'))
            {
                *reference = format!("#{prefix}{path}");
            }
            for member in members.values_mut() {
                rewrite(member, referring, prefix);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
