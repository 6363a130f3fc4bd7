//! The meaning and the cost of schemas, and a comparison with another implementation.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::apply::{Fault, apply};
use super::budget::{Budget, Stopped};
use super::prepare::prepare;
use super::{Bounds, Misfit, Schemas, Text, Which};
use cofferdam_domain::module::{Descriptor, Digest};
use cofferdam_sandbox::threads::GuestThreads;

mod compared;
mod evaluated;
mod limits;

/// Whether a value fits, with an unlimited budget.
fn fits(schema: &Value, value: &Value) -> Result<(), String> {
    check(schema, value, u64::MAX).map_err(|fault| match fault {
        Fault::Unfit(unfit) => format!("{}: {}", unfit.place, unfit.why),
        Fault::Stopped(stopped) => panic!("{stopped:?}"),
    })
}

fn check(schema: &Value, value: &Value, steps: u64) -> Result<(), Fault> {
    let book = prepare(&schema.to_string(), &mut || true).expect("a schema");
    apply(&book, value, &mut Budget::new(steps, &mut || false))
}

fn refused(schema: &Value) -> String {
    prepare(&schema.to_string(), &mut || true).expect_err("it is refused")
}

#[test]
fn an_answer_names_place_and_rule() {
    let schema = json!({
        "type": "object",
        "properties": {
            "width": {"$ref": "#/$defs/Size"},
            "name": {"pattern": "^[a-z]+$"},
            "a/b": {"items": {"enum": ["x", 1]}},
        },
        "required": ["width"],
        "additionalProperties": false,
        "$defs": {"Size": {"type": "integer", "minimum": 1}},
    });
    let why = |value: Value| fits(&schema, &value).unwrap_err();
    assert_eq!(fits(&schema, &json!({"width": 3, "name": "abc"})), Ok(()));
    assert_eq!(why(json!({"width": 0})), "/width: must be at least 1");
    assert_eq!(why(json!({})), r#": "width" is required"#);
    assert_eq!(why(json!([])), ": must be an object, not an array");
    assert_eq!(why(json!({"width": 1, "x": 1})), "/x: must not be there");
    assert_eq!(
        why(json!({"width": 1, "name": "A"})),
        "/name: does not match the pattern"
    );
    assert_eq!(
        why(json!({"width": 1, "a/b": ["x", 2]})),
        r#"/a~1b/1: must be one of "x", 1"#
    );
    let nullable = json!({"anyOf": [{"type": "integer"}, {"type": "null"}]});
    assert_eq!(
        fits(&nullable, &json!("x")).unwrap_err(),
        ": fits none of 2 schemas: (1) it must be an integer, not a string; \
         (2) it must be null, not a string"
    );
}

#[test]
fn answers_are_short_whatever_the_input_is() {
    let long = "x".repeat(20_000);
    let schema = json!({
        "additionalProperties": {"enum": [long, long, long]},
        "propertyNames": {"anyOf": [{"const": long}, {"const": long}]},
    });
    for value in [json!({ &long: 1 }), json!({"a": long.clone()})] {
        let why = fits(&schema, &value).unwrap_err();
        assert!(why.len() < 1000, "{} bytes", why.len());
    }
}

#[test]
fn keywords_are_read_by_their_position() {
    let named = json!({
        "$id": "https://example.com/top",
        "type": "object",
        "properties": {
            "$ref": {"type": "integer"},
            "$id": {"type": "integer"},
            "$anchor": {"type": "integer"},
            "definitions": {"type": "integer"},
            "allOf": {"type": "integer"},
        },
    });
    for name in ["$ref", "$id", "$anchor", "definitions", "allOf"] {
        assert_eq!(fits(&named, &json!({ name: 1 })), Ok(()), "{name}");
        assert!(fits(&named, &json!({ name: "1" })).is_err(), "{name}");
    }
    let unread =
        json!({"const": {"$ref": "#/nowhere"}, "default": {"type": 7}, "x-own": {"$ref": 7}});
    assert_eq!(fits(&unread, &json!({"$ref": "#/nowhere"})), Ok(()));
}

#[test]
fn references_are_followed_within_the_document_and_nowhere_else() {
    let tree = json!({
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["children"],
    });
    assert_eq!(
        fits(&tree, &json!({"children": [{"children": []}]})),
        Ok(())
    );
    assert!(fits(&tree, &json!({"children": [{}]})).is_err());
    let parts = json!({
        "$id": "https://example.com/a/top",
        "allOf": [{"$ref": "b#/$defs/n"}, {"$ref": "#here"}, {"$ref": "/a/b"}],
        "$defs": {
            "b": {"$id": "b", "$defs": {"n": {"type": "integer"}}, "minimum": 1},
            "h": {"$anchor": "here", "maximum": 3},
        },
    });
    assert_eq!(fits(&parts, &json!(2)), Ok(()));
    for other in [json!(0), json!(4), json!("2")] {
        assert!(fits(&parts, &other).is_err(), "{other}");
    }
    assert!(refused(&json!({"$ref": "http://127.0.0.1/schema"})).contains("fetches nothing"));
    assert!(refused(&json!({"$ref": "#/$defs/x"})).contains("leads nowhere"));
    assert!(refused(&json!({"items": {"$ref": "#a"}})).contains("/items"));
    for endless in [
        json!({"$ref": "#"}),
        json!({"anyOf": [{"type": "null"}, {"not": {"$ref": "#"}}]}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}),
    ] {
        assert!(refused(&endless).contains("back to itself"), "{endless}");
    }
}

#[test]
fn an_invalid_schema_is_refused_with_the_place() {
    let deep = json!({"properties": {"a": {"anyOf": [true, {"type": "integr"}]}}});
    let why = refused(&deep);
    assert!(
        why.contains("/properties/a/anyOf/1") && why.contains("integer"),
        "{why}"
    );
    assert!(refused(&json!({"pattern": "("})).contains("pattern"));
    assert!(refused(&json!({"$schema": "https://example.com/own"})).contains("2020-12"));
    for bad in [
        json!(7),
        json!({"required": "a"}),
        json!({"minLength": -1}),
        json!({"maxItems": 1.5}),
        json!({"properties": []}),
        json!({"allOf": {}}),
        json!({"uniqueItems": 1}),
        json!({"multipleOf": 0}),
        json!({"items": [true]}),
        json!({"$defs": {"a": 7}}),
        json!({"exclusiveMinimum": true}),
        json!({"patternProperties": {"(?=a)": true}}),
        json!({"enum": 1}),
        json!({"$id": 1}),
    ] {
        refused(&bad);
    }
    assert_eq!(fits(&json!({"maxItems": 2.0}), &json!([1, 2])), Ok(()));
    assert!(
        prepare("{", &mut || true)
            .unwrap_err()
            .contains("not valid JSON")
    );
}

#[test]
fn reading_a_schema_is_bounded() {
    let many: Vec<Value> = vec![json!({"type": "null"}); 10_001];
    assert!(refused(&json!({ "anyOf": many })).contains("10000"));
    assert!(refused(&json!({"description": "x".repeat(300_000)})).contains("are allowed"));
    let patterns = |of: &dyn Fn(usize) -> String, count: usize| {
        let named = (0..count).map(|n| (of(n), json!(true)));
        json!({"patternProperties": named.collect::<serde_json::Map<_, _>>()})
    };
    assert!(refused(&patterns(&|n| format!("a{n}"), 300)).contains("256 patterns"));
    let large = refused(&patterns(&|n| format!("{n}(a{{250}}){{600}}"), 300));
    assert!(large.contains("automaton"), "{large}");
    let in_sum = refused(&patterns(&|n| format!("{n}[ab]{{10000}}"), 200));
    assert!(in_sum.contains("automaton"), "{in_sum}");
    let text = json!({"pattern": "a"}).to_string();
    assert!(
        prepare(&text, &mut || false)
            .unwrap_err()
            .contains("too long")
    );
}

/// Schemas that double at each of 40 levels, each in a different way.
fn doubling() -> Vec<Value> {
    let nested = |word: &str| {
        let mut levels = serde_json::Map::new();
        for n in 0..40 {
            let next = json!({"$ref": format!("#/properties/definitions/a{}", n + 1)});
            levels.insert(format!("a{n}"), json!({ word: [next, next] }));
        }
        levels.insert("a40".to_owned(), json!(word == "allOf"));
        json!({
            "allOf": [{"$ref": "#/properties/definitions/a0"}],
            "properties": {"definitions": levels, },
        })
    };
    let mut all = vec![nested("allOf"), nested("anyOf"), nested("oneOf")];
    let mut levels = serde_json::Map::new();
    for n in 0..40 {
        let next = format!("#/$defs/a{}", n + 1);
        let twice = json!({
            "if": {"$ref": next}, "then": {"$ref": next}, "else": {"$ref": next},
            "unevaluatedProperties": true,
        });
        levels.insert(format!("a{n}"), twice);
    }
    levels.insert("a40".to_owned(), json!({}));
    all.push(json!({"$ref": "#/$defs/a0", "$defs": levels}));
    all.push(json!({
        "$dynamicAnchor": "node",
        "properties": {"a": {"allOf": [{"$dynamicRef": "#node"}, {"$dynamicRef": "#node"}]}},
    }));
    all
}

#[test]
fn a_check_ends_with_its_budget() {
    let mut nested = json!({});
    for _ in 0..60 {
        nested = json!({ "a": nested });
    }
    for schema in doubling() {
        let ended = check(&schema, &nested, 200_000);
        assert_eq!(ended, Err(Fault::Stopped(Stopped::Spent)), "{schema}");
    }
    let many: Vec<Value> = (0..20_000).map(Value::from).collect();
    let costly = [
        json!({"items": {"not": {"enum": many}}}),
        json!({"contains": {"enum": many}, "minContains": 30_000}),
        json!({"items": {"pattern": "^[01]*1[01]{3000}$"}}),
    ];
    let values = [
        json!(
            many.iter()
                .map(|n| json!(n.as_i64().unwrap() + 50_000))
                .collect::<Vec<_>>()
        ),
        json!(many),
        json!(["01".repeat(100_000)]),
    ];
    for (schema, value) in costly.iter().zip(&values) {
        let ended = check(schema, value, 200_000);
        assert_eq!(ended, Err(Fault::Stopped(Stopped::Spent)));
    }
}

#[test]
fn nesting_stops_before_the_stack_does() {
    let schema = json!({"items": {"allOf": [{"anyOf": [{"oneOf": [{"$ref": "#"}]}]}]}});
    let mut value = json!(1);
    for _ in 0..120 {
        value = json!([value]);
    }
    assert_eq!(
        check(&schema, &value, u64::MAX),
        Err(Fault::Stopped(Stopped::TooDeep))
    );
}

#[test]
fn older_versions_keep_their_meaning() {
    let draft = |number: u32, mut schema: Value| {
        schema["$schema"] = json!(format!("http://json-schema.org/draft-0{number}/schema#"));
        schema
    };
    let exclusive = draft(4, json!({"minimum": 1, "exclusiveMinimum": true}));
    assert!(fits(&exclusive, &json!(1)).is_err() && fits(&exclusive, &json!(2)).is_ok());
    assert!(fits(&draft(4, json!({"type": "integer"})), &json!(1.0)).is_err());
    assert!(fits(&draft(4, json!({"type": "integer"})), &json!(1)).is_ok());
    assert!(fits(&draft(6, json!({"type": "integer"})), &json!(1.0)).is_ok());
    let newer = json!({"const": 1, "contains": false, "propertyNames": false});
    for value in [json!(2), json!([1]), json!({"a": 1})] {
        assert_eq!(fits(&draft(4, newer.clone()), &value), Ok(()));
        assert!(fits(&draft(6, newer.clone()), &value).is_err());
    }
    let list = draft(7, json!({"items": [true], "additionalItems": false}));
    assert!(fits(&list, &json!([1])).is_ok() && fits(&list, &json!([1, 2])).is_err());
    let alone = draft(
        7,
        json!({"$ref": "#/definitions/a", "type": "null", "definitions": {"a": {"type": "integer"}}}),
    );
    assert!(fits(&alone, &json!(1)).is_ok());
    let anchored = json!({"$id": "#here", "type": "integer"});
    let named = json!({"allOf": [{"$ref": "#here"}], "definitions": {"h": anchored}});
    assert!(fits(&draft(7, named.clone()), &json!(1)).is_ok());
    assert!(fits(&draft(7, named), &json!("1")).is_err());
    let with = draft(
        7,
        json!({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}),
    );
    assert!(fits(&with, &json!({"a": 1})).is_err() && fits(&with, &json!({"c": 1})).is_err());
    assert!(fits(&with, &json!({"a": 1, "b": 1})).is_ok());
}

/// Checks texts as a host does, with a deadline of `timeout`.
async fn hold(timeout: Duration, schema: &Value, text: &str) -> Result<(), Misfit> {
    let threads = GuestThreads::start(1).unwrap();
    let schemas = Schemas::new(threads.handle(), 1, bounds(timeout));
    let digest = Digest::from_bytes([1; 32]);
    let (schema, text) = (schema.to_string(), Bytes::copy_from_slice(text.as_bytes()));
    let check = || schemas.check(digest, Which::Input, &schema, Text::Memory(text.clone()));
    let first = check().await;
    // Once the schema is ready, what is cheap is done at once; it comes to the same.
    let again = check().await;
    assert_eq!(first, again);
    threads.stop();
    first
}

fn bounds(timeout: Duration) -> Bounds {
    Bounds {
        timeout,
        memory_bytes: 1 << 30,
    }
}

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_missing_input_is_null_and_invalid_json_is_refused() {
    let number = json!({"type": "number"});
    assert_eq!(hold(PATIENT, &number, "7").await, Ok(()));
    let Err(Misfit::Unfit(empty)) = hold(PATIENT, &number, "").await else {
        panic!("it is refused");
    };
    assert!(empty.contains("empty"), "{empty}");
    assert_eq!(hold(PATIENT, &json!({}), "").await, Ok(()));
    let text = hold(PATIENT, &number, "seven").await;
    assert!(matches!(text, Err(Misfit::NotJson(why)) if why.contains("line 1")));
    let long = format!("[{}]", vec!["1"; 10_000].join(","));
    assert_eq!(
        hold(PATIENT, &json!({"items": number}), &long).await,
        Ok(())
    );
    let refused = hold(PATIENT, &json!({"type": 7}), "7").await;
    assert!(matches!(refused, Err(Misfit::Schema(_))));
}

#[tokio::test]
async fn a_check_that_takes_too_long_is_given_up() {
    let short = Duration::from_millis(50);
    for schema in doubling().into_iter().take(4) {
        assert_eq!(hold(short, &schema, "{}").await, Err(Misfit::Costly(short)));
    }
}

#[tokio::test]
async fn a_description_is_refused_by_the_name_of_what_is_wrong() {
    let threads = GuestThreads::start(1).unwrap();
    let schemas = Schemas::new(threads.handle(), 1, bounds(PATIENT));
    let descriptor = Descriptor {
        output_schema: Some(r#"{"type": 7}"#.to_owned()),
        ..Default::default()
    };
    let refused = |said_by| schemas.check_descriptor(&descriptor, said_by);
    let component = refused(super::said_by_component).await.unwrap_err();
    assert!(
        component.starts_with("describe(): the output schema"),
        "{component}"
    );
    let script = refused(super::said_by_script).await.unwrap_err();
    assert!(
        script.starts_with("OUTPUT_SCHEMA: type must be"),
        "{script}"
    );
    let nothing = Descriptor::default();
    let accepted = schemas
        .check_descriptor(&nothing, super::said_by_script)
        .await;
    assert_eq!(accepted, Ok(()));
    threads.stop();
}
