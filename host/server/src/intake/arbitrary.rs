//! Whatever comes in as a request: nothing panics, and whatever is refused is refused by its name.

use bytes::Bytes;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::intake::code::{ExecRequest, ToolArguments};
use crate::intake::json;
use crate::intake::pool::ExecuteRequest;
use crate::intake::refused::Refused;
use crate::intake::session::{SessionRequest, TurnRequest};
use crate::intake::task::TaskRequest;

/// A parser of one kind of body, to its end where it needs nothing but the body.
type Parser = fn(&Bytes) -> Result<(), Refused>;

const PARSERS: [Parser; 6] = [
    task,
    |body| json::parse::<ExecRequest<'_>>(body).map(drop),
    |body| json::parse::<SessionRequest<'_>>(body).map(drop),
    |body| json::parse::<TurnRequest<'_>>(body).map(drop),
    |body| json::parse::<ExecuteRequest<'_>>(body).map(drop),
    |body| json::parse::<ToolArguments<'_>>(body).map(drop),
];

fn task(body: &Bytes) -> Result<(), Refused> {
    let request = json::parse::<TaskRequest<'_>>(body)?;
    request.into_submission(body).map(drop)
}

/// A body of each kind with every field that it may have.
fn whole(parser: usize) -> Value {
    match parser {
        0 => json!({"module": "m", "input": {"a": 1}, "args": ["x"], "env": {"K": "V"},
            "priority": "high", "delay_ms": 5, "run_at": "2030-01-01T00:00:00Z", "dedup_key": "d",
            "task_id": "0190f0c2-7a3b-7def-8123-456789abcdef", "content_type": "application/json",
            "limits": {"timeout_ms": 7, "cpu_ms": 8, "fuel": 1, "memory_bytes": 9},
            "retry": {"max_attempts": 4, "base_ms": 10, "factor": 1.5, "jitter": false},
            "grants": {"dirs": [{"name": "d", "at": "/d", "access": "read"}],
                "http": ["a.example", {"host": "*.b.example:81", "methods": ["GET"]}]},
            "isolation": "shared", "requires": ["cpu"], "metadata": {"who": "me"},
            "callback": {"url": "https://a.example/x", "secret_name": "s", "on": ["failed"]}}),
        1 => json!({"language": "python", "code": "1", "stdin": "x", "args": ["a"],
            "files": {"a": "b", "c": {"base64": ""}}, "packages": ["p"], "timeout_ms": 1,
            "cpu_ms": 1, "memory_limit_mb": 1, "grants": {"dirs": []}, "isolation": "process"}),
        2 => {
            json!({"language": "python", "files": {"a": "b"}, "memory_limit_mb": 64, "isolation": "process"})
        }
        3 => json!({"code": "1", "files": {"a": "b"}, "timeout_ms": 1}),
        4 => json!({"task_id": "t", "task_type": "m", "payload": {"a": 1}, "priority": "high",
            "callback_url": "https://a.example/x"}),
        _ => {
            json!({"code": "1", "stdin": "x", "args": ["a"], "files": {"a": "b"}, "isolation": "process"})
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{0,8}", inner, 0..5)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// What a refusal of a body names.
fn named(refused: &Refused) -> String {
    let field = match refused {
        Refused::Mistake(mistake) => mistake.field.clone().unwrap_or_default(),
        Refused::Module(_) => "module".to_owned(),
        Refused::Run(_) => String::new(),
    };
    format!("{field} {refused}")
}

proptest! {
    #[test]
    fn no_bytes_are_too_odd_to_be_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), parser in 0..6_usize) {
        let body = Bytes::from(bytes);
        let is_json = serde_json::from_slice::<IgnoredAny>(&body).is_ok();
        let read = PARSERS[parser](&body);
        prop_assert!(is_json || read.is_err());
    }

    #[test]
    fn any_value_in_any_field_is_taken_or_refused_by_name(
        parser in 0..6_usize, field in any::<prop::sample::Index>(), value in any_json(),
    ) {
        let mut body = whole(parser);
        let fields = body.as_object_mut().expect("an object");
        let names: Vec<String> = fields.keys().cloned().collect();
        let name = field.get(&names).clone();
        fields.insert(name.clone(), value);
        if let Err(error) = PARSERS[parser](&Bytes::from(body.to_string())) {
            let named = named(&error);
            // `content_type` may contradict the input that is beside it, and is named with it.
            let with_input = name == "content_type" && named.contains("input");
            prop_assert!(named.contains(&name) || with_input, "{name}: {named}");
        }
    }

    #[test]
    fn a_field_that_nobody_knows_is_named(parser in 0..6_usize, name in "[a-z_]{1,12}", value in any_json()) {
        let mut body = whole(parser);
        let fields = body.as_object_mut().expect("an object");
        prop_assume!(!fields.contains_key(&name));
        fields.insert(name.clone(), value);
        // A field that was left out above is known and may be refused for its value.
        if let Err(error) = PARSERS[parser](&Bytes::from(body.to_string())) {
            let named = named(&error);
            prop_assert!(named.contains(&name), "{name}: {named}");
        }
    }

    #[test]
    fn a_body_that_is_cut_anywhere_is_refused(parser in 0..6_usize, at in any::<prop::sample::Index>()) {
        let body = whole(parser).to_string();
        prop_assert!(PARSERS[parser](&Bytes::from(body.clone())).is_ok());
        let cut = Bytes::from(body).slice(..at.index(10));
        prop_assert!(PARSERS[parser](&cut).is_err());
    }
}
