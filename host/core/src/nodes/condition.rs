//! Conditions of nodes (`when`): one value against others, without a language.
//!
//! `{"$from": "a", "pointer": "/n", "gt": 3}`. All comparisons of one condition must hold. A value that is not there
//! is no mistake: it does not exist, it is not equal to anything, and it is neither greater nor less.

use std::cmp::Ordering;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::template::{BadTemplate, Reference, Template};

/// The longest condition, in bytes.
pub const CONDITION_BYTES_MAX: usize = 16 * 1024;
/// The members that say which value it is about.
const SOURCES: [&str; 5] = ["$from", "$input", "$error", "$item", "$index"];

/// A condition.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The value that is looked at.
    pub of: Reference,
    tests: Vec<Test>,
}

#[derive(Clone, Debug)]
enum Test {
    Equals(Value),
    Not(Value),
    Exists(bool),
    In(Vec<Value>),
    /// Greater or less than a number or a text.
    Ordered(Value, fn(Ordering) -> bool),
}

/// Why a condition cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCondition {
    /// It is not an object that can be read.
    #[error("{0}")]
    NotAnObject(String),
    /// It names no value.
    #[error("it names no value: $from, $input or $error is missing")]
    OfNothing,
    /// It compares nothing.
    #[error("it compares nothing: equals, not, exists, in, gt, gte, lt or lte is missing")]
    Empty,
    /// It has a member that is unknown, or that makes no sense.
    #[error("{0}: {1}")]
    Member(String, &'static str),
    /// The value that it names cannot be read.
    #[error(transparent)]
    Reference(#[from] BadTemplate),
}

impl Condition {
    /// Reads a condition.
    pub fn read(text: &RawValue) -> Result<Condition, BadCondition> {
        let text = text.get();
        if text.len() > CONDITION_BYTES_MAX {
            let why = format!("it has more than {CONDITION_BYTES_MAX} bytes");
            return Err(BadCondition::NotAnObject(why));
        }
        let members: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| BadCondition::NotAnObject(error.to_string()))?;
        let (mut of, mut tests) = (Map::new(), Vec::new());
        for (name, value) in members {
            if name == "pointer" || SOURCES.contains(&name.as_str()) {
                of.insert(name, value);
            } else {
                tests.push(test(name, value)?);
            }
        }
        match tests.is_empty() {
            true => Err(BadCondition::Empty),
            false => Ok(Condition {
                of: reference(of)?,
                tests,
            }),
        }
    }

    /// Whether it holds for the value, if there is one. Fails where the value nests too deep to be compared.
    pub fn holds(&self, value: Option<&RawValue>) -> Result<bool, serde_json::Error> {
        let value: Option<Value> = value
            .map(|value| serde_json::from_str(value.get()))
            .transpose()?;
        Ok(self.tests.iter().all(|test| test.holds(value.as_ref())))
    }
}

/// The value that members name: the same words as in an input.
pub(super) fn reference(members: Map<String, Value>) -> Result<Reference, BadCondition> {
    let text = Bytes::from(Value::Object(members).to_string());
    let template = Template::read(&text)?;
    template.only().cloned().ok_or(BadCondition::OfNothing)
}

fn test(name: String, value: Value) -> Result<Test, BadCondition> {
    let ordered = |value: Value, is: fn(Ordering) -> bool| match value {
        Value::Number(_) | Value::String(_) => Ok(Test::Ordered(value, is)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err("neither a number nor a text")
        }
    };
    let read = match (name.as_str(), value) {
        ("equals", value) => Ok(Test::Equals(value)),
        ("not", value) => Ok(Test::Not(value)),
        ("exists", Value::Bool(wanted)) => Ok(Test::Exists(wanted)),
        ("exists", _) => Err("neither true nor false"),
        ("in", Value::Array(values)) => Ok(Test::In(values)),
        ("in", _) => Err("not a list"),
        ("gt", value) => ordered(value, Ordering::is_gt),
        ("gte", value) => ordered(value, Ordering::is_ge),
        ("lt", value) => ordered(value, Ordering::is_lt),
        ("lte", value) => ordered(value, Ordering::is_le),
        (_, _) => Err("not one of equals, not, exists, in, gt, gte, lt, lte"),
    };
    read.map_err(|why| BadCondition::Member(name, why))
}

impl Test {
    fn holds(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Test::Exists(wanted), value) => value.is_some() == *wanted,
            (Test::Not(other), value) => value.is_none_or(|value| !equal(value, other)),
            (Test::Equals(other), Some(value)) => equal(value, other),
            (Test::In(others), Some(value)) => others.iter().any(|other| equal(value, other)),
            (Test::Ordered(other, is), Some(value)) => compare(value, other).is_some_and(is),
            (Test::Equals(_) | Test::In(_) | Test::Ordered(..), None) => false,
        }
    }
}

/// Equality by value: 1 and 1.0 are one number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), Value::Number(_)) => compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|other| equal(value, other))
            };
            one.len() == other.len() && one.iter().all(same)
        }
        (one, other) => one == other,
    }
}

/// The order of two numbers or two texts.
fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => {
            let whole = |number: &serde_json::Number| {
                let small = number.as_i64().map(i128::from);
                small.or_else(|| number.as_u64().map(i128::from))
            };
            match (whole(one), whole(other)) {
                (Some(one), Some(other)) => Some(one.cmp(&other)),
                (_, _) => one.as_f64()?.partial_cmp(&other.as_f64()?),
            }
        }
        (_, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nodes::template::Source;

    fn read(condition: &Value) -> Result<Condition, BadCondition> {
        Condition::read(&serde_json::value::to_raw_value(condition).unwrap())
    }

    fn holds(tests: Value, value: Option<Value>) -> bool {
        let mut condition = tests;
        condition["$from"] = json!("a");
        let value = value.map(|value| serde_json::value::to_raw_value(&value).unwrap());
        read(&condition).unwrap().holds(value.as_deref()).unwrap()
    }

    #[test]
    fn values_are_compared_by_what_they_are() {
        let some = |value: Value| Some(value);
        for (tests, value, expected) in [
            (json!({"equals": 1}), some(json!(1.0)), true),
            (json!({"equals": "1"}), some(json!(1)), false),
            (
                json!({"equals": {"a": [1], "b": 2}}),
                some(json!({"b": 2, "a": [1.0]})),
                true,
            ),
            (json!({"equals": [1]}), some(json!([1, 2])), false),
            (json!({"equals": null}), some(Value::Null), true),
            (json!({"equals": null}), None, false),
            (json!({"not": 1}), some(json!(2)), true),
            (json!({"not": 1}), some(json!(1)), false),
            (json!({"not": 1}), None, true),
            (json!({"exists": true}), some(Value::Null), true),
            (json!({"exists": true}), None, false),
            (json!({"exists": false}), None, true),
            (json!({"in": ["a", "b"]}), some(json!("b")), true),
            (json!({"in": ["a", "b"]}), some(json!("c")), false),
            (json!({"gt": 3}), some(json!(3.5)), true),
            (json!({"gt": 3}), some(json!(3)), false),
            (json!({"gte": 3}), some(json!(3)), true),
            (json!({"lt": 3}), some(json!("2")), false),
            (json!({"lt": "b"}), some(json!("a")), true),
            (json!({"lte": u64::MAX}), some(json!(u64::MAX)), true),
            (json!({"lt": u64::MAX}), some(json!(u64::MAX - 1)), true),
            (json!({"lt": 3}), None, false),
            (json!({"gt": 1, "lt": 3}), some(json!(2)), true),
            (json!({"gt": 1, "lt": 3}), some(json!(3)), false),
        ] {
            assert_eq!(
                holds(tests.clone(), value.clone()),
                expected,
                "{tests} {value:?}"
            );
        }
    }

    #[test]
    fn a_condition_names_a_value_and_compares_it() {
        let condition =
            read(&json!({"$error": "a", "pointer": "/kind", "equals": "trap"})).unwrap();
        assert_eq!(condition.of.source.node().unwrap().as_str(), "a");
        assert_eq!(condition.of.pointer.to_string(), "/kind");
        let input = read(&json!({"$input": "/go", "equals": true})).unwrap();
        assert_eq!(
            (&input.of.source, input.of.pointer.to_string()),
            (&Source::Input, "/go".to_owned())
        );
        let refused = |condition: Value| read(&condition).unwrap_err().to_string();
        assert!(refused(json!({"equals": 1})).contains("names no value"));
        assert!(refused(json!({"$from": "a"})).contains("compares nothing"));
        assert!(refused(json!({"$from": "a", "equal": 1})).contains("equal: "));
        assert!(refused(json!({"$from": "a", "exists": 1})).contains("exists: "));
        assert!(refused(json!({"$from": "a", "in": 1})).contains("in: "));
        assert!(refused(json!({"$from": "a", "gt": []})).contains("gt: "));
        assert!(refused(json!({"$from": "a", "$error": "b", "gt": 1})).contains("$"));
        assert!(refused(json!({"$from": "a", "pointer": "x", "gt": 1})).contains("\"x\""));
        assert!(refused(json!([])).contains("map"));
        // What it compares is named by its own members.
        let inside = json!({"pointer": {"$from": "a"}, "equals": 1});
        assert!(refused(inside).contains("names no value"));
        assert!(
            refused(json!({"$from": "a", "equals": "x".repeat(CONDITION_BYTES_MAX)}))
                .contains("bytes")
        );
    }
}
