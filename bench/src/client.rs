//! Single requests: set-up, polling, and calls that are timed one by one. `wrk` makes the load.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use ureq::tls::TlsConfig;
use ureq::{Agent, RequestBuilder};

/// Every answer of a benchmark takes less; the slowest is `/v1/run` of a busy guest.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a server that is not ready is asked again.
const ASK_EVERY: Duration = Duration::from_millis(1);

/// One kept-alive connection to a server.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    /// The API key that it shows, if any.
    key: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Where a run took place, and for how long, if the answer says so.
    pub(crate) isolation: Option<String>,
    pub(crate) duration_us: Option<f64>,
}

impl Answer {
    /// The body as JSON; an error unless the status is one of `expected`.
    pub(crate) fn json(&self, expected: &[u16]) -> anyhow::Result<Value> {
        ensure!(
            expected.contains(&self.status),
            "status {}: {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        serde_json::from_slice(&self.body).context("the answer is not JSON")
    }
}

impl Client {
    /// A client of the server at `base`.
    pub(crate) fn new(base: &str) -> Client {
        // Nobody vouches for the certificates that benchmarks make.
        let tls = TlsConfig::builder().disable_verification(true).build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .tls_config(tls)
            .build()
            .new_agent();
        Client {
            agent,
            base: base.to_owned(),
            key: None,
        }
    }

    /// The same with an API key.
    pub(crate) fn with_key(&self, key: &str) -> Client {
        Client {
            key: Some(key.to_owned()),
            ..self.clone()
        }
    }

    /// A request with the key.
    fn keyed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    /// The whole address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let request = self.keyed(self.agent.get(self.url(path)));
        read(request.header("accept", "application/json").call())
    }

    /// GET as a browser asks: whatever form, compressed.
    pub(crate) fn get_as_browser(&self, path: &str) -> anyhow::Result<Answer> {
        let request = self.keyed(self.agent.get(self.url(path)));
        let request = request.header("accept", "*/*");
        read(
            request
                .header("accept-encoding", "gzip, deflate, br, zstd")
                .call(),
        )
    }

    /// DELETE.
    pub(crate) fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        read(self.keyed(self.agent.delete(self.url(path))).call())
    }

    /// POST.
    pub(crate) fn post(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let request = self.keyed(self.agent.post(self.url(path)));
        read(request.content_type(content_type).send(body))
    }

    /// PUT.
    pub(crate) fn put(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let request = self.keyed(self.agent.put(self.url(path)));
        read(request.content_type(content_type).send(body))
    }

    /// Asks until the answer is 200, at most for `patience`.
    pub(crate) fn await_ok(&self, path: &str, patience: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let last = match self.get(path) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => format!(
                    "status {}: {}",
                    answer.status,
                    String::from_utf8_lossy(&answer.body)
                ),
                Err(error) => format!("{error:#}"),
            };
            if started.elapsed() > patience {
                bail!(
                    "{} was not answered with 200 within {patience:?}: {last}",
                    self.url(path)
                );
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
}

fn read(response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Answer> {
    let mut response = response?;
    let told = |name: &str| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let (isolation, duration) = (told("cofferdam-isolation"), told("cofferdam-duration-us"));
    Ok(Answer {
        isolation,
        duration_us: duration.and_then(|duration| duration.parse().ok()),
        status: response.status().as_u16(),
        body: response.body_mut().read_to_vec()?,
    })
}
