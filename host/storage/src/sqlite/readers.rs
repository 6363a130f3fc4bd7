//! A few threads with a read-only connection each, so that reading never waits for writing and
//! never blocks an async thread.
//!
//! Each read has a deadline, counted from the moment its thread begins with it, so that a slow read
//! does not keep the others waiting.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot};

use super::connection::open_reader;
use super::vital;
use crate::StorageError;

/// How many reads run at once.
const THREADS: usize = 3;
/// Reads that may wait; further callers wait for a place.
const QUEUE_JOBS_MAX: usize = 1024;

/// Steps of SQLite's virtual machine between two readings of the clock.
const STEPS_PER_LOOK: i32 = 2000;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A handle to the readers.
pub(super) struct Readers {
    jobs: Sender<Option<Job>>,
    places: Arc<Semaphore>,
}

impl Readers {
    /// Opens the connections and starts the threads.
    pub(super) fn start(
        database: &Path,
        timeout: Duration,
    ) -> Result<(Readers, Vec<JoinHandle<()>>), StorageError> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let places = Arc::new(Semaphore::new(QUEUE_JOBS_MAX));
        let mut handles = Vec::with_capacity(THREADS);
        for number in 0..THREADS {
            let conn = Reader::new(open_reader(database)?, timeout)?;
            let (queue, places) = (Arc::clone(&queue), Arc::clone(&places));
            let name = format!("storage-read-{number}");
            let handle = vital::spawn(name, move || run(&conn, &queue, &places))
                .map_err(|error| StorageError::Unavailable(error.to_string()))?;
            handles.push(handle);
        }
        Ok((Readers { jobs, places }, handles))
    }

    /// Has `work` done on a read-only connection.
    pub(super) async fn call<T, W>(&self, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, StorageError> + Send + 'static,
    {
        // The thread gives the place back when it takes the job.
        self.places
            .acquire()
            .await
            .map_err(|_closed| StorageError::closed())?
            .forget();
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            // A caller that went away does not need the answer.
            let _unheard = reply.send(work(conn));
        });
        self.jobs
            .send(Some(job))
            .map_err(|_ended| StorageError::closed())?;
        answer.await.map_err(|_ended| StorageError::closed())?
    }

    /// Accepts no further reads; the threads end after those in the queue.
    pub(super) fn stop(&self) {
        self.places.close();
        for _thread in 0..THREADS {
            let _ended = self.jobs.send(None);
        }
    }
}

/// A connection that aborts reads that take too long.
struct Reader {
    conn: Connection,
    timeout: Duration,
    /// When the present read is aborted.
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Reader {
    fn new(mut conn: Connection, timeout: Duration) -> Result<Reader, StorageError> {
        let deadline = Arc::new(Mutex::new(None::<Instant>));
        let seen = Arc::clone(&deadline);
        let is_late = move || {
            let deadline = *seen.lock().unwrap_or_else(PoisonError::into_inner);
            deadline.is_some_and(|at| Instant::now() >= at)
        };
        conn.progress_handler(STEPS_PER_LOOK, Some(is_late))?;
        Ok(Reader {
            conn,
            timeout,
            deadline,
        })
    }

    fn read(&self, job: Job) {
        self.set_deadline(Some(Instant::now() + self.timeout));
        job(&self.conn);
        self.set_deadline(None);
    }

    fn set_deadline(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
}

fn run(reader: &Reader, queue: &Mutex<Receiver<Option<Job>>>, places: &Semaphore) {
    loop {
        // One thread at a time waits at the queue; the others wait for the lock.
        let message = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match message {
            Ok(Some(job)) => {
                places.add_permits(1);
                reader.read(job);
            }
            Ok(None) | Err(_) => return,
        }
    }
}
