//! Templates: what is a reference, and what is put in its place.

use std::borrow::Cow;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn read(text: &str) -> Result<Template, BadTemplate> {
    Template::read(&Bytes::copy_from_slice(text.as_bytes()))
}

/// The input with each reference told by what it is to.
fn filled(text: &str) -> String {
    let told = |reference: &Reference| {
        let pointer = &reference.pointer;
        Ok(Cow::Owned(match &reference.source {
            Source::Input => format!("<input{pointer}>"),
            Source::Output(node) => format!("<{node}{pointer}>"),
            Source::Failure(node) => format!("<!{node}{pointer}>"),
            Source::Item => format!("<item{pointer}>"),
            Source::Index => "<index>".to_owned(),
        }))
    };
    let filled = read(text).unwrap().fill(told).unwrap();
    String::from_utf8(filled.to_vec()).unwrap()
}

#[test]
fn references_are_replaced_and_everything_else_stays_as_it_was_written() {
    for (text, expected) in [
        (r#"{"$from": "a"}"#, "<a>"),
        (
            r#"[1e999, {"$from": "a", "pointer": "/x/0"} , "é"]"#,
            r#"[1e999, <a/x/0> , "é"]"#,
        ),
        (
            r#"{"x": {"$input": "/k"}, "y":{"$from":"$input","pointer":"/l"}}"#,
            r#"{"x": <input/k>, "y":<input/l>}"#,
        ),
        (
            r#"[{"$input": null},{"$input": true},{"$input": ""}]"#,
            "[<input>,<input>,<input>]",
        ),
        (
            r#"{"e": {"$error": "a", "pointer": "/kind"}}"#,
            r#"{"e": <!a/kind>}"#,
        ),
        (
            r#"[{"$item": "/n"}, {"$index": null}]"#,
            "[<item/n>, <index>]",
        ),
        (r#"{"$literal": {"$from": "a"}}"#, r#"{"$from": "a"}"#),
        (r#"{"\u0024from": "a"}"#, "<a>"),
        // Members of other people's words are left alone.
        (
            r#"{"$ref": "a", "from": "$input"}"#,
            r#"{"$ref": "a", "from": "$input"}"#,
        ),
        (r#""$input""#, r#""$input""#),
        ("no JSON", "no JSON"),
    ] {
        assert_eq!(filled(text), expected);
    }
}

#[test]
fn what_is_nearly_a_reference_is_refused() {
    let refused = |text: &str| read(text).unwrap_err().to_string();
    assert!(refused(r#"{"$from": "a", "point": "/x"}"#).contains("\"point\""));
    assert!(refused(r#"{"$from": "a", "$error": "b"}"#).contains("$from"));
    assert!(refused(r#"{"$from": "a", "$from": "b"}"#).contains("$from"));
    assert!(refused(r#"{"$input": "/x", "pointer": "/y"}"#).contains("pointer"));
    assert!(refused(r#"{"$literal": 1, "pointer": ""}"#).contains("$literal"));
    assert!(refused(r#"{"$from": 7}"#).contains("$from"));
    assert!(refused(r#"{"$input": 7}"#).contains("$input"));
    assert!(refused(r#"{"$from": "a b"}"#).contains("a b"));
    assert!(refused(r#"{"$from": "a", "pointer": "x"}"#).contains("\"x\""));
    assert!(refused(r#"{"$from": "a", "pointer": 0}"#).contains("pointer"));
    assert!(refused(r#"{"$from": "a""#).contains("not JSON"));
    let deep = "[".repeat(70) + r#"{"$from":"a"}"# + &"]".repeat(70);
    assert_eq!(read(&deep).unwrap_err(), BadTemplate::TooDeep);
    let many = format!(
        "[{}]",
        vec![r#"{"$from":"a"}"#; REFERENCES_MAX + 1].join(",")
    );
    assert_eq!(read(&many).unwrap_err(), BadTemplate::TooMany);
    // Without a reference it may be as deep as any input.
    let plain = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(read(&plain).unwrap().is_plain());
}

#[test]
fn a_filled_input_is_bounded() {
    let template = read(r#"[{"$from":"a"},{"$from":"a"},{"$from":"a"}]"#).unwrap();
    let large = format!("\"{}\"", "x".repeat(FILLED_BYTES_MAX / 2));
    let filled = template.fill(|_| Ok(Cow::Borrowed(&*large)));
    assert_eq!(filled, Err(Unfilled::TooLarge));
    let absent = template.fill(|_| Err("there is none".to_owned()));
    assert_eq!(absent, Err(Unfilled::Value("there is none".to_owned())));
    assert_eq!(template.references().count(), 3);
}

#[test]
fn what_is_put_in_early_is_not_searched_later() {
    let template =
        read(r#"[{"$item": ""}, {"$from": "a"}, {"$literal": {"$item": ""}}, {"$index": null}]"#);
    let early = template
        .unwrap()
        .fill_some(|reference| match reference.source {
            Source::Item => Ok(Some(Cow::Borrowed(r#"{"$from": "secret"}"#))),
            Source::Index => Ok(Some(Cow::Borrowed("3"))),
            Source::Input | Source::Output(_) | Source::Failure(_) => Ok(None),
        });
    let early = String::from_utf8(early.unwrap().to_vec()).unwrap();
    let expected = r#"[{"$from": "secret"}, <a>, {"$item": ""}, 3]"#;
    assert_eq!(filled(&early), expected);
}

/// JSON in which some objects are references.
fn inputs() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(|number| json!(number)),
        "[a-z$\\\\\"é ]{0,8}".prop_map(|text| json!(text)),
        Just(json!({"$from": "a"})),
        Just(json!({"$from": "a", "pointer": "/x"})),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same by way of a tree.
fn replaced(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(replaced).collect()),
        Value::Object(members) if members.contains_key("$from") => json!("here"),
        Value::Object(members) => {
            let replaced = members
                .into_iter()
                .map(|(name, value)| (name, replaced(value)));
            Value::Object(replaced.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

proptest! {
    #[test]
    fn texts_are_filled_as_trees_are(input in inputs(), pretty: bool) {
        let text = match pretty {
            true => serde_json::to_string_pretty(&input).unwrap(),
            false => input.to_string(),
        };
        let filled = read(&text).unwrap().fill(|_| Ok(Cow::Borrowed("\"here\""))).unwrap();
        let filled: Value = serde_json::from_slice(&filled).unwrap();
        prop_assert_eq!(filled, replaced(input));
    }

    #[test]
    fn no_text_makes_it_panic(text in "([\\[\\]{}:,\"$ ]|\\$from|\\$input|pointer|\\PC){0,60}") {
        let _either = read(&text);
    }
}

#[test]
fn references_are_found_with_their_places() {
    let text = r#"{"a": [1, {"$from": "x"}], "b": {"$literal": {"$from": "no"}}, "c": {"d": {"$input": ""}}}"#;
    let template = Template::read(&Bytes::copy_from_slice(text.as_bytes())).unwrap();
    assert_eq!(template.references().count(), 2);
    let places = |template: &Template| -> Vec<Vec<Step>> {
        let placed = template.placed_references();
        placed.map(|(_, place)| place.to_vec()).collect()
    };
    let member = |name: &str| Step::Member(name.to_owned());
    assert_eq!(
        places(&template),
        [
            vec![member("a"), Step::Item(1)],
            vec![member("c"), member("d")]
        ]
    );
    let whole = Bytes::from_static(br#"{"$item": null}"#);
    assert_eq!(places(&Template::read(&whole).unwrap()), [vec![]]);
}
