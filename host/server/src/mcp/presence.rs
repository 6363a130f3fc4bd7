//! Tells whether a client still waits for an answer.
//!
//! The answer's body holds the presence; when it is dropped, because it was sent or because the
//! connection is gone, the absence becomes known to the call behind it. On its way out the body is
//! given the data that was promised, letter by letter.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::mcp::exact::Exact;
use crate::mcp::readers::Part;

/// Held as long as somebody waits.
pub(super) struct Presence {
    until: Option<DropGuard>,
    kept: Kept,
}

/// What is there as long as somebody waits.
type Kept = Arc<Mutex<Option<Part>>>;

/// For the code that works on the answer.
#[derive(Clone)]
pub(super) struct Absence {
    gone: CancellationToken,
    kept: Kept,
}

impl Presence {
    /// A presence, and the handle that tells when it ends.
    pub(super) fn new() -> (Presence, Absence) {
        let (gone, kept) = (CancellationToken::new(), Kept::default());
        let presence = Presence {
            until: Some(gone.clone().drop_guard()),
            kept: Arc::clone(&kept),
        };
        (presence, Absence { gone, kept })
    }

    /// The same body, with the data that waits in `exact`; dropping it is the end of this presence.
    pub(super) fn attend<B>(self, body: B, exact: Exact) -> Attended<B> {
        Attended {
            body,
            exact,
            _presence: self,
        }
    }
}

impl Absence {
    /// Returns once nobody waits.
    pub(super) async fn noticed(&self) {
        self.gone.cancelled().await;
    }

    /// Keeps a part of the memory until then.
    pub(super) fn keep_until_then(&self, part: Part) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.gone.is_cancelled() {
            *kept = Some(part);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nothing is kept afterwards.
        self.until.take();
        kept.take();
    }
}

/// A body that a client waits for.
pub struct Attended<B> {
    body: B,
    exact: Exact,
    _presence: Presence,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Attended<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // Each message is one frame.
        polled.map_ok(|frame| frame.map_data(|bytes| self.exact.put(bytes)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.exact.waits() {
            // The data is longer than its mark.
            true => SizeHint::default(),
            false => self.body.size_hint(),
        }
    }
}
