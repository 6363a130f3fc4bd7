//! What counts as evaluated, for `unevaluatedItems` and `unevaluatedProperties`, and in which version.

use serde_json::{Value, json};

use super::{fits, refused};

#[test]
fn what_any_fitting_schema_looks_at_is_evaluated() {
    let schema = json!({
        "anyOf": [
            {"properties": {"a": true}},
            {"properties": {"b": true}},
            {"properties": {"c": true}, "required": ["c"]},
        ],
        "unevaluatedProperties": false,
    });
    assert_eq!(fits(&schema, &json!({"a": 1, "b": 2})), Ok(()));
    let other = fits(&schema, &json!({"a": 1, "d": 2})).unwrap_err();
    assert_eq!(other, "/d: must not be there");
}

#[test]
fn items_are_evaluated_one_by_one() {
    let unevaluated = |schema: Value| {
        let mut schema = json!({ "anyOf": [schema] });
        schema["unevaluatedItems"] = json!(false);
        move |value: Value| fits(&schema, &value).err()
    };
    let there = |number: u32| Some(format!("/{number}: must not be there"));
    let first = unevaluated(json!({"prefixItems": [true, true]}));
    assert_eq!(first(json!([1, 2])), None);
    assert_eq!(first(json!([1, 2, 3])), there(2));
    let rest = unevaluated(json!({"items": true}));
    assert_eq!(rest(json!([1, 2, 3])), None);
    // What is contained is evaluated where it is, and what comes first is so as well.
    let both = unevaluated(json!({"prefixItems": [true], "contains": {"type": "null"}}));
    assert_eq!(both(json!([1, null, null])), None);
    assert_eq!(both(json!([1, null, 2])), there(2));
    let nested = unevaluated(json!({"unevaluatedItems": {"type": "integer"}}));
    assert_eq!(nested(json!([1, 2])), None);
}

#[test]
fn what_is_contained_is_evaluated_since_2020() {
    let schema = |version: &str| {
        json!({
            "$schema": format!("https://json-schema.org/draft/{version}/schema"),
            "contains": {"type": "null"},
            "unevaluatedItems": false,
        })
    };
    assert_eq!(fits(&schema("2020-12"), &json!([null, null])), Ok(()));
    let before = fits(&schema("2019-09"), &json!([null, null]));
    assert_eq!(before, Err("/0: must not be there".to_owned()));
}

#[test]
fn what_evaluates_begins_with_2019() {
    for (version, fitting) in [("draft-07", true), ("draft/2019-09", false)] {
        let schema = |word: &str, rule: Value| json!({"$schema": format!("https://json-schema.org/{version}/schema"), word: rule});
        for (word, value) in [
            ("unevaluatedItems", json!([1])),
            ("unevaluatedProperties", json!({"a": 1})),
        ] {
            let schema = schema(word, json!(false));
            assert_eq!(fits(&schema, &value).is_ok(), fitting, "{schema}");
        }
        let with = schema("dependentRequired", json!({"a": ["b"]}));
        assert_eq!(fits(&with, &json!({"a": 1})).is_ok(), fitting);
        let with = schema("dependentSchemas", json!({"a": false}));
        assert_eq!(fits(&with, &json!({"a": 1})).is_ok(), fitting);
        let none = json!({"$schema": schema("x", json!(0))["$schema"], "contains": true, "minContains": 0});
        assert_eq!(fits(&none, &json!([])).is_ok(), !fitting);
    }
}

#[test]
fn a_dynamic_reference_and_a_named_part_do_not_go_together() {
    let part = json!({"$id": "https://example.com/part"});
    let anchor = json!({"$dynamicAnchor": "node"});
    let both = json!({"$dynamicRef": "#node", "$defs": {"part": part, "node": anchor}});
    assert!(refused(&both).contains("not support together"));
    let dynamic = json!({"$dynamicRef": "#node", "$defs": {"node": anchor}});
    assert_eq!(fits(&dynamic, &json!(1)), Ok(()));
}
