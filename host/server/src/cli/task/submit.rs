//! `cofferdam task submit`: from flags to the API's JSON.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::cli::client::{Client, encoded};
use crate::cli::{Usage, output, outward, units};
use cofferdam_domain::grants::http::HttpGrant;
use cofferdam_domain::isolation::Isolation;

/// A task as flags.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The module: a name, or name@sha256:… for one version.
    #[arg(required_unless_present = "batch")]
    module: Option<String>,
    /// Submit many tasks at once, all or none: a JSON array of them, or one on each line, with the
    /// API's fields; - for standard input. Prints the batch's id.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["module", "input", "data", "env", "priority",
        "delay", "timeout", "cpu", "fuel", "memory", "disk", "max_attempts", "dir", "http", "isolation", "cache", "requires", "preferred_worker", "callback", "dedup_key", "wait"])]
    batch: Option<String>,
    /// How many tasks of the batch may be under way at once, over all hosts [default: no limit].
    #[arg(long, requires = "batch", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    parallelism: Option<u32>,
    /// The input: a file, or - for standard input.
    #[arg(long, value_name = "FILE")]
    input: Option<String>,
    /// The input as JSON text.
    #[arg(long, conflicts_with = "input", value_name = "JSON")]
    data: Option<String>,
    /// The input's media type.
    #[arg(long, default_value = "application/json", value_name = "TYPE")]
    content_type: String,
    /// An environment variable.
    #[arg(long, value_parser = units::pair, value_name = "K=V")]
    env: Vec<(String, String)>,
    /// critical, high, normal or low [default: normal].
    #[arg(long)]
    priority: Option<String>,
    /// How long the task must wait first, as 250ms, 5s, 2m or 1h [default: no wait].
    #[arg(long, value_parser = units::duration, value_name = "DURATION")]
    delay: Option<Duration>,
    /// Wall-clock limit, as 250ms, 5s, 2m or 1h [default: the host's, 30s].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    timeout: Option<Duration>,
    /// CPU-time limit, as 250ms, 5s, 2m or 1h [default: the host's, 10s].
    #[arg(long, value_parser = units::duration_limit, value_name = "DURATION")]
    cpu: Option<Duration>,
    /// Fuel limit, about one unit per instruction; uses the metered, deterministic engine [default:
    /// none].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    fuel: Option<u64>,
    /// Memory limit, as 64KiB, 128MiB or 1GiB [default: the host's, 128MiB].
    #[arg(long, value_parser = units::bytes_limit, value_name = "SIZE")]
    memory: Option<u64>,
    /// Limit on the files it writes, as 64KiB, 128MiB or 1GiB [default: the host's, 64MiB].
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    disk: Option<u64>,
    /// Limit of the output, as 64KiB, 4MiB or 1GiB [default: the host's, 4MiB].
    #[arg(long, value_parser = units::bytes, value_name = "SIZE")]
    output: Option<u64>,
    /// Attempts in all, where a failure says that another makes sense [default: 1].
    #[arg(long)]
    max_attempts: Option<u32>,
    /// A directory the operator configured, and where the guest sees it.
    #[arg(long, value_name = "NAME:/PATH")]
    dir: Vec<String>,
    /// A host that it may send HTTP requests to, of those that the server allows.
    #[arg(long, value_parser = outward::http_grant, value_name = "HOST[:PORT]")]
    http: Vec<HttpGrant>,
    /// shared, process or dedicated: whether it runs in the host's process, in a jailed one, or in one for
    /// itself [default: the host's].
    #[arg(long, value_parser = units::isolation, value_name = "WORD")]
    isolation: Option<Isolation>,
    /// Take the result of an earlier task or run that was the same and is no older than this, as 250ms, 5s, 2m or
    /// 1h, and keep that of this one for as long.
    #[arg(long, value_parser = units::duration, value_name = "DURATION")]
    cache: Option<Duration>,
    /// A capability the worker must have, or group:NAME. May be repeated.
    #[arg(long, value_name = "CAPABILITY")]
    requires: Vec<String>,
    /// The worker, by id or by name, that the task is for at first.
    #[arg(long, value_name = "WORKER")]
    preferred_worker: Option<String>,
    /// Where its end is posted, at a host that the operator lists.
    #[arg(long, value_name = "URL")]
    callback: Option<String>,
    /// The secret with which the callback is signed.
    #[arg(long, value_name = "NAME", requires = "callback")]
    callback_secret: Option<String>,
    /// An end that the callback is told: completed, failed or cancelled. May be repeated [default: all].
    #[arg(long, value_name = "END", requires = "callback")]
    callback_on: Vec<String>,
    /// The idempotency key: a repeated submission gives the same task.
    #[arg(long)]
    idempotency_key: Option<String>,
    /// At most one task has this key within the host's window (dedup_window_ms, a minute by
    /// default).
    #[arg(long)]
    dedup_key: Option<String>,
    /// Wait until the task is final and write its result. The id goes to standard error first.
    #[arg(long)]
    wait: bool,
    /// Arguments, for commands; those that begin with a dash come after `--`.
    #[arg(trailing_var_arg = true)]
    args: Vec<String>,
}

impl Submit {
    fn module(&self) -> &str {
        self.module
            .as_deref()
            .expect("the module is required where there is no batch")
    }

    /// Whether it asks for no grant.
    fn is_plain(&self) -> bool {
        self.dir.is_empty() && self.http.is_empty()
    }
}

/// The largest input that is sent inside the JSON. A larger one is sent raw, which a server accepts
/// in any size; directories and hosts cannot be requested then.
const INLINE_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn submit(command: Submit, client: &Client, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(file) = &command.batch {
        let key = command.idempotency_key.as_deref();
        return super::batch::submit(file, command.parallelism, key, client, json);
    }
    let input = read(&command)?;
    let key = command
        .idempotency_key
        .as_deref()
        .map(|key| ("idempotency-key", key));
    let mut headers: Vec<(&str, &str)> = key.into_iter().collect();
    let answer = match input {
        Some(bytes) if bytes.len() > INLINE_BYTES_MAX && command.is_plain() => {
            headers.push(("content-type", &command.content_type));
            client.send("POST", &raw_path(&command), &headers, bytes)?
        }
        input => client.post("/v1/tasks", &headers, &body(&command, input)?)?,
    };
    let answer = answer.told()?;
    let id = super::text(&answer, "task_id");
    if command.wait {
        // A user who interrupts the wait can find the task again.
        output::error_bytes(format!("task {id}\n").as_bytes());
        return super::wait(client, &id, None, json);
    }
    if json {
        output::line(answer.as_it_came());
    } else {
        output::line(&id);
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything but the input, as a query.
fn raw_path(command: &Submit) -> String {
    let mut path = format!("/v1/tasks?module={}", encoded(command.module()));
    let mut put = |name: &str, value: &str| {
        path.push_str(&format!("&{name}={}", encoded(value)));
    };
    for arg in &command.args {
        put("arg", arg);
    }
    for capability in &command.requires {
        put("requires", capability);
    }
    for (key, value) in &command.env {
        put("env", &format!("{key}={value}"));
    }
    if let Some(isolation) = command.isolation {
        put("isolation", isolation.as_str());
    }
    if let Some(ttl) = command.cache {
        put("cache_ttl_ms", &units::millis(ttl).to_string());
    }
    let texts = [
        ("priority", &command.priority),
        ("dedup_key", &command.dedup_key),
        ("preferred_worker", &command.preferred_worker),
        ("callback_url", &command.callback),
        ("callback_secret_name", &command.callback_secret),
    ];
    for end in &command.callback_on {
        put("callback_on", end);
    }
    for (name, value) in texts {
        value.iter().for_each(|value| put(name, value));
    }
    let mut numbers = limits(command);
    if let Some(delay) = command.delay {
        numbers.insert("delay_ms".to_owned(), units::millis(delay));
    }
    if let Some(max_attempts) = command.max_attempts {
        numbers.insert("max_attempts".to_owned(), json!(max_attempts));
    }
    for (name, number) in numbers {
        put(&name, &number.to_string());
    }
    path
}

fn body(command: &Submit, input: Option<Vec<u8>>) -> anyhow::Result<Value> {
    let mut body = Map::new();
    let mut put = |field: &str, value: Value| body.insert(field.to_owned(), value);
    put("module", json!(command.module()));
    put("args", json!(command.args));
    put("requires", json!(command.requires));
    put(
        "env",
        json!(
            command
                .env
                .iter()
                .cloned()
                .collect::<std::collections::BTreeMap<_, _>>()
        ),
    );
    for (field, value) in [
        ("priority", &command.priority),
        ("dedup_key", &command.dedup_key),
        ("preferred_worker", &command.preferred_worker),
    ] {
        if let Some(value) = value {
            put(field, json!(value));
        }
    }
    if let Some(isolation) = command.isolation {
        put("isolation", json!(isolation.as_str()));
    }
    if let Some(ttl) = command.cache {
        put("cache", json!({"ttl_ms": units::millis(ttl)}));
    }
    if let Some(callback) = callback(command) {
        put("callback", callback);
    }
    if let Some(delay) = command.delay {
        put("delay_ms", units::millis(delay));
    }
    if let Some(max_attempts) = command.max_attempts {
        put("retry", json!({ "max_attempts": max_attempts }));
    }
    put("limits", Value::Object(limits(command)));
    let http = outward::hosts(&command.http);
    put(
        "grants",
        json!({ "dirs": dirs(&command.dir)?, "http": http }),
    );
    for (field, value) in fields(command, input)? {
        put(field, value);
    }
    Ok(Value::Object(body))
}

fn callback(command: &Submit) -> Option<Value> {
    let mut callback = Map::new();
    callback.insert("url".to_owned(), json!(command.callback.as_ref()?));
    if let Some(secret) = &command.callback_secret {
        callback.insert("secret_name".to_owned(), json!(secret));
    }
    if !command.callback_on.is_empty() {
        callback.insert("on".to_owned(), json!(command.callback_on));
    }
    Some(Value::Object(callback))
}

fn limits(command: &Submit) -> Map<String, Value> {
    let mut limits = Map::new();
    let times = [("timeout_ms", command.timeout), ("cpu_ms", command.cpu)];
    let sizes = [
        ("fuel", command.fuel),
        ("memory_bytes", command.memory),
        ("disk_bytes", command.disk),
        ("output_bytes", command.output),
    ];
    limits.extend(
        times
            .iter()
            .filter_map(|(field, value)| Some(((*field).to_owned(), units::millis((*value)?)))),
    );
    limits.extend(
        sizes
            .iter()
            .filter_map(|(field, value)| Some(((*field).to_owned(), json!((*value)?)))),
    );
    limits
}

fn dirs(flags: &[String]) -> anyhow::Result<Vec<Value>> {
    flags
        .iter()
        .map(|flag| match flag.split_once(':') {
            Some((name, at)) => Ok(json!({ "name": name, "at": at })),
            None => Err(Usage(format!("--dir {flag}: write NAME:/PATH")).into()),
        })
        .collect()
}

fn read(command: &Submit) -> anyhow::Result<Option<Vec<u8>>> {
    let bytes = match (&command.data, command.input.as_deref()) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, None) => return Ok(None),
        (None, Some("-")) => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .context("standard input cannot be read")?;
            bytes
        }
        (None, Some(file)) => {
            std::fs::read(file).with_context(|| format!("{file} cannot be read"))?
        }
    };
    Ok(Some(bytes))
}

/// The fields with the input, byte for byte: parsing and writing JSON again would round its
/// numbers.
fn fields(command: &Submit, input: Option<Vec<u8>>) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let Some(bytes) = input else {
        return Ok(Vec::new());
    };
    if command.content_type == "application/json" {
        serde_json::from_slice::<IgnoredAny>(&bytes)
            .map_err(|error| Usage(format!("the input is not JSON: {error}")))?;
    }
    Ok(vec![
        ("input_base64", json!(STANDARD.encode(bytes))),
        ("content_type", json!(command.content_type)),
    ])
}
