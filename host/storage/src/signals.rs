//! Signals: a word that something in storage is worth a look, so that nobody has to look all the time.
//!
//! A signal says nothing that storage does not, and it may be lost: nothing is kept for those who do
//! not listen, and what comes from another host may never come. So whoever waits for one looks at
//! storage every few seconds all the same, and whoever hears one looks before they believe it.
//!
//! `InProcess` is for one host. Hosts that share a database tell each other through it, behind the
//! same trait.

use std::sync::{PoisonError, RwLock, Weak};

use cofferdam_domain::task::TaskId;

/// What storage is worth a look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// There may be something to claim.
    Work,
    /// A task is not as it was: it ended, was cancelled, or waits anew.
    Changed(TaskId),
}

/// Tells signals, and hears them. Telling comes after the commit of what is told.
pub trait Signals: Send + Sync + 'static {
    /// Tells everybody who listens, this host included. Never waits.
    fn tell(&self, signal: Signal);

    /// From now on `ear` hears what is told, for as long as it lives.
    fn listen(&self, ear: Weak<dyn Ear>);
}

/// Hears signals.
pub trait Ear: Send + Sync + 'static {
    /// Takes note. It is called on the thread of whoever tells, so it must not block or tell in turn.
    fn hear(&self, signal: Signal);
}

/// The signals of a host that shares its storage with nobody: those who listen hear them before
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
