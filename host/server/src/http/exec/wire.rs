//! The answers of code execution.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::http::tasks::wire::UsageJson;

/// What became of code, as the API document says it; what is sent is `interpreters::answer`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ExecAnswer {
    /// `completed` or `failed`.
    status: String,
    /// The value of the last expression, or of the variable `result`.
    result: Value,
    /// How the value reads, where JSON cannot say all of it.
    result_repr: Option<String>,
    stdout: String,
    stderr: String,
    /// Null for code that was stopped.
    exit_code: Option<i32>,
    error: Option<ExecErrorJson>,
    /// The files it wrote, by name.
    files: BTreeMap<String, ExecFileJson>,
    /// How many entries beside them are not kept, by the reason; absent if none.
    files_left_out: Option<BTreeMap<String, u64>>,
    usage: UsageJson,
    truncated: ExecTruncatedJson,
}

/// Which streams hold less than was written.
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
    /// Where it can be had until the host's time for files has passed.
    pub(crate) url: String,
}
