//! One order of the threads after another, for the writer and its group commit.
//!
//! The very file of the writer is compiled once more here, with threads and channels at which shuttle
//! decides which thread goes on, and over a database that fails where the scenario says. A caller who
//! is never answered sleeps for ever, which shuttle reports with the schedule that led there.

mod db;
#[allow(
    clippy::duplicate_mod,
    reason = "the same file with other threads is what is tried here"
)]
#[path = "../writer.rs"]
mod writer;

mod connection {
    /// Nobody else has this directory until it is dropped.
    pub(super) struct DataLock;

    impl Drop for DataLock {
        fn drop(&mut self) {}
    }
}

mod vital {
    use std::io;
    use std::time::Duration;

    use shuttle::sync::mpsc;
    pub(super) use shuttle::sync::mpsc::{RecvTimeoutError, Sender};

    /// Drops what nobody received when it is dropped, as the receiver of the standard library does.
    pub(super) struct Receiver<T>(mpsc::Receiver<T>);

    pub(super) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = mpsc::channel();
        (sender, Receiver(receiver))
    }

    impl<T> Receiver<T> {
        pub(super) fn recv(&self) -> Result<T, mpsc::RecvError> {
            self.0.recv()
        }

        pub(super) fn try_recv(&self) -> Result<T, mpsc::TryRecvError> {
            self.0.try_recv()
        }

        pub(super) fn recv_timeout(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
            self.0.recv_timeout(patience)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            while self.0.try_recv().is_ok() {}
        }
    }

    pub(super) type Handle = shuttle::thread::JoinHandle<()>;

    pub(super) fn spawn(
        _name: impl Into<String>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Handle> {
        Ok(shuttle::thread::spawn(work))
    }
}

use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;

use self::connection::DataLock;
use self::db::{Db, Disk, Trouble};
use self::writer::Writer;
use crate::StorageError;

/// Orders tried of each kind.
const SCHEDULES: usize = 1500;
/// How often a schedule by priority changes its mind.
const CHANGES: usize = 3;

/// Runs `scenario` in one order of its threads after another.
fn in_every_order(scenario: fn()) {
    let config = || {
        let mut config = shuttle::Config::new();
        config.stack_size = 256 * 1024;
        config
    };
    let random = RandomScheduler::new_from_seed(7, SCHEDULES);
    shuttle::Runner::new(random, config()).run(scenario);
    let by_priority = PctScheduler::new_from_seed(7, CHANGES, SCHEDULES);
    shuttle::Runner::new(by_priority, config()).run(scenario);
}

/// When the writer is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Meanwhile,
    AtTheEnd,
}

/// Three callers at once, of whom the second asks for what `trouble` says and the third for what takes long,
/// while a fourth may stop the writer. What was answered is compared with what is on the disk.
fn three_callers(trouble: Trouble, stopped: Stopped) {
    let stops = stopped == Stopped::Meanwhile;
    let disk = Arc::new(Disk::default());
    let (writer, thread) = Writer::start(Db::on(&disk, trouble), DataLock).unwrap();
    let writer = Arc::new(writer);
    let callers: Vec<_> = [1, 2, 3]
        .map(|number| {
            let writer = Arc::clone(&writer);
            let write = move |db: &mut Db| db.write(number, trouble);
            thread::spawn(move || match number {
                3 => block_on(writer.call_for(1000, write)),
                _ => block_on(writer.call(write)),
            })
        })
        .into();
    if stops {
        writer.stop();
    }
    let answers: Vec<_> = callers
        .into_iter()
        .map(|caller| caller.join().unwrap())
        .collect();
    if !stops {
        writer.stop();
    }
    thread.join().unwrap();
    let written = disk.written();
    for (number, answer) in (1..).zip(&answers) {
        let times = written.iter().filter(|written| **written == number).count();
        match answer {
            Ok(found) => assert_eq!((*found, times), (number, 1), "{answers:?} {written:?}"),
            Err(StorageError::Unknown(_)) => assert!(times <= 1),
            Err(_) => assert_eq!(times, 0, "{number}: {answers:?} {written:?}"),
        }
    }
    let may_fail = |answer: &Result<u32, StorageError>| match answer {
        Ok(_) => true,
        Err(StorageError::Unavailable(_)) => stops,
        Err(StorageError::Unknown(_)) => trouble == Trouble::OneCommitFails,
        Err(StorageError::Full(_)) => trouble == Trouble::OneBeginFails,
        Err(_) => false,
    };
    assert!(
        [0, 2].iter().all(|place| may_fail(&answers[*place])),
        "{answers:?}"
    );
    assert!(disk.is_closed());
}

#[test]
fn every_caller_is_answered_once_and_rightly() {
    in_every_order(|| three_callers(Trouble::None, Stopped::AtTheEnd));
}

#[test]
fn a_call_that_fails_or_is_refused_hurts_no_neighbour() {
    in_every_order(|| three_callers(Trouble::SecondFails, Stopped::AtTheEnd));
    in_every_order(|| three_callers(Trouble::SecondIsRefused, Stopped::AtTheEnd));
}

#[test]
fn a_commit_or_a_begin_that_fails_is_told_to_those_whom_it_concerns() {
    in_every_order(|| three_callers(Trouble::OneCommitFails, Stopped::AtTheEnd));
    in_every_order(|| three_callers(Trouble::OneBeginFails, Stopped::AtTheEnd));
}

#[test]
fn who_calls_while_the_writer_stops_is_answered() {
    in_every_order(|| three_callers(Trouble::None, Stopped::Meanwhile));
    in_every_order(|| three_callers(Trouble::SecondFails, Stopped::Meanwhile));
}
