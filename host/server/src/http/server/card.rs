//! The state of one open connection, or of one request among others of its connection: what it does,
//! since when, and how many bytes it moved.
//!
//! The connection's own thread writes it, and a search for a connection to close reads it; so these
//! are plain atomics, and a reader may see two of them from different moments.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio_util::sync::CancellationToken;

use cofferdam_domain::caller::Origin;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing, or it sends the head of a request.
    Silent,
    /// It sends the body of a request.
    Receiving,
    /// Its request has arrived and is worked on.
    Working,
    /// Its answer has begun.
    Answering,
}

/// One connection's card.
#[derive(Debug)]
pub(super) struct Card {
    /// The place of its peer.
    pub(super) from: Origin,
    /// The key of its peer.
    pub(super) peer: Origin,
    /// Cancelled to close it at once.
    pub(super) close: CancellationToken,
    is_reserved: bool,
    epoch: Instant,
    phase: AtomicU8,
    since_ms: AtomicU64,
    /// Bytes read since the phase began, or written since writing was last blocked.
    moved: AtomicU64,
    /// When the peer began to leave data unread; 0 if it does not.
    blocked_since_ms: AtomicU64,
    /// Whether the kernel has taken everything written so far.
    flushed: AtomicBool,
    /// Whether the request is of a version that knows interim answers.
    takes_interim: AtomicBool,
    /// Whether the answer is a stream of events.
    tells_events: AtomicBool,
    /// Whether its bytes are encrypted, or framed, so that nothing may be written between them.
    sealed: AtomicBool,
    /// How often the peer was probed.
    pub(super) asked: AtomicU8,
    nudged: AtomicBool,
    listener: AtomicWaker,
}

impl Card {
    pub(super) fn new(from: Origin, epoch: Instant, is_reserved: bool) -> Card {
        let card = Card {
            from,
            peer: from.network(),
            close: CancellationToken::new(),
            is_reserved,
            epoch,
            phase: AtomicU8::new(0),
            since_ms: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            blocked_since_ms: AtomicU64::new(0),
            flushed: AtomicBool::new(true),
            takes_interim: AtomicBool::new(false),
            tells_events: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            asked: AtomicU8::new(0),
            nudged: AtomicBool::new(false),
            listener: AtomicWaker::new(),
        };
        card.enter(Phase::Silent);
        card
    }

    /// Whether its place is reserved for operations.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Notes that nothing may be written between what its protocol writes.
    pub(super) fn seal(&self) {
        self.sealed.store(true, Ordering::Relaxed);
    }

    /// Whether that was noted.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Starts another phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.enter_at(phase, self.now());
    }

    pub(super) fn enter_at(&self, phase: Phase, since: Duration) {
        self.moved.store(0, Ordering::Relaxed);
        self.since_ms.store(millis(since), Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Silent,
            1 => Phase::Receiving,
            2 => Phase::Working,
            _ => Phase::Answering,
        }
    }

    /// When the phase began.
    pub(super) fn since(&self) -> Duration {
        Duration::from_millis(self.since_ms.load(Ordering::Relaxed))
    }

    /// The time on the clock of `since`.
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Notes that a request has begun.
    pub(super) fn begin(&self, takes_interim: bool, has_body: bool) {
        self.takes_interim.store(takes_interim, Ordering::Relaxed);
        self.enter(if has_body {
            Phase::Receiving
        } else {
            Phase::Working
        });
    }

    /// Its answer has begun.
    pub(super) fn answer(&self, tells_events: bool) {
        self.tells_events.store(tells_events, Ordering::Relaxed);
        self.enter(Phase::Answering);
    }

    /// Notes that bytes arrived, or that the peer took some.
    pub(super) fn moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn moved_bytes(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Notes that the peer takes no more at the moment.
    pub(super) fn blocked(&self) {
        if self.blocked_since_ms.load(Ordering::Relaxed) == 0 {
            self.begin_window();
        }
        self.flushed.store(false, Ordering::Relaxed);
    }

    /// Starts a new interval in which the peer must take something.
    pub(super) fn begin_window(&self) {
        self.moved.store(0, Ordering::Relaxed);
        let now = millis(self.now()).max(1);
        self.blocked_since_ms.store(now, Ordering::Relaxed);
    }

    /// Notes that everything written was taken.
    pub(super) fn unblocked(&self) {
        self.blocked_since_ms.store(0, Ordering::Relaxed);
        self.flushed.store(true, Ordering::Relaxed);
    }

    /// Since when the peer has left something unread.
    pub(super) fn blocked_since(&self) -> Option<Duration> {
        match self.blocked_since_ms.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(since)),
        }
    }

    /// Whether an interim answer may be written between hyper's writes.
    pub(super) fn may_ask(&self) -> bool {
        self.takes_interim.load(Ordering::Relaxed) && self.flushed.load(Ordering::Relaxed)
    }

    pub(super) fn tells_events(&self) -> bool {
        self.tells_events.load(Ordering::Relaxed)
    }

    /// Makes the stream of events send a sign of life.
    pub(super) fn nudge(&self) {
        self.nudged.store(true, Ordering::Release);
        self.listener.wake();
    }

    /// Whether the stream must send it now; if not, `context` is woken once it must.
    pub(super) fn is_nudged(&self, context: &std::task::Context<'_>) -> bool {
        self.listener.register(context.waker());
        self.nudged.swap(false, Ordering::AcqRel)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
