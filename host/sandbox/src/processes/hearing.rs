//! What is heard of a process, and which threads hear it. The hearing itself is in `hear`, because it needs
//! the whole process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::lock;
use super::messages::Told;
use super::packets::Inbox;

/// What is heard of a process, and by whom.
pub(super) struct Hearing {
    /// Held while one packet is heard.
    pub(super) inbox: Mutex<Inbox>,
    hearers: Mutex<Vec<Hearer>>,
    /// Whether its own thread hears it, whoever else may.
    is_loud: AtomicBool,
    /// What it said that it may not say.
    wrong: OnceLock<&'static str>,
    /// Ends of runs that its own thread takes over.
    later: Mutex<Vec<LeftOver>>,
}

/// A thread that hears it.
struct Hearer {
    thread: usize,
    /// Those who wait for a run there.
    waiting: Arc<AtomicUsize>,
    task: AbortHandle,
}

/// The end of a run that left files.
pub(super) struct LeftOver {
    pub(super) number: u32,
    pub(super) told: Told,
    pub(super) pieces: Vec<Bytes>,
}

/// Somebody who waits for a run on this thread. The thread hears the process as long as somebody does.
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hearing {
    pub(super) fn new() -> Hearing {
        Hearing {
            inbox: Mutex::new(Inbox::new()),
            hearers: Mutex::default(),
            is_loud: AtomicBool::new(false),
            wrong: OnceLock::new(),
            later: Mutex::default(),
        }
    }

    /// Whether the process's own thread is to hear it.
    pub(super) fn is_left_to_its_thread(&self) -> bool {
        self.is_loud.load(Ordering::SeqCst) || lock(&self.hearers).is_empty()
    }

    /// Why it must be ended, if somebody heard it say what it may not.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        self.wrong.get().copied()
    }

    /// The ends that were left to its own thread.
    pub(super) fn take_later(&self) -> Vec<LeftOver> {
        std::mem::take(&mut lock(&self.later))
    }

    /// Lets nobody hear it any more.
    pub(super) fn end(&self) {
        for hearer in lock(&self.hearers).drain(..) {
            hearer.task.abort();
        }
    }

    /// Whoever waits on this thread, if it hears the process; where it does not, `begin` makes the task that
    /// hears it, if that is possible.
    pub(super) fn wait_here(&self, begin: impl FnOnce() -> Option<AbortHandle>) -> Waiting {
        let thread = this_thread();
        let mut hearers = lock(&self.hearers);
        if let Some(hearer) = hearers.iter().find(|hearer| hearer.thread == thread) {
            hearer.waiting.fetch_add(1, Ordering::SeqCst);
            return Waiting(Arc::clone(&hearer.waiting));
        }
        let waiting = Arc::new(AtomicUsize::new(1));
        let task = match self.is_loud.load(Ordering::SeqCst) {
            true => None,
            false => begin(),
        };
        if let Some(task) = task {
            let waiting = Arc::clone(&waiting);
            hearers.push(Hearer {
                thread,
                waiting,
                task,
            });
        }
        Waiting(waiting)
    }

    /// Forgets a thread that hears it, if nobody waits there; says whether it is to stop.
    pub(super) fn stop_unused(&self, thread: usize) -> bool {
        self.stop_if(thread, |waiting| waiting == 0)
    }

    /// Forgets a thread that hears it, whoever waits there.
    pub(super) fn stop(&self, thread: usize) {
        self.stop_if(thread, |_| true);
    }

    fn stop_if(&self, thread: usize, stops: impl FnOnce(usize) -> bool) -> bool {
        let mut hearers = lock(&self.hearers);
        let Some(at) = hearers.iter().position(|hearer| hearer.thread == thread) else {
            return true;
        };
        let stops = stops(hearers[at].waiting.load(Ordering::SeqCst));
        if stops {
            hearers.swap_remove(at);
        }
        stops
    }

    /// Notes that it says much without a pause.
    pub(super) fn note_loud(&self) {
        self.is_loud.store(true, Ordering::SeqCst);
    }

    /// Notes the first thing that it may not say.
    pub(super) fn note_wrong(&self, why: &'static str) {
        // The first stays.
        let _later = self.wrong.set(why);
    }

    /// Leaves an end to its own thread.
    pub(super) fn leave(&self, over: LeftOver) {
        lock(&self.later).push(over);
    }
}

/// The number of this thread, from 0.
pub(super) fn this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_hears_as_long_as_somebody_waits_on_it() {
        let hearing = Hearing::new();
        let mut tasks = tokio::task::JoinSet::new();
        let task = || Some(tasks.spawn(std::future::pending::<()>()));
        assert!(hearing.is_left_to_its_thread());
        let first = hearing.wait_here(task);
        let second = hearing.wait_here(|| panic!("this thread hears it already"));
        assert!(!hearing.is_left_to_its_thread());
        drop(first);
        assert!(!hearing.stop_unused(this_thread()));
        drop(second);
        assert!(hearing.stop_unused(this_thread()));
        assert!(hearing.is_left_to_its_thread());
    }

    #[tokio::test]
    async fn a_process_that_says_much_is_left_to_its_own_thread() {
        let hearing = Hearing::new();
        hearing.note_loud();
        let _waiting = hearing.wait_here(|| panic!("it is left to its own thread"));
        assert!(hearing.is_left_to_its_thread());
    }
}
