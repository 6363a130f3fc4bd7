//! Where each limit of schemas and checks ends: what just fits, and what is one too many.

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Map, Value, json};

use super::{PATIENT, bounds, check, fits, refused};
use crate::registry::schema::apply::Fault;
use crate::registry::schema::budget::Stopped;
use crate::registry::schema::prepare::prepare;
use crate::registry::schema::ready::Schema;
use crate::registry::schema::{Misfit, Schemas, Text, Which, held, hold};
use cofferdam_domain::module::Digest;
use cofferdam_sandbox::threads::GuestThreads;

const DIGEST: Digest = Digest::from_bytes([1; 32]);

fn text(text: String) -> Text {
    Text::Memory(Bytes::from(text))
}

fn named(count: usize, value: &Value) -> Value {
    let members = (0..count).map(|n| (format!("a{n}"), value.clone()));
    members.collect::<Map<_, _>>().into()
}

#[tokio::test]
async fn a_short_value_waits_for_no_place_once_its_schema_is_ready() {
    let threads = GuestThreads::start(1).unwrap();
    let schemas = Schemas::new(threads.handle(), 1, bounds(PATIENT));
    let long = |bytes: usize| text(format!("\"{}\"", "x".repeat(bytes - 2)));
    let check = |text: Text| schemas.check(DIGEST, Which::Input, "{}", text);
    assert_eq!(check(long(2)).await, Ok(()));
    let place = schemas.places.acquire().await.unwrap();
    assert_eq!(check(long(8 * 1024)).now_or_never(), Some(Ok(())));
    assert_eq!(check(long(8 * 1024 + 1)).now_or_never(), None);
    drop(place);
    threads.stop();
}

#[tokio::test]
async fn a_removed_schema_is_forgotten() {
    let threads = GuestThreads::start(1).unwrap();
    let schemas = Schemas::new(threads.handle(), 1, bounds(PATIENT));
    let check = |schema: &'static str| {
        let seven = text("7".to_owned());
        schemas.check(DIGEST, Which::Input, schema, seven)
    };
    let null = r#"{"type": "null"}"#;
    assert!(matches!(check(null).await, Err(Misfit::Unfit(_))));
    assert!(matches!(check("{}").await, Err(Misfit::Unfit(_))));
    schemas.remove(DIGEST);
    assert_eq!(check("{}").await, Ok(()));
    threads.stop();
}

#[test]
fn a_value_is_held_against_a_schema_without_a_host() {
    let hold = |text: &'static str| {
        let null = r#"{"type": "null"}"#;
        hold(null, Bytes::from_static(text.as_bytes()), bounds(PATIENT))
    };
    assert_eq!(hold("null"), Ok(()));
    assert!(matches!(hold("7"), Err(Misfit::Unfit(_))));
}

#[test]
fn a_long_text_is_paid_for_while_it_is_read() {
    let schema = Schema::new("{}", prepare("{}", &mut || true).unwrap());
    let long = text(format!("[{}]", vec!["1"; 100_000].join(",")));
    let mut asked = 0;
    let mut more = || {
        asked += 1;
        true
    };
    assert!(held(&schema, &long, 0, bounds(PATIENT), &mut more).is_ok());
    assert!(asked > 10, "{asked}");
}

#[test]
fn a_check_ends_where_its_outcome_is_known() {
    let many: Vec<Value> = (0..1000).map(Value::from).collect();
    let either = json!({"anyOf": [true, {"enum": many}]});
    assert_eq!(check(&either, &json!("x"), 10), Ok(()));
}

#[test]
fn names_are_paid_for_that_are_looked_up() {
    let spent = Err(Fault::Stopped(Stopped::Spent));
    let with = json!({"dependentRequired": named(40, &json!(["x", "y"]))});
    assert_eq!(check(&with, &json!({}), 110), spent);
    // Each of the 40 members is paid for four times: for its name, its schema, as seen, and as looked
    // up among those.
    let seen = json!({"anyOf": [{"additionalProperties": true}], "unevaluatedProperties": false});
    assert_eq!(check(&seen, &named(40, &json!(1)), 150), spent);
    assert_eq!(check(&seen, &named(40, &json!(1)), 170), Ok(()));
}

#[test]
fn an_answer_names_three_reasons() {
    let types = ["null", "boolean", "array", "object", "string"];
    let schemas: Vec<Value> = types.iter().map(|name| json!({"type": name})).collect();
    for word in ["anyOf", "oneOf"] {
        assert_eq!(
            fits(&json!({ word: schemas }), &json!(7)).unwrap_err(),
            ": fits none of 5 schemas: (1) it must be null, not a number; (2) it must be a boolean, \
             not a number; (3) it must be an array, not a number"
        );
    }
}

#[test]
fn what_an_answer_repeats_is_cut_and_says_so() {
    let why = |schema: Value, value: Value| fits(&schema, &value).unwrap_err();
    assert_eq!(
        why(json!({"enum": [1, 2, 3, 4, 5, 6, 7, 8]}), json!(0)),
        ": must be one of 1, 2, 3, 4, 5, 6, 7, 8"
    );
    assert_eq!(
        why(json!({"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9]}), json!(0)),
        ": must be one of 1, 2, 3, 4, 5, 6, 7, 8, …"
    );
    let x = |times: usize| "x".repeat(times);
    let (whole, cut) = (json!({"const": x(38)}), json!({"const": x(39)}));
    assert_eq!(why(whole, json!(0)), format!(": must be {:?}", x(38)));
    assert_eq!(why(cut, json!(0)), format!(": must be \"{}…", x(39)));
    let none = json!({"additionalProperties": false});
    let there = |name: &str, shown: &str| {
        let why = why(none.clone(), json!({ name: 1 }));
        assert_eq!(why, format!("/{shown}: must not be there"));
    };
    there(&x(199), &x(199));
    there(&x(200), &format!("{}…", x(199)));
    let nowhere = |name: &str, shown: &str| {
        let why = refused(&json!({ "$ref": name }));
        let expected = format!("the reference \"{shown}\" leads nowhere in this schema");
        assert_eq!(why, expected);
    };
    nowhere(&format!("#{}", x(99)), &format!("#{}", x(99)));
    nowhere(&format!("#{}", x(100)), &format!("#{}…", x(99)));
}

#[test]
fn a_schema_may_be_as_long_and_its_patterns_as_large_as_is_said() {
    let padded = |bytes: usize| {
        let text = format!("{{}}{}", " ".repeat(bytes - 2));
        prepare(&text, &mut || true)
    };
    assert!(padded(256 * 1024).is_ok());
    assert!(padded(256 * 1024 + 1).is_err());
    let patterns = (0..12).map(|n| (format!("{n}[ab]{{10000}}"), json!(true)));
    let large = json!({"patternProperties": patterns.collect::<Map<_, _>>()});
    let book = prepare(&large.to_string(), &mut || true).unwrap();
    let sizes = book.patterns.iter().map(|it| it.automaton_bytes());
    let all: usize = sizes.sum();
    assert!((2 << 20..4 << 20).contains(&all), "{all} bytes");
}
