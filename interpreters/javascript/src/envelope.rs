//! The request and the answer of a run, as JSON. The answer is assembled here and not in
//! JavaScript, so that a script that changes its globals cannot change the answer's shape.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) stdin: String,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) mode: Mode,
    pub(crate) input: Option<Box<RawValue>>,
    /// The files that a call of a session puts into the working directory.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, FileContent>,
    /// Whether the run was granted any requests.
    #[serde(default)]
    pub(crate) network: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum FileContent {
    Text(String),
    Base64 { base64: String },
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    #[default]
    Exec,
    Script,
    /// The script is only parsed.
    Check,
    /// Like exec, but the next call keeps its declarations.
    Session,
}

impl Request {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body)
            .map_err(|error| format!("not a request of the interpreter: {error}"))
    }
}

#[derive(Serialize)]
pub(crate) struct Answer {
    status: &'static str,
    result: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_repr: Option<String>,
    exit_code: i32,
    error: Option<Error>,
}

#[derive(Serialize)]
pub(crate) struct Error {
    kind: &'static str,
    #[serde(rename = "type")]
    class: String,
    message: String,
    traceback: Option<String>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}

impl Answer {
    /// `json` is the value as JSON; `shown` is its representation where JSON cannot represent it.
    pub(crate) fn completed(json: Option<String>, shown: Option<String>) -> Self {
        let result =
            json.and_then(|text| RawValue::from_string(without_lone_surrogates(text)).ok());
        Self {
            status: "completed",
            result: result.unwrap_or_else(null),
            result_repr: shown,
            exit_code: 0,
            error: None,
        }
    }

    pub(crate) fn exited(exit_code: i32) -> Self {
        if exit_code == 0 {
            return Self::completed(None, None);
        }
        let message = format!("the script exited with code {exit_code}");
        let error = Error {
            kind: "exit",
            class: "Exit".to_owned(),
            message,
            traceback: None,
        };
        Self {
            error: Some(error),
            ..Self::failed(exit_code)
        }
    }

    pub(crate) fn threw(class: String, message: String, traceback: String) -> Self {
        let error = Error {
            kind: "guest_error",
            class,
            message,
            traceback: Some(traceback),
        };
        Self {
            error: Some(error),
            ..Self::failed(1)
        }
    }

    /// The value of `run` is not JSON.
    pub(crate) fn unsaid(class: &str, message: String) -> Self {
        let error = Error {
            kind: "guest_error",
            class: class.to_owned(),
            message,
            traceback: None,
        };
        Self {
            error: Some(error),
            ..Self::failed(1)
        }
    }

    pub(crate) fn exit_code(&self) -> i32 {
        self.exit_code
    }

    /// A failure stays a failure, whatever exit code the script sets.
    pub(crate) fn with_exit_code(self, exit_code: i32) -> Self {
        Self { exit_code, ..self }
    }

    /// Node's exit code for a script that awaits a promise that never settles.
    pub(crate) fn unsettled() -> Self {
        let message = "the script awaits a promise that nothing will settle".to_owned();
        let error = Error {
            kind: "guest_error",
            class: "Error".to_owned(),
            message,
            traceback: None,
        };
        Self {
            error: Some(error),
            ..Self::failed(13)
        }
    }

    fn failed(exit_code: i32) -> Self {
        Self {
            status: "failed",
            result: null(),
            result_repr: None,
            exit_code,
            error: None,
        }
    }

    pub(crate) fn into_json(self) -> Vec<u8> {
        serde_json::to_vec(&self).expect("strings and numbers serialise")
    }
}

/// JSON.stringify writes a lone surrogate as an escape, which strict JSON readers refuse. Every
/// such escape becomes that of U+FFFD, which has the same length.
fn without_lone_surrogates(text: String) -> String {
    if !text.contains("\\ud") {
        return text;
    }
    let mut bytes = text.into_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        if bytes[at..].starts_with(b"\\ud")
            && matches!(bytes.get(at + 3), Some(b'8'..=b'9' | b'a'..=b'f'))
        {
            bytes[at + 2..at + 6].copy_from_slice(b"fffd");
        }
        at += 2;
    }
    String::from_utf8(bytes).expect("ASCII was replaced by ASCII")
}
