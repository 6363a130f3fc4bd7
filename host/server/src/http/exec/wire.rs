//! The answers of code execution.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::http::tasks::wire::UsageJson;

/// The result of code, for the API document; `interpreters::answer` is what is sent.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecAnswer {
    /// `completed` or `failed`.
    status: String,
    /// The value of the last expression, or of the variable `result`.
    result: Value,
    /// The language's rendering of the value, if JSON cannot represent all of it.
    result_repr: Option<String>,
    stdout: String,
    stderr: String,
    /// Null for code that was stopped.
    exit_code: Option<i32>,
    error: Option<ExecErrorJson>,
    /// The files it wrote, by name.
    files: BTreeMap<String, ExecFileJson>,
    /// How many other entries are not kept, by reason; absent if none.
    files_left_out: Option<BTreeMap<String, u64>>,
    usage: UsageJson,
    truncated: ExecTruncatedJson,
}

/// Which streams are truncated.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecTruncatedJson {
    stdout: bool,
    stderr: bool,
}

/// Why code failed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecErrorJson {
    /// The failure kind; `guest_error` for an uncaught exception.
    kind: String,
    /// The exception's type.
    r#type: Option<String>,
    message: String,
    /// The script's own frames.
    traceback: Option<String>,
}

/// A file that code wrote.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecFileJson {
    pub(crate) size_bytes: u64,
    /// Where it is served until the host's retention of files has passed.
    pub(crate) url: String,
}
