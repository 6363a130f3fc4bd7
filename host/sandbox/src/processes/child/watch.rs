//! A guest whose code has no checks: it has the process for itself and a thread of its own, and the thread
//! that hears the host watches it.
//!
//! While it waits in a host call it ends as every guest does. While it computes nothing can end it, so the
//! watch says how it ended, with all that it wrote so far, and the host kills the process. The host looks at
//! the same limits by its own clocks, for a process that is no longer what it was.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;

use crate::admission::Growth;
use crate::local::{self, Ended, Remains};
use crate::meter::Meter;
use crate::outcome::Stop;
use crate::witness::{Spent, Witness};
use crate::{Loaded, Run, Shared};

/// How nice the guest's thread is: a little more than the one that watches it.
const NICENESS: i32 = 8;
/// How long a guest that waits may take to end by itself.
const SETTLING: Duration = Duration::from_millis(4);
/// The shortest wait until the next look at the CPU clock.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// The guest's thread. It ends with the process: a guest in it may never give it back.
#[derive(Clone)]
pub(super) struct GuestThread(Handle);

/// How a guest ended.
pub(super) enum End {
    /// By itself, or while it waited.
    Out(Box<Ended>, Remains),
    /// It still computes.
    Spent(Box<Spent>),
}

impl End {
    /// Of one that gave its thread back.
    pub(super) fn of((ended, remains): (Ended, Remains)) -> End {
        End::Out(Box::new(ended), remains)
    }
}

impl GuestThread {
    /// Starts it; `runtime` runs there.
    pub(super) fn start(runtime: Runtime) -> io::Result<GuestThread> {
        let handle = runtime.handle().clone();
        let (started, is_started) = sync_channel(0);
        std::thread::Builder::new()
            .name("guest".to_owned())
            .spawn(move || {
                // Where it cannot be, the kernel has to share them out.
                let _same_priority = rustix::process::setpriority_process(None, NICENESS);
                // Nobody waits for it who has gone.
                let _heard = started.send(());
                runtime.block_on(std::future::pending::<()>());
            })?;
        is_started.recv().map_err(io::Error::other)?;
        Ok(GuestThread(handle))
    }

    /// Runs a guest there until it ends, or must.
    pub(super) async fn run(
        &self,
        shared: Arc<Shared>,
        module: Arc<Loaded>,
        run: Run,
        deadline: Instant,
        growth: Growth,
    ) -> io::Result<End> {
        let (limits, kind) = (run.spec.limits, module.kind());
        let kill = run.attachments.control.kill.clone();
        let (witness, before) = (Arc::new(Witness::default()), process_cpu());
        let used = || process_cpu().saturating_sub(before);
        let mut work = self.0.spawn({
            let witness = Arc::clone(&witness);
            async move {
                let meter = Arc::new(Meter::new(limits.cpu));
                let witness = Some(&*witness);
                local::perform(&shared, &module, run, &meter, deadline, growth, witness).await
            }
        });
        let stop = tokio::select! {
            biased;
            ended = &mut work => return Ok(End::of(ended.map_err(io::Error::other)?)),
            stop = over(&kill, deadline, limits.cpu, used) => stop,
        };
        tokio::select! {
            biased;
            ended = &mut work => return Ok(End::of(ended.map_err(io::Error::other)?)),
            () = tokio::time::sleep(SETTLING) => {}
        }
        if witness.is_out() {
            return Ok(End::of(work.await.map_err(io::Error::other)?));
        }
        let spent = witness.end(stop, kind, &limits, used());
        Ok(End::Spent(Box::new(spent)))
    }
}

/// Waits until a guest must end, and says why, in the order in which every guest's limits are looked at.
async fn over(
    kill: &CancellationToken,
    deadline: Instant,
    allowed: Duration,
    used: impl Fn() -> Duration,
) -> Stop {
    loop {
        let left = allowed.saturating_sub(used());
        if left.is_zero() {
            return Stop::CpuExhausted;
        }
        if Instant::now() >= deadline {
            return Stop::TimedOut;
        }
        // It uses no more of the CPU than there is time, or hardly.
        let look = Instant::now() + left.max(LOOK_MIN);
        tokio::select! {
            biased;
            () = kill.cancelled() => return Stop::Killed,
            () = tokio::time::sleep_until(look.min(deadline).into()) => {}
        }
    }
}

/// The CPU time of all threads of this process.
fn process_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}
