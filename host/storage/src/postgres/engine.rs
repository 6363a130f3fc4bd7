//! The thread that all traffic with the database runs on, and the one for a bucket.
//!
//! A caller hands over a future and waits for its answer; if the caller goes away, the future goes on,
//! so that no connection is left in the middle of a transaction. The thread owns every future and is
//! joined when storage is closed.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};

use crate::StorageError;

/// Calls that go on at once; further callers wait for a place.
const CALLS_MAX: u32 = 4096;
/// How long those that go on may take once storage is closed.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The way to the thread.
pub(super) struct Engine {
    handle: Handle,
    places: Arc<Semaphore>,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Engine {
    /// Starts the thread, under this name.
    pub(super) fn start(name: &str) -> Result<Engine, StorageError> {
        let failed = |error: std::io::Error| StorageError::Unavailable(error.to_string());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let places = Arc::new(Semaphore::new(CALLS_MAX as usize));
        let (stop, stopped) = oneshot::channel();
        let going_on = Arc::clone(&places);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let _stopped_or_dropped = stopped.await;
                    let all = going_on.acquire_many(CALLS_MAX);
                    let _left_behind = tokio::time::timeout(SETTLE_TIMEOUT, all).await;
                    going_on.close();
                    // Connections say goodbye.
                    tokio::task::yield_now().await;
                });
            })
            .map_err(failed)?;
        Ok(Engine {
            handle,
            places,
            thread: Mutex::new(Some((stop, thread))),
        })
    }

    /// Has `work` done on the thread and waits for its answer.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_closed| StorageError::closed())?;
        let done = self.handle.spawn(async move {
            let _given_back_at_the_end = place;
            work.await
        });
        done.await.map_err(|_ended| StorageError::closed())?
    }

    /// Has `service` run on the thread until it ends by itself.
    pub(super) fn keep(&self, service: impl Future<Output = ()> + Send + 'static) {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let _joined_with_the_thread = self.handle.spawn(async move {
            let _given_back_at_the_end = place;
            service.await;
        });
    }

    /// Has `work` done on the thread. Blocks until it is.
    pub(super) fn wait_for<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.keep(async move {
            let _nobody_left = reply.send(work.await);
        });
        answer.recv().map_err(|_ended| StorageError::closed())?
    }

    /// Lets what goes on end and ends the thread. Blocks.
    pub(super) fn stop(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((stop, thread)) = thread {
            let _ended_already = stop.send(());
            if thread.join().is_err() {
                tracing::error!("a thread of the storage panicked");
            }
        }
    }
}
