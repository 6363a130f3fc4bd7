//! Tells whether a client still waits for an answer.
//!
//! The answer's body holds the presence; when it is dropped, because it was sent or because the
//! connection is gone, the call behind it learns of the absence.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Held as long as a client waits.
pub(super) struct Presence {
    _until: DropGuard,
}

/// For the code that works on the answer.
#[derive(Clone, Debug)]
pub(super) struct Absence(CancellationToken);

impl Presence {
    /// A presence, and the handle that tells when it ends.
    pub(super) fn new() -> (Presence, Absence) {
        let gone = CancellationToken::new();
        (
            Presence {
                _until: gone.clone().drop_guard(),
            },
            Absence(gone),
        )
    }

    /// The same body; dropping it ends this presence.
    pub(super) fn attend<B>(self, body: B) -> Attended<B> {
        Attended {
            body,
            _presence: self,
        }
    }
}

impl Absence {
    /// Returns once nobody waits.
    pub(super) async fn noticed(&self) {
        self.0.cancelled().await;
    }
}

/// A body that a client waits for.
pub struct Attended<B> {
    body: B,
    _presence: Presence,
}

impl<B: Body + Unpin> Body for Attended<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
