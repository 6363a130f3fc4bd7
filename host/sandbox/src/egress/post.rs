//! Messages that the host itself sends: one request, of whose answer no more than the status and a hint for
//! later are of interest.
//!
//! The body of the answer is read as far as a limit, so that the other side need not notice a connection that
//! is cut, and thrown away. What goes wrong with it changes nothing: the status was said.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};

use super::connect;
use super::error::EgressError;
use super::exchange::{Driver, EgressBody};
use super::target::Target;
use super::{Egress, Pass, Waits};
use cofferdam_domain::grants::http::HostName;

/// What such requests call themselves.
const AGENT: &str = concat!("cofferdam/", env!("CARGO_PKG_VERSION"));

/// A message to another machine.
#[derive(Debug)]
pub struct Message<'m> {
    /// Where it is posted.
    pub url: &'m str,
    /// Its own headers, with names in lower case.
    pub headers: &'m [(&'static str, String)],
    /// Its body, which is JSON.
    pub body: Bytes,
}

/// What was said to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// For how long the other side asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Egress {
    /// Why no request to that host and port goes out, as far as that is known without its addresses.
    pub fn refusal(&self, host: &HostName, port: u16) -> Option<EgressError> {
        let target = Target {
            host: host.clone(),
            port,
            secure: false,
        };
        if !self.allows(&target) {
            return Some(EgressError::NotAllowed(target.place()));
        }
        match host {
            HostName::Address(address) => connect::check(self.config(), &target, *address).err(),
            HostName::Name(_) => None,
        }
    }

    /// Posts a message, reads at most `answer_bytes` of the answer's body, and takes no longer than `timeout`
    /// for all of it.
    pub async fn post(
        &self,
        pass: &Pass,
        message: Message<'_>,
        answer_bytes: usize,
        timeout: Duration,
    ) -> Result<Answer, EgressError> {
        let request = request(message)?;
        let waits = Waits {
            connect: None,
            whole: Some(timeout),
        };
        let (answer, driver) = self.send(pass, request, waits).await?;
        let (head, body) = answer.into_parts();
        read(body, driver, answer_bytes).await;
        let seconds = head.headers.get(RETRY_AFTER);
        let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: seconds.map(Duration::from_secs),
        })
    }
}

fn request(message: Message<'_>) -> Result<Request<Full<Bytes>>, EgressError> {
    let bad = |error: http::Error| EgressError::BadTarget(error.to_string());
    let mut request = Request::post(message.url)
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, message.body.len())
        .header(USER_AGENT, AGENT);
    for (name, value) in message.headers {
        let value = HeaderValue::from_str(value).map_err(|error| bad(error.into()))?;
        request = request.header(HeaderName::from_static(name), value);
    }
    request.body(Full::new(message.body)).map_err(bad)
}

/// Reads a body as far as it goes, or so many bytes of it.
async fn read(mut body: EgressBody, mut driver: Driver, most: usize) {
    let (mut left, mut is_over) = (most, false);
    while left > 0 {
        tokio::select! {
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    left = left.saturating_sub(bytes);
                }
                Some(Err(_)) | None => return,
            },
            () = &mut driver, if !is_over => is_over = true,
        }
    }
}
