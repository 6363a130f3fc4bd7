//! HTTP requests to other machines (feature `http`), where the run was granted them in `grants.http`.
//!
//! ```
//! use cofferdam_guest::testing::Context;
//! use cofferdam_guest::{Failure, ResultExt, http};
//!
//! #[cofferdam_guest::task]
//! fn length(url: String) -> Result<usize, Failure> {
//!     let answer = http::get(url).header("accept", "text/plain").send().transient()?;
//!     Ok(answer.body.len())
//! }
//!
//! let context = Context::new().answers(|request| {
//!     assert_eq!((&*request.method, &*request.url), ("GET", "http://api.example/a"));
//!     Ok(http::Response::new(200, "four"))
//! });
//! assert_eq!(context.run::<length>(r#""http://api.example/a""#).unwrap().body, b"4");
//! ```
//!
//! The host decides where requests may go, resolves names and speaks TLS. It follows no redirects and unpacks no
//! bodies: both come back as they are.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host;

/// A request that is sent by [`Request::send`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How long to wait for the connection, for the head of the answer, and between two pieces of it; as long as
    /// the host allows if it is not set.
    pub timeout: Option<Duration>,
}

/// The answer to a request, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The run has no grant for it: name the host in `grants.http`.
    Denied(String),
    /// The host is at an address that is not reached from there.
    Prohibited(String),
    /// The URL, the method or a header is none.
    Invalid(String),
    /// It did not answer in time.
    Timeout(String),
    /// Anything else that went wrong on the way.
    Failed(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Denied(about) => {
                write!(f, "no grant has {about}; name the host in `grants.http`")
            }
            Error::Prohibited(about) => {
                write!(
                    f,
                    "{about}: the host is at an address that is not reached from here"
                )
            }
            Error::Invalid(what) => f.write_str(what),
            Error::Timeout(about) => write!(f, "{about}: no answer in time"),
            Error::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

/// A GET request.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A POST request with this body.
pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    Request::new("POST", url).body(body)
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Request {
        Request {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Sets the body and its type.
    ///
    /// # Panics
    ///
    /// If the value has no form in JSON, such as a map whose keys are not text.
    #[must_use]
    pub fn json(self, value: &impl Serialize) -> Request {
        let body = serde_json::to_vec(value).expect("the value has a form in JSON");
        self.header("content-type", "application/json").body(body)
    }

    /// Sets how long to wait.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the whole answer. In a native test the context answers.
    pub fn send(&self) -> Result<Response, Error> {
        host::send(self)
    }

    /// Method and URL, for messages.
    #[cfg_attr(
        not(target_arch = "wasm32"),
        allow(dead_code, reason = "natively a test answers")
    )]
    pub(crate) fn about(&self) -> String {
        format!("{} {}", self.method, self.url)
    }
}

impl Response {
    /// An answer without headers, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Response {
        Response {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}
