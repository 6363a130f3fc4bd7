//! Shows how a run ended: the output and the exit code, or the report as JSON.

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cli::{EXIT_FAILED, output};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Usage};
use cofferdam_domain::module::ModuleKind;
use cofferdam_sandbox::Report;

/// Writes the rest of the run's output and returns the process's exit code.
pub(super) fn show(report: &Report, kind: ModuleKind, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&as_json(report));
        return Ok(exit_code(&report.outcome));
    }
    match &report.outcome {
        Outcome::Completed(payload) if kind == ModuleKind::Task => output::bytes(&payload.body),
        // A command has already written its output.
        Outcome::Completed(_) => {}
        // A command that chose its own exit code needs no further message.
        Outcome::Failed(failure) if failure.kind == FailureKind::Exit => {}
        Outcome::Failed(failure) => complain(failure),
    }
    Ok(exit_code(&report.outcome))
}

fn complain(failure: &Failure) {
    let mut text = format!(
        "cofferdam: {}: {}\n",
        failure.kind.as_str(),
        failure.message
    );
    if let Some(backtrace) = &failure.backtrace {
        text.push_str(backtrace);
        text.push('\n');
    }
    output::error_bytes(output::printable(&text).as_bytes());
}

fn exit_code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Completed(_) => ExitCode::SUCCESS,
        Outcome::Failed(failure) => {
            let own = failure
                .exit_code
                .and_then(|code| u8::try_from(code & 0xff).ok());
            ExitCode::from(own.filter(|code| *code != 0).unwrap_or(EXIT_FAILED))
        }
    }
}

fn as_json(report: &Report) -> Value {
    let (status, result, error) = match &report.outcome {
        Outcome::Completed(payload) => {
            let result =
                json!({ "content_type": &*payload.content_type, "body": text(&payload.body) });
            ("completed", result, Value::Null)
        }
        Outcome::Failed(failure) => ("failed", Value::Null, failure_json(failure)),
    };
    let streams = &report.streams;
    json!({
        "status": status,
        "result": result,
        "error": error,
        "stdout": text(&streams.stdout.bytes),
        "stderr": text(&streams.stderr.bytes),
        "log": text(&streams.log.bytes),
        "usage": usage(&report.usage),
    })
}

fn failure_json(failure: &Failure) -> Value {
    json!({
        "kind": failure.kind.as_str(),
        "message": failure.message,
        "backtrace": failure.backtrace,
        "exit_code": failure.exit_code,
    })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "duration_us": usage.duration_us(),
        "cpu_us": usage.cpu_us(),
        "fuel": usage.fuel,
        "peak_memory_bytes": usage.peak_memory_bytes,
        "disk_bytes": usage.disk_bytes,
        "egress_requests": usage.egress.requests,
        "egress_in_bytes": usage.egress.in_bytes,
        "egress_out_bytes": usage.egress.out_bytes,
    })
}

/// Bytes as JSON: text if they are text, else base64.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}
