//! A client that returns the server's answer, whatever it is.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, http};

/// How long any one call may take before the test fails.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: status {} {}", self.status, self.text()))
    }

    /// A header as text; empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Fails the test unless the status is this.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Fails the test unless this is a problem of that status and code.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        problem
    }
}

/// A client of one host.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    pub(crate) base: String,
}

impl Client {
    pub(crate) fn new(base: String) -> Client {
        Client::with(base, TlsConfig::default())
    }

    /// A client that trusts this authority and no other.
    #[track_caller]
    pub(crate) fn trusting(base: String, authority: &str) -> Client {
        let authority = Certificate::from_pem(authority.as_bytes()).expect("a certificate");
        let roots = RootCerts::new_with_certs(&[authority]);
        Client::with(base, TlsConfig::builder().root_certs(roots).build())
    }

    fn with(base: String, tls: TlsConfig) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(CALL_TIMEOUT))
            .tls_config(tls)
            .build();
        Client {
            agent: config.into(),
            base,
        }
    }

    /// Sends a request; `Err` if there was no answer.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .agent
            .run(request.body(body.to_vec()).expect("the test's request"))?;
        let (parts, body) = response.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes)?;
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: bytes,
        })
    }

    /// GETs an answer that arrives piece by piece. The answer has begun when this returns, and the
    /// caller reads the rest.
    #[track_caller]
    pub(crate) fn open(&self, path: &str, headers: &[(&str, &str)]) -> (u16, impl Read + use<>) {
        let mut request = http::Request::builder().uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Vec::new()).expect("the test's request");
        let response = self.agent.run(request);
        let response = response.unwrap_or_else(|error| panic!("GET {path}: {error}"));
        (
            response.status().as_u16(),
            response.into_body().into_reader(),
        )
    }

    /// Sends a request that must be answered.
    #[track_caller]
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], &[])
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], &[])
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, json: &Value) -> Answer {
        self.send(
            "POST",
            path,
            &[("content-type", "application/json")],
            json.to_string().as_bytes(),
        )
    }

    /// Uploads a module: wasm by its magic, else WAT.
    #[track_caller]
    pub(crate) fn put_module(&self, name: &str, bytes: &[u8]) -> Answer {
        let kind = if bytes.starts_with(b"\0asm") {
            "application/wasm"
        } else {
            "text/wat"
        };
        self.send(
            "PUT",
            &format!("/v1/modules/{name}"),
            &[("content-type", kind)],
            bytes,
        )
    }

    /// Runs a module at once with these bytes.
    #[track_caller]
    pub(crate) fn run(&self, module_and_query: &str, content_type: &str, body: &[u8]) -> Answer {
        self.send(
            "POST",
            &format!("/v1/run/{module_and_query}"),
            &[("content-type", content_type)],
            body,
        )
    }

    /// Submits a task and returns its id.
    #[track_caller]
    pub(crate) fn submit(&self, task: &Value) -> String {
        let answer = self.post("/v1/tasks", task).expect(202).json();
        answer["task_id"]
            .as_str()
            .expect("a submitted task has an id")
            .to_owned()
    }

    /// Submits a task and returns it once it is final.
    #[track_caller]
    pub(crate) fn submit_and_wait(&self, task: &Value) -> Value {
        self.post("/v1/tasks?wait_ms=60000", task)
            .expect(200)
            .json()
    }

    #[track_caller]
    pub(crate) fn task(&self, id: &str) -> Value {
        self.get(&format!("/v1/tasks/{id}")).expect(200).json()
    }

    /// Follows a task's events until `wanted` is true of its JSON, and returns the JSON.
    #[track_caller]
    pub(crate) fn task_when(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + CALL_TIMEOUT;
        loop {
            let task = self.task(id);
            if wanted(&task) {
                return task;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "waited too long: {task}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The task once it is final.
    #[track_caller]
    pub(crate) fn final_task(&self, id: &str) -> Value {
        self.task_when(id, |task| {
            matches!(
                task["status"].as_str(),
                Some("completed" | "failed" | "cancelled")
            )
        })
    }
}
