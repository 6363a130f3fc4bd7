//! A client of the HTTP API, as small as the commands need.

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use ureq::{Agent, Body, http};

use crate::cli::Usage;

/// How long the server may take to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// From what size on the server is asked before a body is sent.
const ASKED_FIRST_BYTES: usize = 1024 * 1024;
/// The largest answer that is read into memory.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// The API of one server.
pub(super) struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

/// Why the server gave no answer, or none that was wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// No connection, or it broke.
    #[error("{url} could not be reached: {cause}")]
    Unreachable { url: String, cause: String },
    /// An answer that is a problem, as it came.
    #[error("{code}: {detail}")]
    Refused {
        code: String,
        detail: String,
        body: Vec<u8>,
    },
}

/// An answer: its status and its whole body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the server's answer is not JSON")
    }
}

impl Client {
    /// A client of the server at `base`.
    pub(super) fn new(base: &str, key: Option<String>) -> anyhow::Result<Client> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .build();
        Ok(Client {
            agent: config.into(),
            base: base.trim_end_matches('/').to_owned(),
            key,
        })
    }

    /// GETs a path.
    pub(super) fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send("GET", path, &[], Vec::new())
    }

    /// DELETEs a path.
    pub(super) fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send("DELETE", path, &[], Vec::new())
    }

    /// POSTs JSON.
    pub(super) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        json: &Value,
    ) -> anyhow::Result<Answer> {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.send("POST", path, &all, json.to_string().into_bytes())
    }

    /// Sends `body` and gives the answer, unless it is a problem.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = http::Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // A server that refuses a large body does so at once and hangs up; what it said would be lost
        // while the rest is still being sent.
        if body.len() > ASKED_FIRST_BYTES {
            request = request.header("expect", "100-continue");
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = request
            .body(body)
            .map_err(|error| Usage(format!("{url} cannot be asked for: {error}")))?;
        let response = self
            .agent
            .run(request)
            .map_err(|cause| ClientError::Unreachable {
                url: url.clone(),
                cause: cause.to_string(),
            })?;
        let answer = read(response).map_err(|cause| ClientError::Unreachable {
            url,
            cause: cause.to_string(),
        })?;
        if answer.status >= 400 {
            return Err(problem(answer).into());
        }
        Ok(answer)
    }
}

fn read(response: http::Response<Body>) -> std::io::Result<Answer> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    response
        .into_body()
        .into_reader()
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut body)?;
    Ok(Answer { status, body })
}

fn problem(answer: Answer) -> ClientError {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |field: &str| json.get(field).and_then(Value::as_str).map(str::to_owned);
    ClientError::Refused {
        code: text("code").unwrap_or_else(|| format!("status {}", answer.status)),
        detail: text("detail")
            .or_else(|| text("title"))
            .unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned()),
        body: answer.body,
    }
}

/// A user's word as a part of a path or as a value of a query.
pub(super) fn encoded(word: &str) -> String {
    let mut text = String::with_capacity(word.len());
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/@:,".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
