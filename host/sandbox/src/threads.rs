//! Decides which thread a guest runs on.
//!
//! A short guest runs on the thread where its request arrived: no hop between threads. A guest that
//! is still running at its first epoch tick is handed over, future and all, to the guest threads,
//! which have a lower priority, so that a busy guest cannot slow the API.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// A future that knows whether it has used up its first slice of CPU time.
pub trait Sliced: Future + Send + Unpin + 'static {
    /// True once it yielded the thread only because its slice was over.
    fn is_long(&self) -> bool;
}

/// The threads that long guests run on.
#[derive(Debug)]
pub struct GuestThreads {
    runtime: Runtime,
}

/// A handle to the guest threads.
#[derive(Clone, Debug)]
pub struct GuestThreadsHandle {
    handle: Handle,
}

/// How much nicer (lower in priority) a guest thread is than the threads that serve requests.
const GUEST_NICENESS: i32 = 10;

impl GuestThreads {
    /// Starts `threads` threads.
    pub fn start(threads: usize) -> std::io::Result<GuestThreads> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(64)
            .thread_name("guest")
            .on_thread_start(|| {
                // On Linux each thread has its own niceness. Without the right to change it, the
                // guests compete on equal terms.
                let _kept_as_it_is = rustix::process::setpriority_process(None, GUEST_NICENESS);
            })
            .enable_all()
            .build()?;
        Ok(GuestThreads { runtime })
    }

    /// A handle that can be cloned and shared.
    pub fn handle(&self) -> GuestThreadsHandle {
        GuestThreadsHandle {
            handle: self.runtime.handle().clone(),
        }
    }

    /// Ends the threads; guests still running are dropped at their next epoch tick.
    pub fn stop(self) {
        self.runtime.shutdown_background();
    }
}

impl GuestThreadsHandle {
    /// Drives `run` to its end: here for its first slice, on a guest thread after that. Dropping
    /// the returned future ends the run.
    pub async fn drive<R>(&self, mut run: R) -> R::Output
    where
        R: Sliced,
        R::Output: Send + 'static,
    {
        let first = poll_fn(|context| match Pin::new(&mut run).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if run.is_long() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        match first {
            Some(output) => output,
            None => self.hand_over(run).await,
        }
    }

    /// Drives `work` on a guest thread from the start.
    pub async fn hand_over<F>(&self, work: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        AbortOnDrop(self.handle.spawn(work)).await
    }

    /// Computes at the guests' priority, on a thread that may be busy for as long as the work
    /// takes. If the future is dropped, the work still runs to its end.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.handle.spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The guest threads are gone: the process is ending and nobody will be answered.
            Err(_) => std::future::pending().await,
        }
    }

    /// The runtime of the guest threads, for services that live there.
    pub fn runtime(&self) -> &Handle {
        &self.handle
    }
}

/// Waits for a task and aborts it if the waiter is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Ready(Ok(output)) => Poll::Ready(output),
            // The task panicked: the panic continues in the waiter, as if the task had run here.
            Poll::Ready(Err(error)) if error.is_panic() => {
                std::panic::resume_unwind(error.into_panic())
            }
            // The guest threads are gone: the process is ending and nobody will be answered.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
