//! What is refused because it can never fit, and what is not.

use serde_json::{Value, json};

use super::super::prepare::prepare;
use super::*;

fn book(schema: &Value) -> Rulebook {
    prepare(&schema.to_string(), &mut || true).unwrap()
}

fn parts(pointer: &str) -> Vec<String> {
    let parts = pointer.split('/').skip(1);
    parts
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn steps(place: &str) -> Vec<Step> {
    let step = |part: String| match part.parse() {
        Ok(number) => Step::Item(number),
        Err(_) => Step::Member(part),
    };
    parts(place).into_iter().map(step).collect()
}

fn why(gives: &Value, pointer: &str, takes: &Value, place: &str) -> Option<String> {
    let (gives, takes) = (book(gives), book(takes));
    let passed = Passed {
        pointer: &parts(pointer),
        is_list: false,
    };
    refusal(&gives, passed, Takes::Input(&takes, &steps(place)))
}

/// An object of `n`, an integer, and `t`, a text; nothing else.
fn closed() -> Value {
    json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}, "t": {"type": "string"}},
        "additionalProperties": false,
    })
}

fn of_x(schema: Value) -> Value {
    json!({"type": "object", "properties": {"x": schema}})
}

#[test]
fn types_that_exclude_each_other_never_fit() {
    let text = of_x(json!({"type": "string"}));
    let told = why(&closed(), "/n", &text, "/x").unwrap();
    assert_eq!(told, "it is an integer, and /x takes a string");
    assert_eq!(why(&closed(), "/t", &text, "/x"), None);
    for (takes, fits) in [
        (json!({"type": ["string", "number"]}), true),
        (json!({"enum": ["a", 1]}), true),
        (json!({"enum": ["a", null]}), false),
        (json!({"const": {}}), false),
        (
            json!({"anyOf": [{"type": "null"}, {"type": "integer"}]}),
            true,
        ),
        (
            json!({"oneOf": [{"type": "null"}, {"type": "array"}]}),
            false,
        ),
        (
            json!({"allOf": [{"type": ["null", "integer"]}, {"type": ["null", "string"]}]}),
            false,
        ),
        (json!({"not": {"type": "integer"}}), true),
        (json!({"minimum": 7}), true),
        (json!(true), true),
        (json!(false), false),
    ] {
        let found = why(&closed(), "/n", &of_x(takes.clone()), "/x");
        assert_eq!(found.is_none(), fits, "{takes}: {found:?}");
    }
    let refers = json!({
        "properties": {"t": {"$ref": "#/$defs/text"}}, "$defs": {"text": {"type": "string"}},
    });
    assert_eq!(why(&refers, "/t", &text, "/x"), None);
    assert!(why(&refers, "/t", &of_x(json!({"type": "integer"})), "/x").is_some());
    // A number may be whole.
    let number = of_x(json!({"type": "number"}));
    assert_eq!(
        why(&number, "/x", &of_x(json!({"type": "integer"})), "/x"),
        None
    );
}

#[test]
fn what_is_never_there_never_fits() {
    let any = json!({});
    let told = why(&closed(), "/other", &any, "/x").unwrap();
    assert_eq!(told, "it never has anything at /other");
    let told = why(&closed(), "/a~1b~0c", &any, "/x").unwrap();
    assert_eq!(told, "it never has anything at /a~1b~0c");
    assert!(why(&closed(), "/n/m", &any, "/x").is_some());
    let list = json!({"type": "array", "prefixItems": [closed()], "items": {"type": "string"}});
    assert!(why(&list, "/0/other", &any, "/x").is_some());
    assert!(why(&list, "/name", &any, "/x").is_some());
    let number = of_x(json!({"type": "number"}));
    assert_eq!(why(&list, "/0/n", &number, "/x"), None);
    assert!(why(&list, "/1", &number, "/x").is_some());
    // An object may have names that patterns or nobody rules out.
    let open = json!({"type": "object"});
    assert_eq!(why(&open, "/other", &any, "/x"), None);
    let patterns = json!({
        "type": "object", "patternProperties": {"^o": {}}, "additionalProperties": false,
    });
    assert_eq!(why(&patterns, "/other", &any, "/x"), None);
    // It may be a list as well as an object.
    let both = json!({"properties": {"0": false}, "items": {"type": "string"}});
    assert_eq!(why(&both, "/0", &number, "/x"), None);
}

#[test]
fn an_input_that_takes_nothing_there_never_fits() {
    let open = json!({});
    let told = why(&open, "/a", &closed(), "/other").unwrap();
    assert_eq!(told, "the input takes nothing at /other");
    let told = why(&open, "/a", &closed(), "/a~1b~0c").unwrap();
    assert_eq!(told, "the input takes nothing at /a~1b~0c");
    assert!(why(&open, "/a", &closed(), "/0").is_some());
    assert!(why(&open, "/a", &json!({"type": "string"}), "/x").is_some());
    assert_eq!(why(&open, "/a", &closed(), "/n"), None);
    let list = of_x(json!({"type": "array", "items": {"type": "boolean"}}));
    assert!(why(&closed(), "/n", &list, "/x/3").is_some());
}

#[test]
fn a_closed_object_must_have_what_is_required() {
    let inner = json!({"type": "object", "properties": {"o": closed()}});
    let needs = |name: &str| of_x(json!({"type": "object", "required": [name]}));
    let told = why(&inner, "/o", &needs("m"), "/x").unwrap();
    assert_eq!(told, "/x must have \"m\", which it never has");
    assert_eq!(why(&inner, "/o", &needs("n"), "/x"), None);
    assert_eq!(
        why(&json!({"type": "object"}), "/o", &needs("m"), "/x"),
        None
    );
}

#[test]
fn a_whole_output_may_come_as_a_text_or_a_file() {
    let number = json!({"type": "number"});
    let takes = |schema: Value| why(&number, "", &of_x(schema), "/x");
    assert!(takes(json!({"type": "boolean"})).is_some());
    assert_eq!(takes(json!({"type": "string"})), None);
    assert_eq!(takes(json!({"type": "object"})), None);
    let file =
        json!({"type": "object", "required": ["file"], "properties": {"file": {"type": "string"}}});
    assert_eq!(takes(file), None);
    assert!(takes(json!({"type": "object", "required": ["n"]})).is_some());
    assert!(takes(closed()).is_some());
    let told = why(&number, "", &json!({"type": "boolean"}), "").unwrap();
    assert_eq!(told, "it is a number, and the input takes a boolean");
}

#[test]
fn the_output_of_a_node_with_map_is_a_list() {
    let gives = book(&closed());
    let of = |pointer: &str, takes: &Value| {
        let pointer = parts(pointer);
        let passed = Passed {
            pointer: &pointer,
            is_list: true,
        };
        refusal(&gives, passed, Takes::Input(&book(takes), &steps("/x")))
    };
    assert!(of("", &of_x(json!({"type": "number"}))).is_some());
    assert_eq!(of("", &of_x(json!({"type": "array"}))), None);
    assert_eq!(of("/0/n", &of_x(json!({"type": "number"}))), None);
    assert!(of("/0/n", &of_x(json!({"type": "string"}))).is_some());
    assert!(of("/n", &json!({})).is_some());
    // Something else than a list is nothing to go through.
    let over = |schema: &Value| {
        let pointer = parts("/x");
        let passed = Passed {
            pointer: &pointer,
            is_list: false,
        };
        refusal(&book(schema), passed, Takes::List)
    };
    assert!(over(&of_x(json!({"type": "string"}))).is_some());
    assert_eq!(over(&of_x(json!({"type": ["array", "null"]}))), None);
}

/// Schemas that branch without end cost no more than their steps, and nothing is said of them.
#[test]
fn whoever_runs_out_of_steps_is_told_nothing() {
    let mut definitions = json!({"last": {"type": "string"}});
    for number in 0..12 {
        let next = if number == 11 {
            "last".to_owned()
        } else {
            format!("d{}", number + 1)
        };
        let next = json!({"$ref": format!("#/$defs/{next}")});
        definitions[format!("d{number}")] = json!({"anyOf": [next, next, next]});
    }
    let schema = json!({"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": definitions});
    assert_eq!(why(&closed(), "/n", &schema, "/x"), None);
}
