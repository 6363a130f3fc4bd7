//! Submits that come together share one transaction.
//!
//! What arrives while one batch is written is the next batch: a lone submit waits for nobody, and a
//! flood costs as few commits as the limits allow. Each is answered after the commit, and by its own
//! rules.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::WRITE_TIMEOUT;
use super::call::{Call, Db};
use super::engine::Engine;
use super::fault::Fault;
use super::insert::{self, Submission, bytes_of};
use super::seen::Seen;
use crate::{Inserted, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::NewTask;

/// Submits that may wait; further callers wait for a place.
const QUEUE_MAX: usize = 4096;
/// Tasks and bytes of one batch; a larger submission is one by itself.
const BATCH_TASKS_MAX: usize = 2000;
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What is submitted.
pub(super) trait Submitted: Send + Sync + Sized + 'static {
    /// What each is told.
    type Answer: Send + 'static;

    /// The tasks that it brings.
    fn tasks(&self) -> &[NewTask];

    /// Whose they are.
    fn tenants(&self) -> impl Iterator<Item = &Tenant>;

    /// Stores those that came together; each by its own rules.
    fn store(call: Call, all: Arc<[Self]>) -> BoxFuture<'static, Result<Told<Self>, Fault>>;
}

/// The answers to those that came together.
pub(super) type Told<T> = Vec<Result<<T as Submitted>::Answer, StorageError>>;

impl Submitted for Submission {
    type Answer = Vec<Inserted>;

    fn tasks(&self) -> &[NewTask] {
        &self.tasks
    }

    fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tasks.iter().map(|task| &task.tenant)
    }

    fn store(call: Call, all: Arc<[Self]>) -> BoxFuture<'static, Result<Told<Self>, Fault>> {
        async move { insert::insert(&call, &all).await }.boxed()
    }
}

/// A submission and who waits for its answer.
struct Waiting<T: Submitted> {
    submission: T,
    reply: oneshot::Sender<Result<T::Answer, StorageError>>,
}

/// The way to the service that stores what is submitted.
pub(super) struct Submitter<T: Submitted> {
    queue: Mutex<Option<mpsc::Sender<Waiting<T>>>>,
}

impl<T: Submitted> Submitter<T> {
    /// Starts the service.
    pub(super) fn start(engine: &Engine, db: Arc<Db>) -> Submitter<T> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        engine.keep(serve(db, waiting));
        Submitter {
            queue: Mutex::new(Some(queue)),
        }
    }

    /// Stores one submission, together with whatever else arrives.
    pub(super) async fn insert(&self, submission: T) -> Result<T::Answer, StorageError> {
        let (reply, answer) = oneshot::channel();
        let queue = self
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(StorageError::closed)?;
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

async fn serve<T: Submitted>(db: Arc<Db>, mut queue: mpsc::Receiver<Waiting<T>>) {
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

fn size<T: Submitted>(waiting: &Waiting<T>) -> (usize, usize) {
    let tasks = waiting.submission.tasks();
    (tasks.len(), tasks.iter().map(bytes_of).sum())
}

async fn store<T: Submitted>(db: &Arc<Db>, batch: Vec<Waiting<T>>) {
    let (submissions, replies): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.submission, waiting.reply))
        .unzip();
    let submissions: Arc<[T]> = submissions.into();
    let seen = Seen::several(submissions.iter().flat_map(T::tenants));
    let call = Call::new(db, WRITE_TIMEOUT).seeing(seen);
    let stored = call.repeated(move |call| T::store(call, Arc::clone(&submissions)));
    let answers = match stored.await {
        Ok(answers) => answers,
        Err(error) => replies.iter().map(|_| Err(error.clone())).collect(),
    };
    for (reply, answer) in replies.into_iter().zip(answers) {
        // A caller that went away does not need the answer; the effect stays.
        let _unheard = reply.send(answer);
    }
}
