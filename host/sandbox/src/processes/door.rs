//! The way out for a run in a process of its own, on the host's side.
//!
//! The process has no network. For a run that was granted requests it gets one end of a socket; for each byte
//! that it sends there it gets one end of a stream, and speaks HTTP/1.1 on it with this file, whole URLs in
//! its requests as to a proxy. What it may reach is the pass that the host made for the run. Nothing that comes
//! from the process is believed, heads and bodies have the bounds of every request, and all ends with the run,
//! because the run's own future is what drives it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;

use super::messages::NO_RUN;
use super::packets::{pair, send_order};
use crate::RunSpec;
use crate::egress::{Driver, Egress, EgressBody, EgressError, Pass, Waits};
use cofferdam_domain::said;

/// In an answer that is the host's own: what was wrong.
pub(super) const CODE: HeaderName = HeaderName::from_static("cofferdam-egress");
/// The status of such an answer.
const REFUSED: http::StatusCode = http::StatusCode::BAD_GATEWAY;
/// The longest description in it.
pub(super) const WORDS_BYTES_MAX: usize = 1024;
/// Fields of a head.
const FIELDS_MAX: usize = 256;
/// Streams that a run has at once beyond those whose requests go out: they wait for a place there.
const WAITING: usize = 16;
/// How long the head of a request may take from one process to the other.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves a run until it is dropped.
pub(super) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The way out of a run: what it may reach, who serves it, and the process's end.
#[derive(Default)]
pub(super) struct Way {
    pub(super) pass: Option<Arc<Pass>>,
    pub(super) door: Option<Serving>,
    pub(super) its_end: Option<OwnedFd>,
}

/// That of a run which is about to begin, if it was granted one.
pub(super) fn way_out(egress: &Egress, spec: &mut RunSpec) -> io::Result<Way> {
    let outward = std::mem::take(&mut spec.outward);
    if outward.grants.is_empty() {
        return Ok(Way::default());
    }
    let pass = egress.pass(outward, &spec.identity.task_id, &spec.program);
    let (door, its_end) = open(egress, Arc::clone(&pass))?;
    Ok(Way {
        pass: Some(pass),
        door: Some(door),
        its_end: Some(its_end),
    })
}

/// Serves the way out, where there is one; it does not end before the run.
pub(super) async fn drive(door: &mut Option<&mut Serving>) {
    match door {
        Some(serving) => serving.await,
        None => std::future::pending().await,
    }
}

/// Opens the way out of a run; gives the process's end as well.
fn open(egress: &Egress, pass: Arc<Pass>) -> io::Result<(Serving, OwnedFd)> {
    let (ours, its) = pair()?;
    for end in [&ours, &its] {
        rustix::io::ioctl_fionbio(end, true)?;
    }
    let door = UnixStream::from_std(ours.into())?;
    let egress = egress.clone();
    Ok((Box::pin(serve(door, egress, pass)), its))
}

async fn serve(door: UnixStream, egress: Egress, pass: Arc<Pass>) {
    let most = egress.config().connections + WAITING;
    let mut streams = FuturesUnordered::new();
    let mut is_open = true;
    loop {
        tokio::select! {
            Some(()) = streams.next() => {}
            asked = knock(&door, &egress), if is_open && streams.len() < most => match asked {
                Ok((stream, place)) => streams.push(speak(stream, place, &egress, &pass)),
                Err(_closed) => is_open = false,
            },
            else => std::future::pending().await,
        }
    }
}

/// Waits until the process asks for a stream, and gives it one. Dropping the future loses no question, because
/// nothing is waited for once it was read.
async fn knock(
    door: &UnixStream,
    egress: &Egress,
) -> io::Result<(UnixStream, OwnedSemaphorePermit)> {
    loop {
        door.readable().await?;
        let place = egress.stream().await;
        let asked = door.try_io(Interest::READABLE, || {
            let (bytes, _) = recv(door, &mut [0_u8; 1][..], RecvFlags::DONTWAIT)?;
            Ok(bytes)
        });
        match asked {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, its) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        // A process that takes none of these has no use for more.
        send_order(door, NO_RUN, &[], &[its.as_fd()])?;
        return Ok((UnixStream::from_std(ours.into())?, place));
    }
}

/// One request of the process on a stream, and its answer.
async fn speak(stream: UnixStream, _place: OwnedSemaphorePermit, egress: &Egress, pass: &Pass) {
    let config = egress.config();
    let service =
        service_fn(async |request| Ok::<_, Infallible>(answer(egress, pass, request).await));
    let speaking = http1::Builder::new()
        .keep_alive(false)
        .auto_date_header(false)
        .max_buf_size(config.head_bytes)
        .max_headers(FIELDS_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // The head, the request itself, and an answer that the process is slow to read.
    let longest = HEAD_TIMEOUT + config.request_timeout * 2;
    // Whatever was wrong, the stream closes.
    let _over = tokio::time::timeout(longest, speaking).await;
}

async fn answer(
    egress: &Egress,
    pass: &Pass,
    request: Request<Incoming>,
) -> Response<UnsyncBoxBody<Bytes, EgressError>> {
    match egress.send(pass, request, Waits::default()).await {
        Ok((mut answer, driver)) => {
            answer.headers_mut().remove(CODE);
            answer.map(|body| {
                Driven {
                    body,
                    driver: Some(driver),
                }
                .boxed_unsync()
            })
        }
        Err(error) => {
            let words = said::cut(error.to_string(), WORDS_BYTES_MAX);
            let body = Full::new(Bytes::from(words)).map_err(|never| match never {});
            let mut answer = Response::new(body.boxed_unsync());
            *answer.status_mut() = REFUSED;
            let code = HeaderValue::from_static(error.code().as_str());
            answer.headers_mut().insert(CODE, code);
            answer
        }
    }
}

/// A body that drives its connection where it is read.
struct Driven {
    body: EgressBody,
    driver: Option<Driver>,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        let this = &mut *self;
        if let Some(driver) = &mut this.driver
            && driver.as_mut().poll(context).is_ready()
        {
            this.driver = None;
        }
        Pin::new(&mut this.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
