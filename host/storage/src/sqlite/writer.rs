//! Group commit, and the thread that owns the only writing connection.
//!
//! Jobs that arrive while others are being committed share the next commit: one sync for all of
//! them. Under low load a batch is one job, so no job waits for others. Jobs are answered only
//! after the commit. One job that fails does not fail its neighbours: the batch is rolled back, run
//! again without it, and then it is run alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::connection::DataLock;
use super::db::Db;
use super::vital::{self, Handle, Receiver, RecvTimeoutError, Sender, channel};
use crate::StorageError;

/// Jobs that may wait for the writer; further callers wait for a place.
const QUEUE_JOBS_MAX: usize = 4096;
/// Jobs in one commit.
const BATCH_JOBS_MAX: usize = 512;
/// No job is added to a batch that has run this long.
const BATCH_TIME_MAX: Duration = Duration::from_millis(10);
/// After this long without a job the log is copied into the database.
const IDLE: Duration = Duration::from_millis(250);

/// A handle to the writer thread.
pub(super) struct Writer {
    jobs: Sender<Message>,
    places: Arc<Semaphore>,
}

enum Message {
    Job(Box<dyn Job>),
    Stop,
}

/// A call on its way through the writer. It may be run more than once; each run starts from the
/// beginning.
trait Job: Send {
    /// Whether everything it wrote may be committed.
    fn run(&mut self, db: &mut Db) -> bool;
    /// Answers the caller. A failed commit undoes the job's result.
    fn answer(self: Box<Self>, failed: Option<&StorageError>);
}

struct Call<W, T> {
    work: W,
    found: Option<Result<T, StorageError>>,
    reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<W, T> Job for Call<W, T>
where
    W: FnMut(&mut Db) -> Result<T, StorageError> + Send,
    T: Send,
{
    fn run(&mut self, db: &mut Db) -> bool {
        let found = (self.work)(db);
        let clean = match &found {
            Ok(_) => true,
            Err(error) => error.is_refusal(),
        };
        self.found = Some(found);
        clean
    }

    fn answer(self: Box<Self>, failed: Option<&StorageError>) {
        let answer = match (self.found, failed) {
            (Some(Err(own)), _) => Err(own),
            (Some(Ok(found)), None) => Ok(found),
            (_, Some(error)) => Err(error.clone()),
            (None, None) => Err(StorageError::closed()),
        };
        // A caller that went away does not need the answer; the effect stays.
        let _unheard = self.reply.send(answer);
    }
}

impl Writer {
    /// Starts the thread. It keeps `lock` until the database is closed.
    pub(super) fn start(db: Db, lock: DataLock) -> std::io::Result<(Writer, Handle)> {
        let (jobs, queue) = channel();
        let places = Arc::new(Semaphore::new(QUEUE_JOBS_MAX));
        let thread = Thread {
            db,
            queue,
            places: Arc::clone(&places),
            stopping: false,
        };
        let handle = vital::spawn("storage-writer", move || {
            thread.run();
            drop(lock);
        })?;
        Ok((Writer { jobs, places }, handle))
    }

    /// Has `work` done by the writer, alone or with others in one transaction; returns once that
    /// is committed. A caller that stops waiting does not undo it.
    pub(super) async fn call<T, W>(&self, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: FnMut(&mut Db) -> Result<T, StorageError> + Send + 'static,
    {
        // The thread gives the place back when it takes the job.
        self.places
            .acquire()
            .await
            .map_err(|_closed| StorageError::closed())?
            .forget();
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Call {
            work,
            found: None,
            reply,
        });
        self.jobs
            .send(Message::Job(job))
            .map_err(|_ended| StorageError::closed())?;
        answer.await.map_err(|_ended| StorageError::closed())?
    }

    /// Accepts no further jobs; the thread ends after those in the queue.
    pub(super) fn stop(&self) {
        self.places.close();
        // This fails only if the thread has already ended.
        let _ended = self.jobs.send(Message::Stop);
    }
}

struct Thread {
    db: Db,
    queue: Receiver<Message>,
    places: Arc<Semaphore>,
    stopping: bool,
}

impl Thread {
    fn run(mut self) {
        let mut copied = true;
        while !self.stopping {
            let message = if copied {
                self.queue
                    .recv()
                    .map_err(|_gone| RecvTimeoutError::Disconnected)
            } else {
                self.queue.recv_timeout(IDLE)
            };
            match message {
                Ok(Message::Job(job)) => {
                    self.places.add_permits(1);
                    self.batch(job);
                    copied = false;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.db.checkpoint();
                    copied = true;
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => self.stopping = true,
            }
        }
        self.db.close();
    }

    /// Runs `first` and the jobs that wait behind it, commits, and answers.
    fn batch(&mut self, first: Box<dyn Job>) {
        if let Err(error) = self.db.begin() {
            return first.answer(Some(&error));
        }
        let begun = Instant::now();
        let mut jobs = Vec::new();
        let mut next = Some(first);
        let mut clean = true;
        while let Some(mut job) = next.take() {
            clean = job.run(&mut self.db);
            jobs.push(job);
            if clean && jobs.len() < BATCH_JOBS_MAX && begun.elapsed() < BATCH_TIME_MAX {
                next = self.waiting();
            }
        }
        if clean {
            return self.commit(jobs);
        }
        self.db.rollback();
        // It is the last of the batch, so the order of the jobs is kept.
        let failed = jobs.pop();
        self.again(jobs);
        failed.into_iter().for_each(|job| self.alone(job));
    }

    fn commit(&mut self, jobs: Vec<Box<dyn Job>>) {
        let commit = self.db.commit();
        for job in jobs {
            job.answer(commit.as_ref().err());
        }
    }

    /// Runs jobs that succeeded before; each by itself if one of them now fails.
    fn again(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        if jobs.is_empty() {
            return;
        }
        let clean = self.db.begin().is_ok() && jobs.iter_mut().all(|job| job.run(&mut self.db));
        if clean {
            return self.commit(jobs);
        }
        self.db.rollback();
        for job in jobs {
            self.alone(job);
        }
    }

    /// The next job, if one is already waiting.
    fn waiting(&mut self) -> Option<Box<dyn Job>> {
        match self.queue.try_recv() {
            Ok(Message::Job(job)) => {
                self.places.add_permits(1);
                Some(job)
            }
            Ok(Message::Stop) => {
                self.stopping = true;
                None
            }
            Err(_none_or_gone) => None,
        }
    }

    fn alone(&mut self, mut job: Box<dyn Job>) {
        let verdict = self.db.begin().and_then(|()| {
            if job.run(&mut self.db) {
                self.db.commit()
            } else {
                self.db.rollback();
                // The caller gets the job's own error.
                Ok(())
            }
        });
        job.answer(verdict.as_ref().err());
    }
}
