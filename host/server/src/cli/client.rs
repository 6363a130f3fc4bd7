//! A small client of the HTTP API: of a server, or of a host inside this process.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, http};

use crate::app::{Interrupted, Local};
use crate::cli::{DEFAULT_SERVER, Usage};

/// How long the server may take to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The body size from which the client waits for the server's consent before it sends.
const ASKED_FIRST_BYTES: usize = 1024 * 1024;
/// The largest answer that is read into memory.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// The API of one host.
pub(super) struct Client {
    host: Host,
}

enum Host {
    Server(Server),
    Here(Box<Local>),
}

/// A server and how to reach it.
struct Server {
    agent: Agent,
    base: String,
    key: Option<String>,
}

/// Why there was no answer, or a refusal.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens there.
    #[error(
        "no server answers at {base} ({cause}): start one with `cofferdam serve`, or name another \
         with --server or COFFERDAM_SERVER"
    )]
    Unreachable { base: String, cause: String },
    /// Somebody answers, and nobody who is trusted vouches for it.
    #[error(
        "{base} cannot be believed to be the server ({cause}): --ca or COFFERDAM_CA names a file with the \
         authority that vouches for it"
    )]
    Untrusted { base: String, cause: String },
    /// The connection broke.
    #[error(
        "the connection to {base} broke ({cause}); it is unknown whether the server \
         handled the request"
    )]
    Broken { base: String, cause: String },
    /// An answer that is a problem, unchanged.
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
    /// A client of the server at `base`, which the authorities in `ca` vouch for, or those of the web.
    pub(super) fn new(
        base: &str,
        key: Option<String>,
        ca: Option<&Path>,
    ) -> anyhow::Result<Client> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .tls_config(match ca {
                Some(path) => TlsConfig::builder().root_certs(authorities(path)?).build(),
                None => TlsConfig::default(),
            })
            .build();
        let server = Server {
            agent: config.into(),
            base: address(base)?,
            key,
        };
        Ok(Client {
            host: Host::Server(server),
        })
    }

    /// A client of a host inside this process.
    pub(super) fn here(local: Local) -> Client {
        Client {
            host: Host::Here(Box::new(local)),
        }
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

    /// Sends `body` and returns the answer, unless it is a problem.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Answer> {
        let answer = match &self.host {
            Host::Server(server) => server.send(method, path, headers, body)?,
            Host::Here(local) => {
                let (status, body) = local.answer(method, path, headers, body)?;
                Answer { status, body }
            }
        };
        match answer.status {
            400.. => Err(problem(answer).into()),
            _ => Ok(answer),
        }
    }

    /// Sends `body` for an answer that is read as it comes, without an end in sight.
    pub(super) fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Box<dyn Read + '_>> {
        match &self.host {
            Host::Server(server) => {
                let response = server.respond(method, path, headers, body)?;
                if response.status().as_u16() >= 400 {
                    return Err(problem(server.read(response)?).into());
                }
                Ok(Box::new(response.into_body().into_reader()))
            }
            Host::Here(local) => {
                let (status, mut stream) = local.stream(method, path, headers, body)?;
                if status >= 400 {
                    let mut body = Vec::new();
                    stream.read_to_end(&mut body).map_err(cause)?;
                    return Err(problem(Answer { status, body }).into());
                }
                Ok(Box::new(stream))
            }
        }
    }
}

impl Server {
    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<Answer> {
        let response = self.respond(method, path, headers, body)?;
        Ok(self.read(response)?)
    }

    fn respond(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<http::Response<Body>> {
        let url = format!("{}{path}", self.base);
        let mut request = http::Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // A server that refuses a large body does so at once and closes the connection; its answer
        // would be lost while the rest is being sent.
        if body.len() > ASKED_FIRST_BYTES {
            request = request.header("expect", "100-continue");
        }
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let request = request
            .body(body)
            .map_err(|error| Usage(format!("{url} cannot be requested: {error}")))?;
        Ok(self
            .agent
            .run(request)
            .map_err(|error| self.failed(&error))?)
    }

    fn read(&self, response: http::Response<Body>) -> Result<Answer, ClientError> {
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(ANSWER_BYTES_MAX);
        match reader.read_to_end(&mut body) {
            Ok(_) => Ok(Answer { status, body }),
            Err(error) => Err(ClientError::Broken {
                base: self.base.clone(),
                cause: error.to_string(),
            }),
        }
    }

    /// Whether the server could not be reached, or the connection broke.
    fn failed(&self, error: &ureq::Error) -> ClientError {
        let (base, cause) = (self.base.clone(), error.to_string());
        if is_of_tls(error) {
            return ClientError::Untrusted { base, cause };
        }
        let never = if let ureq::Error::Io(error) = error {
            matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::HostUnreachable
                    | std::io::ErrorKind::NetworkUnreachable
                    | std::io::ErrorKind::AddrNotAvailable
                    | std::io::ErrorKind::PermissionDenied
            )
        } else {
            matches!(
                error,
                ureq::Error::ConnectionFailed
                    | ureq::Error::HostNotFound
                    | ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
            )
        };
        match never {
            true => ClientError::Unreachable { base, cause },
            false => ClientError::Broken { base, cause },
        }
    }
}

/// Whether HTTPS could not begin.
fn is_of_tls(error: &ureq::Error) -> bool {
    // The handshake takes place where something is first sent.
    if let ureq::Error::Io(error) = error {
        let inner = error.get_ref();
        return inner.is_some_and(|inner| inner.is::<rustls::Error>());
    }
    matches!(error, ureq::Error::Rustls(_) | ureq::Error::Tls(_))
}

/// The authorities of a file.
fn authorities(path: &Path) -> anyhow::Result<RootCerts> {
    let unusable = |why: String| Usage(format!("--ca {}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(found) = item.map_err(|error| unusable(error.to_string()))? {
            certificates.push(found);
        }
    }
    match certificates.is_empty() {
        true => Err(unusable("it contains no certificate".to_owned()).into()),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}

/// The address of a server, as a prefix of every path.
fn address(text: &str) -> anyhow::Result<String> {
    let refused = |why: &str| Usage(format!("--server {text}: {why}, as in {DEFAULT_SERVER}"));
    let rest = match text.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        Some(_) => return Err(refused("an address begins with http:// or https://").into()),
        None if text.starts_with(char::is_alphanumeric) && text.contains(':') => {
            let meant = format!("an address begins with http://; write --server http://{text}");
            return Err(Usage(format!("--server {text}: {meant}")).into());
        }
        None => return Err(refused("an address begins with http:// or https://").into()),
    };
    let base = text.trim_end_matches('/');
    let parsed: Result<http::Uri, _> = text.parse();
    match parsed {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) && !rest.contains('?') => {
            Ok(base.to_owned())
        }
        _ => Err(refused("an address names a host, and a port if it is not the usual one").into()),
    }
}

/// Why an answer could not be read on.
pub(super) fn cause(error: std::io::Error) -> anyhow::Error {
    match error
        .get_ref()
        .is_some_and(|inner| inner.is::<Interrupted>())
    {
        true => Interrupted.into(),
        false => anyhow::Error::new(error).context("the connection broke while the code ran"),
    }
}

/// What an answer says that is a problem.
pub(super) fn problem(answer: Answer) -> ClientError {
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

/// A user's text as a part of a path or as a value of a query.
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
