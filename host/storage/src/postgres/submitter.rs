//! Submits that come together share one transaction.
//!
//! What arrives while one batch is written is the next batch: a lone submit waits for nobody, and a
//! flood costs as few commits as the limits allow. Each is answered after the commit, and by its own
//! rules.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::WRITE_TIMEOUT;
use super::call::{Call, Db};
use super::engine::Engine;
use super::insert::{self, Submission, bytes_of};
use crate::{Inserted, StorageError};
use cofferdam_domain::task::NewTask;
use cofferdam_domain::time::Timestamp;

/// Submits that may wait; further callers wait for a place.
const QUEUE_MAX: usize = 4096;
/// Tasks and bytes of one batch; a larger submission is one by itself.
const BATCH_TASKS_MAX: usize = 2000;
const BATCH_BYTES_MAX: usize = 16 << 20;

/// A submission and who waits for its answer.
struct Waiting {
    submission: Submission,
    reply: oneshot::Sender<Result<Vec<Inserted>, StorageError>>,
}

/// The way to the service that stores what is submitted.
pub(super) struct Submitter {
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
}

impl Submitter {
    /// Starts the service.
    pub(super) fn start(engine: &Engine, db: Arc<Db>) -> Submitter {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        engine.keep(serve(db, waiting));
        Submitter {
            queue: Mutex::new(Some(queue)),
        }
    }

    /// Stores one submission, together with whatever else arrives.
    pub(super) async fn insert(
        &self,
        tasks: Vec<NewTask>,
        pending_max: u64,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, StorageError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(StorageError::closed)?;
        let submission = Submission {
            tasks,
            pending_max,
            now,
        };
        queue
            .send(Waiting { submission, reply })
            .await
            .map_err(|_ended| StorageError::closed())?;
        answer.await.map_err(|_ended| StorageError::closed())?
    }

    /// Accepts no further submission.
    pub(super) fn stop(&self) {
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

async fn serve(db: Arc<Db>, mut queue: mpsc::Receiver<Waiting>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(waiting) => waiting,
            None => match queue.recv().await {
                Some(waiting) => waiting,
                None => return,
            },
        };
        let mut batch = vec![first];
        let (mut tasks, mut bytes) = size(&batch[0]);
        while let Ok(waiting) = queue.try_recv() {
            let (more_tasks, more_bytes) = size(&waiting);
            tasks += more_tasks;
            bytes += more_bytes;
            if tasks > BATCH_TASKS_MAX || bytes > BATCH_BYTES_MAX {
                next = Some(waiting);
                break;
            }
            batch.push(waiting);
        }
        store(&db, batch).await;
    }
}

fn size(waiting: &Waiting) -> (usize, usize) {
    let tasks = &waiting.submission.tasks;
    (tasks.len(), tasks.iter().map(bytes_of).sum())
}

async fn store(db: &Arc<Db>, batch: Vec<Waiting>) {
    let (submissions, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.submission, waiting.reply))
        .unzip();
    let submissions: Arc<[Submission]> = submissions.into();
    let stored = Call::new(db, WRITE_TIMEOUT).repeated(move |call| {
        let submissions = Arc::clone(&submissions);
        async move { insert::insert(&call, &submissions).await }.boxed()
    });
    let answers = match stored.await {
        Ok(answers) => answers,
        Err(error) => replies.iter().map(|_| Err(error.clone())).collect(),
    };
    for (reply, answer) in replies.into_iter().zip(answers) {
        // A caller that went away does not need the answer; the effect stays.
        let _unheard = reply.send(answer);
    }
}
