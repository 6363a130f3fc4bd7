//! Requests for code and answers of interpreters, as nobody meant them.
//!
//! Compiled for tests and for fuzzing only; `fuzz/` says how it is used.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::answer::{Verdict, Written};
use super::packages::Packages;
use super::request::{Prepared, Request};
use cofferdam_domain::attempt::{Outcome, Payload, Streams, Usage};
use cofferdam_domain::module::Language;
use cofferdam_domain::said;
use cofferdam_sandbox::files::{InputContent, InputPlace};

/// The first line says whether the rest is a `request` or an `answer`.
///
/// # Panics
///
/// Where the guest would be given something else than what was asked for, or what it says is told
/// without a bound.
pub fn code(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (what, rest) = (&bytes[..end], &bytes[end + 1..]);
    match what {
        b"request" => request(rest),
        b"answer" => answer(rest),
        _ => {}
    }
}

fn request(body: &[u8]) {
    let Ok(request) = Request::parse(body) else {
        return;
    };
    for language in Language::ALL {
        if let Ok(prepared) = request.prepare(language, &Packages::default()) {
            same(language, &prepared, body);
        }
        // What a session is called with is checked in the same way, and written by the guest.
        if let Ok(turn) = request.prepare_turn(language, b",\"more\":1") {
            assert!(turn.files.is_empty() && turn.mounts.is_empty());
            if let Ok(told) = serde_json::from_slice::<Value>(&turn.payload.body) {
                assert_eq!(
                    (&told["mode"], &told["more"]),
                    (&"session".into(), &1.into())
                );
            }
        }
    }
}

/// Holds what the guest is given against a tree of what was asked for.
fn same(language: Language, prepared: &Prepared, body: &[u8]) {
    // Half a surrogate pair is a source's right, and nothing that a tree can hold.
    let (Ok(asked), Ok(told)) = (
        serde_json::from_slice::<Value>(body),
        serde_json::from_slice::<Value>(&prepared.payload.body),
    ) else {
        return;
    };
    assert_eq!(told["code"], asked["code"]);
    let none = Value::Array(Vec::new());
    let args = |of: &Value| of.get("args").cloned().unwrap_or_else(|| none.clone());
    assert_eq!(args(&told), args(&asked));
    let stdin = prepared.stdin.as_ref().map_or_else(
        || told["stdin"].clone(),
        |stdin| String::from_utf8_lossy(stdin).into(),
    );
    assert_eq!(stdin, asked["stdin"], "{language:?}");
    let mut files = HashMap::new();
    for file in &prepared.files {
        assert_eq!(file.place, InputPlace::Work);
        let InputContent::Bytes(bytes) = &file.content else {
            panic!("a caller names no file of the host's");
        };
        files.insert(file.name(), bytes);
    }
    let wanted = asked["files"].as_object();
    assert_eq!(files.len(), wanted.map_or(0, serde_json::Map::len));
    for (name, content) in wanted.into_iter().flatten() {
        let bytes = match content.as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => STANDARD
                .decode(content["base64"].as_str().expect("text or base64"))
                .expect("it was decoded before"),
        };
        assert_eq!(files[name.as_str()], &bytes, "{name}");
    }
}

fn answer(body: &[u8]) {
    let output = Payload {
        content_type: "application/json".into(),
        body: Bytes::copy_from_slice(body),
    };
    let verdict = Verdict::of(Outcome::Completed(output));
    let (streams, usage) = (Streams::default(), Usage::default());
    let told = verdict.into_answer(&streams, &usage, Written::default(), "/");
    // A mark where something was cut out comes on top.
    let slack = 16;
    if let Some(error) = &told.error {
        let traceback = error.traceback.as_ref().map_or(0, String::len);
        let class = error.class.as_ref().map_or(0, String::len);
        assert!(error.message.len() <= said::MESSAGE_BYTES_MAX + slack);
        assert!(traceback <= said::BACKTRACE_BYTES_MAX + slack);
        assert!(class <= said::CLASS_BYTES_MAX + slack);
    }
    assert_eq!(told.error.is_some(), told.status == "failed");
    let text = serde_json::to_string(&told).expect("an answer is JSON");
    assert!(
        serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(),
        "{text}"
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_request_and_answer_is_told_as_it_is_or_refused() {
        cofferdam_fuzz::short_run("code", 10_000, super::code);
    }
}
