//! Compares the host's implementation of JSON Schema with another one, on random schemas and
//! values.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Budget, apply, prepare};
use crate::registry::schema::apply::Fault;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..6).prop_map(Value::from),
        (-2_i32..5).prop_map(|n| json!(f64::from(n) / 2.0)),
        "[ab]{0,3}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[abc$]", inner), 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Keywords that do not depend on other schemas, a few of them together.
fn plain_word() -> impl Strategy<Value = (&'static str, Value)> {
    let types = prop_oneof![
        Just(json!("object")),
        Just(json!("array")),
        Just(json!("integer")),
        Just(json!("number")),
        Just(json!("string")),
        Just(json!(["null", "boolean"])),
        Just(json!(["string", "integer", "object"])),
    ];
    let count = || (0_u64..4).prop_map(Value::from);
    let number = || prop_oneof![(-3_i64..4).prop_map(Value::from), Just(json!(1.5))];
    prop_oneof![
        types.prop_map(|types| ("type", types)),
        vec(scalar(), 1..4).prop_map(|values| ("enum", values.into())),
        value().prop_map(|value| ("const", value)),
        number().prop_map(|n| ("minimum", n)),
        number().prop_map(|n| ("exclusiveMinimum", n)),
        number().prop_map(|n| ("maximum", n)),
        number().prop_map(|n| ("exclusiveMaximum", n)),
        prop_oneof![Just(json!(2)), Just(json!(0.5))].prop_map(|n| ("multipleOf", n)),
        count().prop_map(|n| ("minLength", n)),
        count().prop_map(|n| ("maxLength", n)),
        prop_oneof!["\\^?[ab]{1,2}\\$?", Just("^(a|b\\d)*$".to_owned())]
            .prop_map(|pattern| ("pattern", pattern.into())),
        count().prop_map(|n| ("minItems", n)),
        count().prop_map(|n| ("maxItems", n)),
        any::<bool>().prop_map(|flag| ("uniqueItems", flag.into())),
        count().prop_map(|n| ("minContains", n)),
        count().prop_map(|n| ("maxContains", n)),
        count().prop_map(|n| ("minProperties", n)),
        count().prop_map(|n| ("maxProperties", n)),
        vec("[abc$]", 0..3).prop_map(|names| ("required", {
            let names: std::collections::BTreeSet<String> = names.into_iter().collect();
            json!(names)
        })),
        Just(("dependentRequired", json!({"a": ["b"]}))),
        Just(("$ref", json!("#/$defs/leaf"))),
        // Keywords that have a meaning only in other places.
        Just(("title", json!("allOf"))),
        Just(("default", json!({"$ref": "#/nowhere", "type": 7}))),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => vec(plain_word(), 0..3).prop_map(object),
        1 => any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let map = |names: &'static str| {
            vec((names, inner.clone()), 0..3)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>()))
        };
        let list = || vec(inner.clone(), 1..3).prop_map(Value::from);
        let applying = prop_oneof![
            list().prop_map(|all| ("allOf", all)),
            list().prop_map(|any| ("anyOf", any)),
            list().prop_map(|one| ("oneOf", one)),
            inner.clone().prop_map(|not| ("not", not)),
            inner.clone().prop_map(|test| ("if", test)),
            inner.clone().prop_map(|then| ("then", then)),
            inner.clone().prop_map(|other| ("else", other)),
            map("[abc$]").prop_map(|named| ("properties", named)),
            // Names that are keywords elsewhere.
            inner
                .clone()
                .prop_map(|s| ("properties", json!({"$ref": s, "allOf": s, "$id": s}))),
            map("\\^?[ab]").prop_map(|named| ("patternProperties", named)),
            inner
                .clone()
                .prop_map(|rest| ("additionalProperties", rest)),
            inner.clone().prop_map(|names| ("propertyNames", names)),
            map("[abc]").prop_map(|with| ("dependentSchemas", with)),
            list().prop_map(|first| ("prefixItems", first)),
            inner.clone().prop_map(|rest| ("items", rest)),
            inner.clone().prop_map(|one| ("contains", one)),
            inner.clone().prop_map(|rest| ("unevaluatedItems", rest)),
            inner
                .clone()
                .prop_map(|rest| ("unevaluatedProperties", rest)),
        ];
        (vec(applying, 0..4), vec(plain_word(), 0..2))
            .prop_map(|(applying, plain)| object(applying.into_iter().chain(plain).collect()))
    })
}

fn object(words: Vec<(&'static str, Value)>) -> Value {
    let words = words
        .into_iter()
        .map(|(word, value)| (word.to_owned(), value));
    words.collect::<Map<_, _>>().into()
}

/// A document in which the references of [`plain_word`] have targets.
fn document() -> impl Strategy<Value = Value> {
    (schema(), vec(plain_word(), 0..2)).prop_map(|(schema, leaf)| {
        let leaf = leaf.into_iter().filter(|(word, _)| *word != "$ref");
        json!({"allOf": [schema], "$defs": {"leaf": object(leaf.collect())}})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn two_readings_agree(schema in document(), values in vec(value(), 1..6)) {
        let theirs = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&schema);
        let ours = prepare(&schema.to_string(), &mut || true);
        let (Ok(theirs), Ok(ours)) = (&theirs, &ours) else {
            // Both accept it, or neither does.
            prop_assert!(theirs.is_err() && ours.is_err(), "{schema}: {ours:?}");
            return Ok(());
        };
        for value in values {
            let held = apply(ours, &value, &mut Budget::new(u64::MAX, &mut || false));
            prop_assert!(!matches!(held, Err(Fault::Stopped(_))));
            prop_assert_eq!(held.is_ok(), theirs.is_valid(&value), "{} {}", schema, value);
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", pattern in "\\PC{0,12}") {
        let _ = prepare(&text, &mut || true);
        let _ = prepare(&json!({"pattern": pattern}).to_string(), &mut || true);
    }
}
