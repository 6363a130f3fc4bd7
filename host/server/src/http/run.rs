//! Runs at once: a guest's answer to one request, without the queue and without storage.
//!
//! This is the hot path. It parses no more than it must, and its answer carries few headers.

use std::ops::RangeInclusive;
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
use crate::http::path::PathParts;
use crate::http::tasks::output::tell_truncated;
use crate::http::tasks::wire::UsageJson;
use crate::http::{AppState, guest};
use crate::intake::query::{self, Query};
use crate::intake::{limits, words};
use cofferdam::runner::RunRequest;
use cofferdam_domain::attempt::{Failure, Outcome, Payload, Streams, Usage};
use cofferdam_domain::cache::CacheUse;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::LimitRequest;

/// Where a result came from that was asked of the cache, and how old it may be.
pub(crate) const CACHE: HeaderName = HeaderName::from_static("cofferdam-cache");
const CACHE_TTL: &str = "cofferdam-cache-ttl-ms";
const ISOLATION: HeaderName = HeaderName::from_static("cofferdam-isolation");
const DURATION: HeaderName = HeaderName::from_static("cofferdam-duration-us");
const FUEL_USED: HeaderName = HeaderName::from_static("cofferdam-fuel-used");
const PEAK_MEMORY: HeaderName = HeaderName::from_static("cofferdam-peak-memory-bytes");

/// Run a module at once
///
/// The body is the raw input with its content type; the answer is the raw output with its own.
/// Limits are query parameters, or headers such as `Cofferdam-Timeout-Ms`; `isolation` as well. A run that fails is
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
        ("isolation" = Option<String>, Query, pattern = "^(shared|process|dedicated)$", description = "Whether it runs in the host's process, in a jailed one, or in one that it has for itself, where its loops have no checks; the host may want more than is asked for"),
        ("Cofferdam-Isolation" = Option<String>, Header, pattern = "^(shared|process|dedicated)$", description = "As isolation"),
        ("cache_ttl_ms" = Option<u64>, Query, minimum = 1, maximum = 604_800_000, description = "Takes the result of an earlier run that was the same and is no older than this, and keeps that of this one for as long"),
        ("Cofferdam-Cache-Ttl-Ms" = Option<u64>, Header, minimum = 1, maximum = 604_800_000, description = "As cache_ttl_ms"),
        ("arg" = Option<Vec<String>>, Query, description = "An argument, for commands; may be repeated"),
        ("env" = Option<Vec<String>>, Query, description = "KEY=VALUE; may be repeated"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The input, of any content type"),
    responses(
        (
            status = 200, description = "The output, with its own content type",
            body = Vec<u8>, content_type = "application/octet-stream",
            headers(
                ("Cofferdam-Cache" = String, description = "Where the result came from, if the cache was asked: hit, miss or joined"),
                ("Cofferdam-Duration-Us" = u64, description = "Wall-clock time"),
                ("Cofferdam-Fuel-Used" = u64, description = "Fuel, if it was limited"),
                ("Cofferdam-Isolation" = String, description = "Where it ran: shared, process or dedicated"),
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
    let mut query = Query::of(parts.uri.query())?;
    let limits = limits(&mut query, &parts.headers)?;
    let isolation = isolation(&mut query, &parts.headers)?;
    let cache_ttl = cache_ttl(&mut query, &parts.headers)?;
    let args = query.list("arg");
    let env = words::pairs(query.list("env"))?;
    query.done()?;
    words::check(&args, &env)?;
    let bytes = services.config.inline_body_bytes;
    let limit = BodyLimit::new(&services, bytes, "body_too_large", "the input");
    let input = Payload {
        content_type: Arc::from(guest::content_type(&parts.headers)),
        body: body::collect(&parts.headers, body, limit).await?,
    };
    let mut run = RunRequest::inline(module, input);
    (run.limits, run.isolation, run.cache_ttl) = (limits, isolation, cache_ttl);
    (run.args, run.env) = (args, env);
    let (report, cache) = services.runner.run_now(&caller, run).await?;
    match report.outcome {
        Outcome::Completed(output) => {
            let Streams {
                stdout,
                stderr,
                log,
            } = &report.streams;
            let mut response = completed(output, &report.usage, report.isolation);
            let truncated = [stdout.truncated, stderr.truncated, log.truncated];
            tell_truncated(response.headers_mut(), truncated);
            tell_cache(response.headers_mut(), cache);
            Ok(response)
        }
        Outcome::Failed(failure) => {
            let problem = failed(&failure, &report.usage, &report.streams);
            let isolation = report.isolation.map(Isolation::as_str);
            Err(problem.with("isolation", json!(isolation)))
        }
    }
}

fn completed(output: Payload, usage: &Usage, isolation: Option<Isolation>) -> Response {
    let mut response = guest::answer(&output.content_type, Body::from(output.body));
    let headers = response.headers_mut();
    headers.insert(DURATION, HeaderValue::from(usage.duration_us()));
    headers.insert(PEAK_MEMORY, HeaderValue::from(usage.peak_memory_bytes));
    if let Some(isolation) = isolation {
        headers.insert(ISOLATION, HeaderValue::from_static(isolation.as_str()));
    }
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

/// The limits in a query or in headers; the query counts if both have one.
pub(crate) fn limits(query: &mut Query<'_>, headers: &HeaderMap) -> Result<LimitRequest, ApiError> {
    limits::of_run(|name, range| match query.number(name, range.clone())? {
        Some(number) => Ok(Some(number)),
        None => header_number(headers, name, &range),
    })
}

/// How old a kept result may be, in a query or in a header; the query counts if both say so.
fn cache_ttl(query: &mut Query<'_>, headers: &HeaderMap) -> Result<Option<Duration>, ApiError> {
    let range = 1..=words::CACHE_TTL_MS_MAX;
    let asked = match query.number("cache_ttl_ms", range.clone())? {
        Some(number) => Some(number),
        None => number_of(headers, CACHE_TTL, &range)?,
    };
    Ok(asked.map(Duration::from_millis))
}

/// Says where a result came from, if the cache was asked.
pub(crate) fn tell_cache(headers: &mut HeaderMap, cache: Option<CacheUse>) {
    if let Some(cache) = cache {
        headers.insert(CACHE, HeaderValue::from_static(cache.as_str()));
    }
}

/// The isolation in a query or in a header; the query counts if both have one.
pub(crate) fn isolation(
    query: &mut Query<'_>,
    headers: &HeaderMap,
) -> Result<Option<Isolation>, ApiError> {
    let asked = query.parsed("isolation", words::ISOLATIONS, Isolation::parse)?;
    let (None, Some(value)) = (asked, headers.get(ISOLATION)) else {
        return Ok(asked);
    };
    let text = value.to_str().unwrap_or("?");
    let refused = || {
        let detail = format!("{ISOLATION}: {text:?} is not {}", words::ISOLATIONS);
        ApiError::bad_request("invalid_header", detail).with("field", ISOLATION.as_str())
    };
    Isolation::parse(text).map(Some).ok_or_else(refused)
}

/// The limits that may also be set by a header.
const LIMIT_HEADERS: [(&str, &str); 4] = [
    ("timeout_ms", "cofferdam-timeout-ms"),
    ("cpu_ms", "cofferdam-cpu-ms"),
    ("fuel", "cofferdam-fuel"),
    ("memory_bytes", "cofferdam-memory-bytes"),
];

fn header_number(
    headers: &HeaderMap,
    limit: &str,
    range: &RangeInclusive<u64>,
) -> Result<Option<u64>, ApiError> {
    let named = LIMIT_HEADERS.iter().find(|(name, _)| *name == limit);
    match named {
        Some((_, header)) => number_of(headers, header, range),
        None => Ok(None),
    }
}

fn number_of(
    headers: &HeaderMap,
    header: &'static str,
    range: &RangeInclusive<u64>,
) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?");
    query::number(text, range).map(Some).map_err(|detail| {
        let detail = format!("{header}: {detail}");
        ApiError::bad_request("invalid_header", detail).with("field", header)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_from_query_or_header_and_the_query_counts() {
        let mut headers = HeaderMap::new();
        headers.insert("cofferdam-timeout-ms", HeaderValue::from_static("9"));
        headers.insert("cofferdam-fuel", HeaderValue::from_static("77"));
        let found = limits(&mut Query::of(Some("timeout_ms=5")).unwrap(), &headers).unwrap();
        assert_eq!(found.timeout, Some(Duration::from_millis(5)));
        assert_eq!((found.fuel, found.memory_bytes), (Some(77), None));
        headers.insert("cofferdam-cpu-ms", HeaderValue::from_static("-1"));
        let error = limits(&mut Query::of(Some("timeout_ms=5")).unwrap(), &headers).unwrap_err();
        assert_eq!(error.code(), "invalid_header");
    }

    #[test]
    fn the_isolation_comes_from_query_or_header_and_the_query_counts() {
        let asked = |query: &'static str, header: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(word) = header {
                headers.insert(ISOLATION, HeaderValue::from_static(word));
            }
            let mut query = Query::of(Some(query)).unwrap();
            isolation(&mut query, &headers)
        };
        assert_eq!(asked("", None).unwrap(), None);
        let process = Some(Isolation::Process);
        assert_eq!(asked("", Some("process")).unwrap(), process);
        assert_eq!(asked("isolation=process", Some("shared")).unwrap(), process);
        for (bad, header, code) in [
            ("isolation=none", None, "invalid_parameter"),
            ("", Some("Process"), "invalid_header"),
        ] {
            let error = asked(bad, header).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.detail().contains("shared, process or dedicated"));
        }
    }
}
