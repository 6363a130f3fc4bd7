//! The way from a process that runs guests to the host: what a guest says, and what it asks for.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use crate::control::Observer;
use crate::processes::messages::{Event, Piece};
use crate::processes::packets::{
    PACKET_BYTES, Received, ask, encode, receive_order, send_event, watch,
};
use cofferdam_domain::attempt::Stream;

/// The sockets.
pub(super) struct Link {
    socket: OwnedFd,
    /// Held while a message of several packets goes out.
    sending: Mutex<()>,
    questions: Mutex<OwnedFd>,
}

impl Link {
    pub(super) fn new(socket: OwnedFd, questions: OwnedFd) -> Link {
        Link {
            socket,
            sending: Mutex::new(()),
            questions: Mutex::new(questions),
        }
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Says something about a run.
    pub(super) fn tell(&self, run: u32, event: &Event, pieces: &[Bytes]) -> io::Result<()> {
        let whole = encode(event, pieces)?;
        let _one_at_a_time = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        send_event(&self.socket, run, &whole)
    }

    /// Whether a run may have so much memory in all.
    pub(super) fn may_have(&self, run: u32, bytes: u64) -> bool {
        let questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ask(&*questions, run, bytes)
    }
}

/// What the host says.
pub(super) struct Orders {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl Orders {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Orders> {
        let socket = watch(socket)?;
        let buffer = vec![0; PACKET_BYTES];
        Ok(Orders { socket, buffer })
    }

    /// The next of them; `None` when the host has closed its side.
    pub(super) async fn next(&mut self) -> io::Result<Option<Received>> {
        loop {
            let mut ready = self.socket.readable().await?;
            let received = ready.try_io(|socket| receive_order(socket, &mut self.buffer));
            if let Ok(received) = received {
                return received;
            }
        }
    }
}

/// Tells the host what a guest says.
pub(super) struct Mouth {
    pub(super) link: Arc<Link>,
    pub(super) run: u32,
}

impl Observer for Mouth {
    fn progress(&self, fraction: f64, note: &str) {
        let progress = Event::Progress(fraction, note.to_owned());
        // A host that is gone hears nothing, and ends this process.
        let _unheard = self.link.tell(self.run, &progress, &[]);
    }

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        let stream = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
            Stream::Log => 2,
        };
        let bytes = Bytes::copy_from_slice(bytes);
        let _unheard = self.link.tell(self.run, &Event::Wrote(stream), &[bytes]);
    }
}

/// A live standard input, which the host reads as fast as the guest does.
pub(super) struct Asked {
    pub(super) mouth: Mouth,
    pub(super) pieces: mpsc::Receiver<(Piece, Bytes)>,
    pub(super) rest: Bytes,
    pub(super) waits: bool,
}

impl AsyncRead for Asked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.rest.is_empty() {
            if !this.waits {
                this.mouth.link.tell(this.mouth.run, &Event::Wants, &[])?;
                this.waits = true;
            }
            let piece = ready!(this.pieces.poll_recv(context));
            this.waits = false;
            match piece {
                Some((Piece::Bytes, bytes)) => this.rest = bytes,
                Some((Piece::End, _)) | None => return Poll::Ready(Ok(())),
                Some((Piece::Failed(why), _)) => return Poll::Ready(Err(io::Error::other(why))),
            }
        }
        let length = buffer.remaining().min(this.rest.len());
        buffer.put_slice(&this.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}
