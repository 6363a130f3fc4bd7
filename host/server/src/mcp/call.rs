//! The ends of calls, in the protocol's form.
//!
//! A failure that a model can act on (its arguments, its code, a limit) is a result with `isError`;
//! a protocol error is only for mistakes of the client or of this host.

use std::fmt::Display;

use rmcp::model::{CallToolResult, ContentBlock, ErrorData, MetaObject};
use serde_json::{Value, json};

use cofferdam::registry::{CompileFailure, RegistryError};
use cofferdam::runner::RunError;
use cofferdam_domain::attempt::{Failure, Usage};

/// There is no tool with that name.
pub(super) fn unknown_tool(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("there is no tool {name:?}"), None)
}

/// Nobody waits for this answer.
pub(super) fn ended(why: &'static str) -> ErrorData {
    ErrorData::internal_error(why, None)
}

/// This host's mistake; its cause goes to the log only.
pub(super) fn internal(cause: impl Display) -> ErrorData {
    tracing::error!(%cause, "a tool call failed in the host");
    ErrorData::internal_error("the host failed to answer this call", None)
}

/// A call that could not begin.
pub(super) fn refused(why: impl Display) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(why.to_string())])
}

/// A result: content for the model, the data that the tool promised, and figures for the client.
pub(super) fn result(
    failed: bool,
    content: Vec<ContentBlock>,
    data: Option<Value>,
    figures: Value,
) -> CallToolResult {
    let mut result = match failed {
        true => CallToolResult::error(content),
        false => CallToolResult::success(content),
    };
    result.structured_content = data;
    if let Value::Object(figures) = figures {
        result.meta = Some(MetaObject(figures));
    }
    result
}

/// A run that did not begin.
pub(super) fn not_begun(tool: &str, error: RunError) -> Result<CallToolResult, ErrorData> {
    match error {
        RunError::Module(RegistryError::Unknown(_)) => Err(unknown_tool(tool)),
        RunError::Module(RegistryError::Storage(cause)) => Err(internal(cause)),
        RunError::Module(RegistryError::Compile(CompileFailure::Host(cause))) => {
            Err(internal(cause))
        }
        RunError::Module(
            RegistryError::Gone(_)
            | RegistryError::Reserved(_)
            | RegistryError::Forbidden(_)
            | RegistryError::Compile(_),
        )
        | RunError::Limit(_)
        | RunError::Grant(_)
        | RunError::Secret(_)
        | RunError::Callback(_)
        | RunError::Schema(_)
        | RunError::Code(_)
        | RunError::Forbidden(_)
        | RunError::Unavailable(_)
        | RunError::NoRoom(_)
        | RunError::Held(_)
        | RunError::Draining
        | RunError::OverQuota(_)
        | RunError::Pressed(_)
        | RunError::Script(_) => Ok(refused(error)),
    }
}

/// The end of a run and its usage: for the client, not for its model.
pub(super) fn figures(failure: Option<&Failure>, usage: &Usage) -> Value {
    json!({
        "cofferdam/status": if failure.is_some() { "failed" } else { "completed" },
        "cofferdam/error": failure.map(|failure| json!({
            "kind": failure.kind.as_str(),
            "exit_code": failure.exit_code,
            "transient": failure.transient,
        })),
        "cofferdam/usage": {
            "duration_us": usage.duration_us(),
            "cpu_us": usage.cpu_us(),
            "fuel": usage.fuel,
            "peak_memory_bytes": usage.peak_memory_bytes,
            "disk_bytes": usage.disk_bytes,
            "egress_requests": usage.egress.requests,
            "egress_in_bytes": usage.egress.in_bytes,
            "egress_out_bytes": usage.egress.out_bytes,
        },
    })
}
