//! Bodies of requests: the first line names what takes the rest.
//!
//! A body that is taken is JSON, says nothing twice, and what was read of it is what a tree of it
//! holds.

use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::http::error::ApiError;
use crate::intake::code::{ExecRequest, ToolArguments};
use crate::intake::json::parse;
use crate::intake::pool::ExecuteRequest;
use crate::intake::refused::Refused;
use crate::intake::session::{SessionRequest, TurnRequest};
use crate::intake::task::TaskRequest;
use cofferdam::queue::Submission;
use cofferdam::runner::admission::Admission;
use cofferdam::runner::dirs::Dirs;
use cofferdam_domain::isolation::IsolationPolicy;
use cofferdam_domain::limits::{LimitPolicy, LimitRequest};
use cofferdam_domain::module::Language;
use cofferdam_domain::said;
use cofferdam_domain::task::Input;

/// The longest refusal.
const DETAIL_BYTES_MAX: usize = said::REPEATED_BYTES_MAX + 16;

/// What a reader says of a name that it meets again.
const TWICE: &str = "a second time";

/// Members whose values are the caller's own, in which anything goes.
const FREE: [&str; 3] = ["input", "metadata", "payload"];

/// Reads a body as one of those who take one.
///
/// # Panics
///
/// Where a part of it is not looked at or read as something else.
pub fn requests(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (door, body) = (&bytes[..end], Bytes::copy_from_slice(&bytes[end + 1..]));
    let wanted = IsolationPolicy::default();
    let admission = Admission::new(LimitPolicy::default(), wanted, Dirs::new());
    let taken = match door {
        b"tasks" => task(&body),
        b"exec" => parse::<ExecRequest<'_>>(&body)
            .and_then(|request| request.into_code(&admission))
            .map(drop),
        b"tool" => parse::<ToolArguments<'_>>(&body)
            .and_then(|request| request.into_request(Language::Python).into_code(&admission))
            .map(drop),
        b"sessions" => parse::<SessionRequest<'_>>(&body).map(drop),
        b"turn" => turn(&body),
        b"execute" => parse::<ExecuteRequest<'_>>(&body).map(drop),
        _ => return,
    };
    match taken {
        Ok(()) => {
            // What else this reader stumbles over, such as half a surrogate pair, may be taken.
            let once = serde_json::from_slice::<Once>(&body).map_err(|error| error.to_string());
            let twice = once.err().filter(|why| why.contains(TWICE));
            assert!(twice.is_none(), "a body is taken that says {twice:?}");
        }
        Err(error) => {
            let error = ApiError::from(error);
            let detail = error.detail();
            let is_fit = !detail.is_empty() && detail.len() <= DETAIL_BYTES_MAX;
            assert!(is_fit, "{} bytes of detail", detail.len());
        }
    }
}

fn task(body: &Bytes) -> Result<(), Refused> {
    let submission = parse::<TaskRequest<'_>>(body)?.into_submission(body)?;
    // Where it holds what no tree can, half a surrogate pair for one, there is no second opinion.
    if let Ok(tree) = serde_json::from_slice::<Value>(body) {
        same_task(&submission, &tree);
    }
    Ok(())
}

fn turn(body: &Bytes) -> Result<(), Refused> {
    let (request, limits) = parse::<TurnRequest<'_>>(body)?.into_parts();
    if let Ok(tree) = serde_json::from_slice::<Value>(body) {
        let millis = |time: Option<std::time::Duration>| time.map(|time| time.as_millis());
        let asked = |name: &str| tree[name].as_u64().map(u128::from);
        assert_eq!(millis(limits.timeout), asked("timeout_ms"));
        assert_eq!(millis(limits.cpu), asked("cpu_ms"));
        let files = tree["files"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(request.files.len(), files);
    }
    Ok(())
}

fn same_task(task: &Submission, tree: &Value) {
    let LimitRequest {
        timeout,
        cpu,
        fuel,
        memory_bytes,
        table_elements,
        disk_bytes,
        disk_files,
        output_bytes,
    } = task.limits;
    let millis = |time: Option<std::time::Duration>| {
        time.map(|time| u64::try_from(time.as_millis()).expect("it came as a number"))
    };
    let limits = [
        ("timeout_ms", millis(timeout)),
        ("cpu_ms", millis(cpu)),
        ("fuel", fuel),
        ("memory_bytes", memory_bytes),
        ("table_elements", table_elements),
        ("disk_bytes", disk_bytes),
        ("disk_files", disk_files),
        ("output_bytes", output_bytes),
    ];
    for (name, limit) in limits {
        assert_eq!(limit, tree["limits"][name].as_u64(), "{name}");
    }
    let retry = &tree["retry"];
    let attempts = retry["max_attempts"].as_u64().unwrap_or(1);
    assert_eq!(u64::from(task.retry.max_attempts), attempts);
    assert!(task.retry.factor.is_finite() && task.retry.factor >= 1.0);
    let delay = tree["delay_ms"].as_u64().unwrap_or(0);
    assert_eq!(task.delay.as_millis(), u128::from(delay));
    assert_eq!(
        task.module.to_string(),
        tree["module"].as_str().expect("a name")
    );
    let args: Vec<&str> = task.args.iter().map(String::as_str).collect();
    assert_eq!(
        Value::from(args),
        tree.get("args")
            .cloned()
            .unwrap_or_else(|| Value::Array(vec![]))
    );
    let env = tree["env"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(task.env.len(), env);
    for (name, value) in &task.env {
        assert_eq!(tree["env"][name], Value::from(value.as_str()));
    }
    let Input::Inline(input) = &task.input else {
        panic!("a body of JSON is kept with its task");
    };
    if tree.get("input").is_some() && tree["content_type"].is_null() {
        let read: Value = serde_json::from_slice(&input.body).expect("it was a part of JSON");
        assert_eq!(read, tree["input"]);
    }
}

/// JSON in which no object has two members of one name, but for what is the caller's own.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Once, D::Error> {
        input.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if FREE.contains(&name.as_str()) {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value::<Once>()?;
            }
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("{name:?} {TWICE}")));
            }
        }
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Once, A::Error> {
        while list.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }
}
