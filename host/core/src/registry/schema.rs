//! JSON Schemas that modules give of their input, applied before a task is stored.
//!
//! A schema comes from an untrusted module and the host applies it, so its cost is bounded before
//! that: no references to elsewhere, no recursion, at most so many rules once all references are
//! followed, patterns in linear time, and a bound on rules times input. A schema or an input beyond
//! these bounds is no error; checking it is then left to the guest, which has limits of its own.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jsonschema::{PatternOptions, Validator};
use lru::LruCache;
use serde_json::Value;

use cofferdam_domain::attempt::Payload;
use cofferdam_domain::module::{Descriptor, Digest};

/// The longest schema.
const SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// JSON values in a schema, each counted as often as references lead to it.
const RULES_MAX: u64 = 10_000;
/// References followed from one another; deeper ones would deepen the stack as well.
const FOLLOWED_MAX: usize = 64;
/// Rules times bytes of input.
const WORK_MAX: u64 = 20_000_000;
/// Schemas kept ready.
const READY_MAX: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// The longest text of the caller's that an answer repeats.
const QUOTE_CHARS_MAX: usize = 300;

/// Schemas made ready, by module.
#[derive(Debug)]
pub(crate) struct Schemas {
    ready: Mutex<LruCache<Digest, Arc<Schema>>>,
}

/// A schema made ready.
#[derive(Debug)]
enum Schema {
    /// It can be applied at this cost for each byte of input.
    Bounded(Box<Validator>, u64),
    /// It is left to the guest.
    Unbounded,
}

impl Default for Schemas {
    fn default() -> Schemas {
        Schemas {
            ready: Mutex::new(LruCache::new(READY_MAX)),
        }
    }
}

impl Schemas {
    /// Checks a JSON input; any other passes.
    pub(crate) fn check(
        &self,
        digest: Digest,
        schema: &str,
        input: &Payload,
    ) -> Result<(), String> {
        if !is_json(&input.content_type) {
            return Ok(());
        }
        match &*self.ready(digest, schema)? {
            Schema::Unbounded => Ok(()),
            Schema::Bounded(_, rules)
                if rules.saturating_mul(input.body.len() as u64) > WORK_MAX =>
            {
                Ok(())
            }
            Schema::Bounded(validator, _) => {
                let instance = serde_json::from_slice(&input.body)
                    .map_err(|error| format!("it is not valid JSON: {error}"))?;
                validator.validate(&instance).map_err(|error| {
                    let place = error.instance_path().to_string();
                    let place = if place.is_empty() {
                        "the whole"
                    } else {
                        &place
                    };
                    let why: String = error.to_string().chars().take(QUOTE_CHARS_MAX).collect();
                    format!("at {place}: {why}")
                })
            }
        }
    }

    /// Lets go of a module's schema.
    pub(crate) fn remove(&self, digest: Digest) {
        self.lock().pop(&digest);
    }

    fn ready(&self, digest: Digest, text: &str) -> Result<Arc<Schema>, String> {
        if let Some(schema) = self.lock().get(&digest) {
            return Ok(Arc::clone(schema));
        }
        let schema = Arc::new(prepare(text)?);
        self.lock().put(digest, Arc::clone(&schema));
        Ok(schema)
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Digest, Arc<Schema>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the schemas a module describes itself with are schemas at all.
pub(crate) fn check_descriptor(descriptor: &Descriptor) -> Result<(), String> {
    let schemas = [
        ("input", &descriptor.input_schema),
        ("output", &descriptor.output_schema),
    ];
    for (which, schema) in schemas {
        if let Some(text) = schema {
            prepare(text).map_err(|why| format!("describe(): the {which} schema {why}"))?;
        }
    }
    Ok(())
}

fn prepare(text: &str) -> Result<Schema, String> {
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!(
            "is {} bytes long, {SCHEMA_BYTES_MAX} are the most",
            text.len()
        ));
    }
    let schema: Value =
        serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))?;
    if let Err(error) = jsonschema::meta::validate(&schema) {
        let why: String = error.to_string().chars().take(QUOTE_CHARS_MAX).collect();
        return Err(format!(
            "is no JSON Schema: at {:?}: {why}",
            error.instance_path().to_string()
        ));
    }
    let Some(rules) = rules(&schema) else {
        return Ok(Schema::Unbounded);
    };
    let validator = jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(&schema)
        .map_err(|error| format!("cannot be applied: {error}"))?;
    Ok(Schema::Bounded(Box::new(validator), rules))
}

/// How many values the schema has once its references are followed; `None` if that is not bounded.
fn rules(schema: &Value) -> Option<u64> {
    let mut left = RULES_MAX;
    spend(schema, schema, &mut Vec::new(), &mut left)?;
    Some(RULES_MAX - left)
}

fn spend<'a>(
    root: &'a Value,
    value: &'a Value,
    followed: &mut Vec<&'a str>,
    left: &mut u64,
) -> Option<()> {
    *left = left.checked_sub(1)?;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| spend(root, item, followed, left)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(key, member)| match key.as_str() {
                // Counted where a reference leads there.
                "$defs" | "definitions" => Some(()),
                "$dynamicRef" | "$recursiveRef" | "$id" | "$anchor" | "$dynamicAnchor" => None,
                "$ref" => {
                    let pointer = member.as_str()?.strip_prefix('#')?;
                    if followed.len() >= FOLLOWED_MAX || followed.contains(&pointer) {
                        return None;
                    }
                    followed.push(pointer);
                    let spent = spend(root, root.pointer(pointer)?, followed, left);
                    followed.pop();
                    spent
                }
                _ => spend(root, member, followed, left),
            }),
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn check(schema: &str, content_type: &str, body: &str) -> Result<(), String> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let input = Payload {
            content_type: content_type.into(),
            body,
        };
        Schemas::default().check(Digest::from_bytes([1; 32]), schema, &input)
    }

    const SCHEMA: &str = r##"{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"width": {"$ref": "#/$defs/Size"}, "name": {"pattern": "^[a-z]+$"}},
        "required": ["width"],
        "$defs": {"Size": {"type": "integer", "minimum": 1}}
    }"##;

    #[test]
    fn an_input_is_checked_and_the_answer_names_the_place() {
        let json = "application/json; charset=utf-8";
        check(SCHEMA, json, r#"{"width": 3, "name": "abc"}"#).unwrap();
        let why = check(SCHEMA, json, r#"{"width": 0}"#).unwrap_err();
        assert!(why.starts_with("at /width: "), "{why}");
        assert!(check(SCHEMA, json, "{}").unwrap_err().contains("width"));
        assert!(
            check(SCHEMA, json, "{")
                .unwrap_err()
                .contains("not valid JSON")
        );
        check(SCHEMA, "text/plain", "{").unwrap();
    }

    #[test]
    fn a_schema_that_costs_without_bound_is_left_to_the_guest() {
        let recursive = r##"{"$ref": "#"}"##;
        let mut doubling = r##"{"$ref": "#/$defs/a0", "$defs": {"##.to_owned();
        for n in 0..40 {
            let next = n + 1;
            doubling.push_str(&format!(
                r##""a{n}": {{"allOf": [{{"$ref": "#/$defs/a{next}"}}, {{"$ref": "#/$defs/a{next}"}}]}},"##
            ));
        }
        doubling.push_str(r#""a40": {"type": "string"}}}"#);
        for schema in [
            recursive,
            &doubling,
            r#"{"$ref": "http://127.0.0.1/schema"}"#,
        ] {
            check(schema, "application/json", "1").unwrap();
        }
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let refused = |text: &str| {
            let descriptor = Descriptor {
                input_schema: Some(text.to_owned()),
                ..Default::default()
            };
            check_descriptor(&descriptor).unwrap_err()
        };
        assert!(refused("{").contains("input schema is not valid JSON"));
        assert!(refused(r#"{"type": "integr"}"#).contains("no JSON Schema"));
        assert!(refused(r#"{"pattern": "("}"#).contains("cannot be applied"));
        check_descriptor(&Descriptor::default()).unwrap();
    }
}
