//! Group commit, and the thread that owns the only writing connection.
//!
//! Jobs that arrive while others are being committed share the next commit: one sync for all of
//! them. Under low load a batch is one job, so no job waits for others. Jobs are answered only
//! after the commit. One job that fails does not fail its neighbours: the batch is rolled back, run
//! again without it, and then it is run alone.
//!
//! Jobs of many rows take milliseconds, and a backlog makes one after another of them. A short job goes
//! before those that wait, and its batch takes none of them behind it: it waits for the job under way and
//! for one sync. The batch after that begins with a long job, so that those get on as well.

use std::collections::VecDeque;
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
/// From so many rows on, a job is long.
const LONG_ROWS: usize = 64;
/// After this long without a job the log is copied into the database.
const IDLE: Duration = Duration::from_millis(250);

/// A handle to the writer thread.
pub(super) struct Writer {
    jobs: Sender<Message>,
    places: Arc<Semaphore>,
}

enum Message {
    Job(Length, Box<dyn Job>),
    Stop,
}

/// How long a job takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Short,
    Long,
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
            short: VecDeque::new(),
            long: VecDeque::new(),
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
        self.call_of(Length::Short, work).await
    }

    /// As [`Writer::call`], for work on so many rows.
    pub(super) async fn call_for<T, W>(&self, rows: usize, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: FnMut(&mut Db) -> Result<T, StorageError> + Send + 'static,
    {
        let length = match rows {
            0..LONG_ROWS => Length::Short,
            LONG_ROWS.. => Length::Long,
        };
        self.call_of(length, work).await
    }

    async fn call_of<T, W>(&self, length: Length, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: FnMut(&mut Db) -> Result<T, StorageError> + Send + 'static,
    {
        // The thread gives the place back when it begins the job.
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
            .send(Message::Job(length, job))
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
    /// Jobs that were received and wait; [`QUEUE_JOBS_MAX`] bounds them together with those in the queue.
    short: VecDeque<Box<dyn Job>>,
    long: VecDeque<Box<dyn Job>>,
    stopping: bool,
}

impl Thread {
    fn run(mut self) {
        let mut copied = true;
        let mut passed_over = false;
        loop {
            self.receive();
            let (before, after) = match passed_over {
                true => (Length::Long, Length::Short),
                false => (Length::Short, Length::Long),
            };
            let first = self.next(before).or_else(|| self.next(after));
            if let Some((length, job)) = first {
                self.batch(length, job);
                passed_over = length == Length::Short && !self.long.is_empty();
                copied = false;
            } else if self.stopping {
                break;
            } else {
                copied = self.wait(copied);
            }
        }
        self.db.close();
    }

    /// Waits for the next message; tells whether the log was copied into the database meanwhile.
    fn wait(&mut self, copied: bool) -> bool {
        let message = match copied {
            true => self
                .queue
                .recv()
                .map_err(|_gone| RecvTimeoutError::Disconnected),
            false => self.queue.recv_timeout(IDLE),
        };
        match message {
            Ok(message) => self.keep(message),
            Err(RecvTimeoutError::Timeout) => {
                self.db.checkpoint();
                return true;
            }
            Err(RecvTimeoutError::Disconnected) => self.stopping = true,
        }
        copied
    }

    /// Receives what is there.
    fn receive(&mut self) {
        while let Ok(message) = self.queue.try_recv() {
            self.keep(message);
        }
    }

    fn keep(&mut self, message: Message) {
        match message {
            Message::Job(Length::Short, job) => self.short.push_back(job),
            Message::Job(Length::Long, job) => self.long.push_back(job),
            Message::Stop => self.stopping = true,
        }
    }

    /// The next job of that length.
    fn next(&mut self, length: Length) -> Option<(Length, Box<dyn Job>)> {
        let waiting = match length {
            Length::Short => &mut self.short,
            Length::Long => &mut self.long,
        };
        let job = waiting.pop_front()?;
        self.places.add_permits(1);
        Some((length, job))
    }

    /// Runs `first` and jobs that wait behind it, commits, and answers.
    fn batch(&mut self, length: Length, first: Box<dyn Job>) {
        if let Err(error) = self.db.begin() {
            return first.answer(Some(&error));
        }
        let begun = Instant::now();
        let mut has_short = length == Length::Short;
        let mut jobs = Vec::new();
        let mut next = Some(first);
        let mut clean = true;
        while let Some(mut job) = next.take() {
            clean = job.run(&mut self.db);
            jobs.push(job);
            if clean && jobs.len() < BATCH_JOBS_MAX && begun.elapsed() < BATCH_TIME_MAX {
                self.receive();
                let mut following = self.next(Length::Short);
                if following.is_none() && !has_short {
                    following = self.next(Length::Long);
                }
                next = following.map(|(length, job)| {
                    has_short |= length == Length::Short;
                    job
                });
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
