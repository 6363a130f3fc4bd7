//! Signals: hints that something in storage has changed, so that nobody has to poll all the time.
//!
//! A signal contains nothing that storage does not have, and it may be lost: it is not kept for
//! later listeners, and a signal from another host may not arrive. So a waiter also reads storage
//! every few seconds, and a listener reads storage before it believes a signal.
//!
//! `InProcess` is for one host. Hosts that share a database signal each other through it, behind
//! the same trait.

use std::sync::{PoisonError, RwLock, Weak};

use cofferdam_domain::task::TaskId;

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// There may be something to claim.
    Work,
    /// A task has changed: it ended, was cancelled, or waits again.
    Changed(TaskId),
    /// Any task may have changed: there were more changes than are told one by one, or some were
    /// missed.
    Everything,
    /// This host lost touch with storage, which may have forgotten its newest claims: they do not wait
    /// for the disk. It is for this host alone.
    Cut,
}

/// Sends and receives signals. A signal is sent after the commit of its change.
pub trait Signals: Send + Sync + 'static {
    /// Signals all listeners, of this host before it returns. It does not wait for other hosts.
    fn tell(&self, signal: Signal);

    /// Registers `ear` for signals, for as long as it exists.
    fn listen(&self, ear: Weak<dyn Ear>);
}

/// Receives signals.
pub trait Ear: Send + Sync + 'static {
    /// Handles a signal. It is called on the sender's thread, so it must not block or send signals
    /// itself.
    fn hear(&self, signal: Signal);
}

/// The signals of a host that does not share its storage: listeners get them before
/// [`Signals::tell`] returns.
#[derive(Default)]
pub(crate) struct InProcess {
    ears: RwLock<Vec<Weak<dyn Ear>>>,
}

impl Signals for InProcess {
    fn tell(&self, signal: Signal) {
        let ears = self.ears.read().unwrap_or_else(PoisonError::into_inner);
        for ear in ears.iter().filter_map(Weak::upgrade) {
            ear.hear(signal);
        }
    }

    fn listen(&self, ear: Weak<dyn Ear>) {
        let mut ears = self.ears.write().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|ear| ear.strong_count() > 0);
        ears.push(ear);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Default)]
    struct Notes(Mutex<Vec<Signal>>);

    impl Ear for Notes {
        fn hear(&self, signal: Signal) {
            self.0.lock().unwrap().push(signal);
        }
    }

    #[test]
    fn whoever_listens_hears_what_is_told_from_then_on() {
        let signals = InProcess::default();
        signals.tell(Signal::Work);
        let ears = [(); 2].map(|()| Arc::new(Notes::default()));
        for ear in &ears {
            let ear: Arc<dyn Ear> = Arc::<Notes>::clone(ear);
            signals.listen(Arc::downgrade(&ear));
        }
        let [gone, ear] = ears;
        drop(gone);
        let id = TaskId(uuid::Uuid::from_u128(7));
        signals.tell(Signal::Changed(id));
        signals.tell(Signal::Work);
        assert_eq!(*ear.0.lock().unwrap(), [Signal::Changed(id), Signal::Work]);
        let late: Arc<dyn Ear> = Arc::new(Notes::default());
        signals.listen(Arc::downgrade(&late));
        assert_eq!(signals.ears.read().unwrap().len(), 2);
    }
}
