//! One request to another host, and its answer.
//!
//! Each has a connection of its own, which lives in the answer's body: so nothing runs beside the request
//! that would have to be owned and ended, and a client that goes away takes the connection with it, by
//! which the other host learns of it. Between hosts of one network a connection costs a fraction of a
//! millisecond, and a request that only one host can answer costs more. Over HTTPS the first one costs a
//! handshake, and those after it resume it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{HeaderValue, Request, Response, Version};
use bytes::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use crate::http::tls::trust::Trust;
use cofferdam_domain::worker::Address;

/// How long it may take to connect, with the handshake of HTTPS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an answer that has begun may pause. Streams of events send a sign of life more often.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// When a silent peer is asked whether it is there, how often, and how many unanswered questions end the
/// connection: code may run for long before the answer begins.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);
/// How long what was sent may stay unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(25);
/// The most headers of an answer.
const HEADERS_MAX: usize = 100;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no connection within {} ms", CONNECT_TIMEOUT.as_millis())]
    Late,
    #[error("the address names no host")]
    Nameless,
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("another host answers there")]
    AnotherHost,
}

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Sends a request to the host at `address`.
pub(super) async fn send(
    address: &Address,
    trust: &Trust,
    request: Request<Body>,
) -> Result<Response<Answer>, Failed> {
    let plain = address.as_str().strip_prefix("http://");
    let authority = plain.or_else(|| address.as_str().strip_prefix("https://"));
    let authority = authority.ok_or(Failed::Nameless)?;
    let opening = async {
        match plain {
            Some(_) => begin(connect(authority, 80).await?).await,
            None => {
                let name = ServerName::try_from(host_of(authority).to_owned());
                let name = name.map_err(|_| Failed::Nameless)?;
                let stream = connect(authority, 443).await?;
                begin(trust.connector().connect(name, stream).await?).await
            }
        }
    };
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await;
    let (mut sender, connection) = opened.map_err(|_elapsed| Failed::Late)??;
    let mut connection = Some(connection);
    let mut answering = pin!(sender.send_request(request_to(authority, request)));
    let answer = poll_fn(|context| {
        if let Poll::Ready(answer) = answering.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        drive(&mut connection, context);
        answering.as_mut().poll(context)
    });
    let answer = answer.await?;
    Ok(answer.map(|incoming| Answer {
        incoming,
        connection,
        pauses_until: Box::pin(tokio::time::sleep(PAUSE_MAX)),
        place: None,
    }))
}

async fn begin<T>(stream: T) -> Result<(SendRequest<Body>, Connection), Failed>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await?;
    Ok((sender, Box::pin(connection)))
}

/// The host of an authority, without its port and the brackets of IPv6.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

async fn connect(authority: &str, usual_port: u16) -> Result<TcpStream, Failed> {
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && !port.ends_with(']'));
    let stream = match has_port {
        true => TcpStream::connect(authority).await?,
        false => TcpStream::connect(format!("{authority}:{usual_port}")).await?,
    };
    stream.set_nodelay(true)?;
    let (after, every, times) = KEEP_ALIVE;
    let keep_alive = TcpKeepalive::new()
        .with_time(after)
        .with_interval(every)
        .with_retries(times);
    let socket = SockRef::from(&stream);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(stream)
}

/// The request as HTTP/1.1 has it, whatever form its address came in.
fn request_to(authority: &str, mut request: Request<Body>) -> Request<Body> {
    if let Ok(host) = HeaderValue::from_str(authority) {
        request.headers_mut().insert(HOST, host);
    }
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = target.map(Into::into).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    request
}

/// Moves what the connection can move. Its end shows where the answer is read.
fn drive(connection: &mut Option<Connection>, context: &mut Context<'_>) {
    let ended = connection
        .as_mut()
        .is_some_and(|connection| connection.as_mut().poll(context).is_ready());
    if ended {
        *connection = None;
    }
}

/// The body of an answer, as it comes. Its length is not told, because it is not in memory here; the
/// header has it.
pub(super) struct Answer {
    incoming: Incoming,
    connection: Option<Connection>,
    pauses_until: Pin<Box<Sleep>>,
    place: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// The same, which holds a place for as long as it lasts.
    pub(super) fn holding(mut self, place: OwnedSemaphorePermit) -> Answer {
        self.place = Some(place);
        self
    }
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        drive(&mut self.connection, context);
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(frame) => {
                self.pauses_until.as_mut().reset(Instant::now() + PAUSE_MAX);
                Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)))
            }
            Poll::Pending => {
                let late = self.pauses_until.as_mut().poll(context);
                late.map(|()| {
                    let paused = io::Error::from(io::ErrorKind::TimedOut);
                    Some(Err(axum::Error::new(paused)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
}
