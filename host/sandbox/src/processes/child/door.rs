//! The way out of a run, as its process has it: a socket on which it asks the host for streams, and HTTP/1.1
//! with the host on these. What may go out is not decided here.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::fd::OwnedFd;
use rustix::net::{SendFlags, send};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use wasmtime_wasi_http::WasiBody;

use crate::egress::{Account, Code, Driver, Waits};
use crate::interfaces::http::{Denied, Sent, Way, error_of};
use crate::processes::door::{CODE, WORDS_BYTES_MAX};
use crate::processes::packets::{PACKET_BYTES, receive_order};

/// The socket. The host answers in the order in which it was asked.
pub(super) struct Door(Arc<Mutex<UnixStream>>);

impl Door {
    /// The host made the socket so that nothing waits on it.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Door> {
        let socket = UnixStream::from_std(socket.into())?;
        Ok(Door(Arc::new(Mutex::new(socket))))
    }
}

/// Asks for a stream.
async fn stream(door: &Mutex<UnixStream>) -> io::Result<UnixStream> {
    let door = door.lock().await;
    let door = &*door;
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    door.async_io(Interest::WRITABLE, || Ok(send(door, &[1], flags)?))
        .await?;
    let mut buffer = vec![0; PACKET_BYTES];
    let answer = door.async_io(Interest::READABLE, || receive_order(door, &mut buffer));
    let gone = || io::Error::other("the host closed the way out");
    let received = answer.await?.ok_or_else(gone)?;
    let stream = received.with.into_iter().next().ok_or_else(gone)?;
    UnixStream::from_std(stream.into())
}

impl Way for Door {
    fn send(
        &self,
        request: Request<WasiBody>,
        _waits: Waits,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send>> {
        let door = Arc::clone(&self.0);
        Box::pin(async move {
            let stream = stream(&door).await.map_err(|error| lost(&error))?;
            let shaken = http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = shaken.map_err(|error| lost(&error))?;
            let mut driver: Driver = Box::pin(async move {
                // Whoever reads the answer is told what went wrong.
                let _over = connection.await;
            });
            let mut is_over = false;
            let answer = {
                let mut sending = std::pin::pin!(sender.send_request(request));
                loop {
                    tokio::select! {
                        biased;
                        answer = &mut sending => break answer,
                        () = &mut driver, if !is_over => is_over = true,
                    }
                }
            };
            if is_over {
                driver = Box::pin(std::future::ready(()));
            }
            let answer = answer.map_err(|error| lost(&error))?;
            let code = answer.headers().get(CODE).map(|code| {
                let word = code.to_str().unwrap_or_default();
                Code::parse(word).unwrap_or(Code::Protocol)
            });
            match code {
                Some(code) => Err(denied(code, answer, driver).await),
                None => {
                    let body = |error: hyper::Error| error_of(&lost(&error));
                    Ok((answer.map(|it| it.map_err(body).boxed_unsync()), driver))
                }
            }
        })
    }

    /// The host counts.
    fn account(&self) -> Option<&Account> {
        None
    }
}

/// What the host says was wrong.
async fn denied(code: Code, answer: Response<Incoming>, mut driver: Driver) -> Denied {
    let reading = Limited::new(answer.into_body(), WORDS_BYTES_MAX).collect();
    let mut reading = std::pin::pin!(reading);
    let mut is_over = false;
    let words = loop {
        tokio::select! {
            biased;
            words = &mut reading => break words,
            () = &mut driver, if !is_over => is_over = true,
        }
    };
    let words = words
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    Denied { code, words }
}

/// The host ended the stream: because the request had no more time, or no more bytes.
fn lost(error: &dyn std::error::Error) -> Denied {
    Denied {
        code: Code::Incomplete,
        words: format!("the host ended the request: {error}"),
    }
}
