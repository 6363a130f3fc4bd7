//! Run now: a guest's answer to one request, with no queue and nothing stored.
//!
//! This is the hot path. It parses no more than it must, and its answer carries few headers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use serde_json::json;

use crate::http::body::{self, BodyLimit};
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::error::convert::failure_problem;
use crate::http::json::EXACT_MAX;
use crate::http::path::PathParts;
use crate::http::query::{self, Query};
use crate::http::tasks::output::tell_truncated;
use crate::http::tasks::submission::check_words;
use crate::http::tasks::wire::UsageJson;
use crate::http::{AppState, guest};
use cofferdam::runner::RunRequest;
use cofferdam_domain::attempt::{Failure, Outcome, Payload, Streams, Usage};
use cofferdam_domain::limits::LimitRequest;

const DURATION: HeaderName = HeaderName::from_static("cofferdam-duration-us");
const FUEL_USED: HeaderName = HeaderName::from_static("cofferdam-fuel-used");
const PEAK_MEMORY: HeaderName = HeaderName::from_static("cofferdam-peak-memory-bytes");

/// Run a module now
///
/// The body is the raw input with its content type; the answer is the raw output with its own.
/// Limits are query parameters, or headers such as `Cofferdam-Timeout-Ms`. A run that fails is
/// answered with 422; `code` is the failure kind, with `usage`, `stdout` and `stderr`.
#[utoipa::path(
    post, path = "/v1/run/{module}", operation_id = "run_module", tag = "Run now",
    params(
        ("module" = String, Path, pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?$", description = "A name, or name@sha256:…"),
        ("timeout_ms" = Option<u64>, Query, minimum = 1, description = "Wall-clock limit"),
        ("cpu_ms" = Option<u64>, Query, minimum = 1, description = "CPU-time limit"),
        ("fuel" = Option<u64>, Query, minimum = 1, description = "Fuel limit; uses the metered engine"),
        ("memory_bytes" = Option<u64>, Query, minimum = 1, description = "Memory limit"),
        ("Cofferdam-Timeout-Ms" = Option<u64>, Header, minimum = 1, description = "As timeout_ms"),
        ("Cofferdam-Cpu-Ms" = Option<u64>, Header, minimum = 1, description = "As cpu_ms"),
        ("Cofferdam-Fuel" = Option<u64>, Header, minimum = 1, description = "As fuel"),
        ("Cofferdam-Memory-Bytes" = Option<u64>, Header, minimum = 1, description = "As memory_bytes"),
        ("arg" = Option<Vec<String>>, Query, description = "An argument, for commands; may be repeated"),
        ("env" = Option<Vec<String>>, Query, description = "KEY=VALUE; may be repeated"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The input, of any content type"),
    responses(
        (
            status = 200, description = "The output, with its own content type",
            body = Vec<u8>, content_type = "application/octet-stream",
            headers(
                ("Cofferdam-Duration-Us" = u64, description = "Wall-clock time"),
                ("Cofferdam-Fuel-Used" = u64, description = "Fuel, where it was limited"),
                ("Cofferdam-Peak-Memory-Bytes" = u64, description = "The most memory at once"),
                ("Cofferdam-Truncated" = String, description = "Names the streams that were cut off"),
            ),
        ),
        (status = 422, description = "The run failed", body = crate::http::error::Problem),
    ),
)]
pub(crate) async fn run(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    request: Request,
) -> Result<Response, ApiError> {
    services.takes_work()?;
    let (parts, body) = request.into_parts();
    let module = path.module()?;
    let mut query = Query::of(&parts.uri)?;
    let limits = limits(&mut query, &parts.headers)?;
    let args = query.list("arg");
    let env = pairs(query.list("env"))?;
    query.done()?;
    check_words(&args, &env)?;
    let bytes = services.config.inline_body_bytes;
    let limit = BodyLimit::new(&services, bytes, "body_too_large", "the input");
    let input = Payload {
        content_type: Arc::from(guest::content_type(&parts.headers)),
        body: body::collect(&parts.headers, body, limit).await?,
    };
    let mut run = RunRequest::inline(module, input);
    (run.limits, run.args, run.env) = (limits, args, env);
    let report = services.runner.run_now(&caller, run).await?;
    match report.outcome {
        Outcome::Completed(output) => {
            let Streams {
                stdout,
                stderr,
                log,
            } = &report.streams;
            let mut response = completed(output, &report.usage);
            let truncated = [stdout.truncated, stderr.truncated, log.truncated];
            tell_truncated(response.headers_mut(), truncated);
            Ok(response)
        }
        Outcome::Failed(failure) => Err(failed(&failure, &report.usage, &report.streams)),
    }
}

fn completed(output: Payload, usage: &Usage) -> Response {
    let mut response = guest::answer(&output.content_type, Body::from(output.body));
    let headers = response.headers_mut();
    headers.insert(DURATION, HeaderValue::from(usage.duration_us()));
    headers.insert(PEAK_MEMORY, HeaderValue::from(usage.peak_memory_bytes));
    if let Some(fuel) = usage.fuel {
        headers.insert(FUEL_USED, HeaderValue::from(fuel));
    }
    response
}

fn failed(failure: &Failure, usage: &Usage, streams: &Streams) -> ApiError {
    failure_problem(failure)
        .with("usage", json!(UsageJson::from(usage)))
        .with("stdout", streams.stdout.text())
        .with("stderr", streams.stderr.text())
        .with("log", streams.log.text())
        .with(
            "truncated",
            json!({
                "stdout": streams.stdout.truncated,
                "stderr": streams.stderr.truncated,
                "log": streams.log.truncated,
            }),
        )
}

/// The limits a query or headers name; the query counts where both do.
fn limits(query: &mut Query<'_>, headers: &HeaderMap) -> Result<LimitRequest, ApiError> {
    let mut number =
        |name: &'static str, header: &'static str| match query.number(name, 1..=EXACT_MAX)? {
            Some(number) => Ok(Some(number)),
            None => header_number(headers, header),
        };
    Ok(LimitRequest {
        timeout: number("timeout_ms", "cofferdam-timeout-ms")?.map(Duration::from_millis),
        cpu: number("cpu_ms", "cofferdam-cpu-ms")?.map(Duration::from_millis),
        fuel: number("fuel", "cofferdam-fuel")?,
        memory_bytes: number("memory_bytes", "cofferdam-memory-bytes")?,
        ..LimitRequest::default()
    })
}

fn header_number(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?");
    query::number(text, &(1..=EXACT_MAX))
        .map(Some)
        .map_err(|detail| {
            ApiError::bad_request("invalid_header", format!("{name}: {detail}")).with("field", name)
        })
}

/// Reads `KEY=VALUE` pairs.
pub(crate) fn pairs(texts: Vec<String>) -> Result<Vec<(String, String)>, ApiError> {
    let pair = |text: String| {
        let pair = text
            .split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| ApiError::parameter("env", format_args!("{text:?} is not KEY=VALUE")))
    };
    texts.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_from_query_or_header_and_the_query_counts() {
        let uri = "/v1/run/x?timeout_ms=5".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("cofferdam-timeout-ms", HeaderValue::from_static("9"));
        headers.insert("cofferdam-fuel", HeaderValue::from_static("77"));
        let found = limits(&mut Query::of(&uri).unwrap(), &headers).unwrap();
        assert_eq!(found.timeout, Some(Duration::from_millis(5)));
        assert_eq!((found.fuel, found.memory_bytes), (Some(77), None));
        headers.insert("cofferdam-cpu-ms", HeaderValue::from_static("-1"));
        let error = limits(&mut Query::of(&uri).unwrap(), &headers).unwrap_err();
        assert_eq!(error.code(), "invalid_header");
    }
}
