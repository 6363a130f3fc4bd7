//! Schemas and values that nobody meant: reading and checking end, what is answered is short, and a
//! verdict is that of another implementation, and that of the same schema inside of another one.
//!
//! Compiled for tests and for fuzzing only; `fuzz/` says how it is used. The schemas that are made by
//! their grammar, with patterns and references, are those of `tests/compared.rs`; here is what
//! no grammar makes.

use serde_json::{Map, Value, json};

use super::apply::{Fault, apply};
use super::budget::Budget;
use super::prepare::prepare;

/// The longest schema that is compared; another implementation need not bound what it spends.
const COMPARED_BYTES_MAX: usize = 2048;
/// How often a reading or a check may ask whether it goes on.
const GRANTS_MAX: u32 = 20;
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 4096;

/// Words that the two read differently on purpose, or that the other one looks up elsewhere.
const NOT_COMPARED: [&str; 17] = [
    "$schema",
    "$id",
    "id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
    "additionalItems",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "format",
    "pattern",
    "patternProperties",
];

/// Whether a value fits a schema, as another implementation says; none if it refuses the schema.
pub type Opinion = fn(&Value, &Value) -> Option<bool>;

/// Holds the value of the last line against the schema of those before it.
///
/// # Panics
///
/// Where an answer is long, or is not the one that another reading gives.
pub fn schema(bytes: &[u8], opinion: Opinion) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (text, value) = text.rsplit_once('\n').unwrap_or((text, "null"));
    let Some(fits) = verdict(text, value) else {
        return;
    };
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("it was read before");
    let (schema, value) = (read(text), read(value));
    if text.len() > COMPARED_BYTES_MAX {
        return;
    }
    if is_compared(&schema)
        && is_compared(&value)
        && let Some(theirs) = opinion(&schema, &value)
    {
        assert_eq!(fits, theirs, "another implementation differs");
    }
    let (schema, value) = (wrapped(schema), json!({ "input": value }));
    let inside = verdict(&schema.to_string(), &value.to_string());
    assert!(
        inside.is_none_or(|inside| inside == fits),
        "inside of another schema it means something else: {schema}"
    );
}

/// Whether the value fits; none if one of them is refused, or checking takes too long.
fn verdict(text: &str, value: &str) -> Option<bool> {
    let mut grants = 0;
    let mut more = || {
        grants += 1;
        grants <= GRANTS_MAX
    };
    let book = match prepare(text, &mut more) {
        Ok(book) => book,
        Err(why) => {
            assert!(why.len() <= ANSWER_BYTES_MAX, "a long answer: {why}");
            return None;
        }
    };
    let value: Value = serde_json::from_str(value).ok()?;
    match apply(&book, &value, &mut Budget::new(0, &mut more)) {
        Ok(()) => Some(true),
        Err(Fault::Unfit(unfit)) => {
            let long = unfit.place.len() + unfit.why.len() > ANSWER_BYTES_MAX;
            assert!(!long, "a long answer: {unfit:?}");
            Some(false)
        }
        Err(Fault::Stopped(_)) => None,
    }
}

/// Whether there is nothing in it that is not compared: words, and numbers that are rounded.
fn is_compared(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        Value::Number(number) => number
            .as_f64()
            .is_some_and(|number| (number * 4.0).fract() == 0.0 && number.abs() < 1e12),
        Value::Array(items) => items.iter().all(is_compared),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| !NOT_COMPARED.contains(&name.as_str()) && is_compared(value)),
    }
}

/// The schema of an object with the one member `input`, as tools have it.
fn wrapped(mut schema: Value) -> Value {
    let mut outer = Map::new();
    super::rebase(&mut schema, "/properties/input");
    if let Value::Object(inner) = &mut schema
        && let Some(dialect) = inner.remove("$schema")
    {
        outer.insert("$schema".to_owned(), dialect);
    }
    outer.insert("properties".to_owned(), json!({ "input": schema }));
    Value::Object(outer)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_schema_and_value_is_read_as_others_read_it() {
        cofferdam_fuzz::short_run("schema", 20_000, |bytes| {
            super::schema(bytes, |schema, value| {
                let theirs = jsonschema::draft202012::options().build(schema);
                Some(theirs.ok()?.is_valid(value))
            });
        });
    }
}
