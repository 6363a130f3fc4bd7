//! A database of a few lines in place of the writer's own: what is committed, and what fails.

use std::sync::Arc;

use shuttle::sync::Mutex;
use shuttle::thread;

use crate::StorageError;
use cofferdam_domain::task::TaskId;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// The second caller's work fails half-way, each time it is tried.
    SecondFails,
    /// The second caller is refused before anything is written.
    SecondIsRefused,
    /// The answer to the first commit is lost, and nothing of it happened.
    OneCommitFails,
    /// The second transaction does not begin.
    OneBeginFails,
}

/// What is left after the writer has ended.
#[derive(Default)]
pub(super) struct Disk {
    written: Mutex<Vec<u32>>,
    closed: Mutex<bool>,
}

impl Disk {
    pub(super) fn written(&self) -> Vec<u32> {
        self.written.lock().unwrap().clone()
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap()
    }
}

/// What the writer thread works on.
pub(super) struct Db {
    disk: Arc<Disk>,
    trouble: Trouble,
    begins: u32,
    commits: u32,
    /// What the open transaction wrote.
    open: Option<Vec<u32>>,
}

impl Db {
    pub(super) fn on(disk: &Arc<Disk>, trouble: Trouble) -> Db {
        Db {
            disk: Arc::clone(disk),
            trouble,
            begins: 0,
            commits: 0,
            open: None,
        }
    }

    /// The work of a caller: writes its number and finds it.
    pub(super) fn write(&mut self, number: u32, trouble: Trouble) -> Result<u32, StorageError> {
        // Others may call meanwhile.
        thread::yield_now();
        if number == 2 && trouble == Trouble::SecondIsRefused {
            return Err(StorageError::Conflict(TaskId(uuid::Uuid::nil())));
        }
        let open = self.open.as_mut().expect("work is done in a transaction");
        open.push(number);
        thread::yield_now();
        match number == 2 && trouble == Trouble::SecondFails {
            true => Err(StorageError::TooLarge("as the test wants".to_owned())),
            false => Ok(number),
        }
    }

    pub(super) fn begin(&mut self) -> Result<(), StorageError> {
        self.begins += 1;
        if self.begins == 2 && self.trouble == Trouble::OneBeginFails {
            return Err(StorageError::Full("as the test wants".to_owned()));
        }
        assert!(self.open.is_none(), "one transaction at a time");
        self.open = Some(Vec::new());
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), StorageError> {
        thread::yield_now();
        let open = self.open.take().expect("there is a transaction");
        self.commits += 1;
        if self.commits == 1 && self.trouble == Trouble::OneCommitFails {
            return Err(StorageError::Unknown("as the test wants".to_owned()));
        }
        self.disk.written.lock().unwrap().extend(open);
        Ok(())
    }

    pub(super) fn rollback(&mut self) {
        self.open = None;
    }

    pub(super) fn checkpoint(&mut self) {}

    pub(super) fn close(self) {
        *self.disk.closed.lock().unwrap() = true;
    }
}
