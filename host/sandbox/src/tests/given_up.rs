//! Runs and sessions that are dropped after so many polls, for every number from none to all they
//! need: slots, memory, instances and files are free again.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::session::{After, Session, Turn};

everywhere! {
    a_run_dropped_at_any_await_leaves_nothing,
    a_run_dropped_in_line_or_at_the_door_leaves_nothing,
    a_session_dropped_at_any_await_leaves_nothing,
}

/// More polls than any of these needs.
const POLLS_MAX: usize = 300;

/// What `work` gives, if it comes to its end within so many polls; dropped right after the last.
async fn polled<T>(polls: usize, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = polls;
    poll_fn(|context| {
        let Some(less) = left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        left = less;
        match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Has `call` made with 0, 1, 2 … polls, until it says that it came to its end. After each nothing
/// is left of it.
async fn at_every_await(rig: &Rig, mut call: impl AsyncFnMut(usize) -> bool) {
    for polls in 0..POLLS_MAX {
        let done = call(polls).await;
        rig.assert_empty().await;
        rig.assert_no_files().await;
        assert_eq!(rig.sandbox.occupancy().waiting, 0);
        if done {
            return;
        }
    }
    panic!("it never comes to its end");
}

async fn a_run_dropped_at_any_await_leaves_nothing(at: Isolation) {
    for guest in [
        "echo.wat",
        "many-files.wat",
        "fill-disk.wat",
        "spin.wat",
        "sleep.wat",
    ] {
        let rig = Rig::new(at);
        let module = rig.load(guest, EngineClass::Fast);
        at_every_await(&rig, async |polls| {
            let mut run = a_run(at);
            let limits = &mut run.spec.limits;
            (limits.disk_files, limits.disk_bytes) = (4, 1 << 17);
            (limits.timeout, limits.cpu) = (GRACE / 10, GRACE / 20);
            let running = rig.sandbox.start(Arc::clone(&module), run);
            let report = polled(polls, running).await;
            report.is_some()
        })
        .await;
    }
}

/// Behind another that has the only place: given up in the line, or let in and not yet told.
async fn a_run_dropped_in_line_or_at_the_door_leaves_nothing(at: Isolation) {
    let rig = Rig::with(at, |config| config.instances_max = 1);
    let (first, second) = (
        rig.load("sleep.wat", EngineClass::Fast),
        rig.load("echo.wat", EngineClass::Fast),
    );
    at_every_await(&rig, async |polls| {
        let mut running = rig.sandbox.start(Arc::clone(&first), a_run(at));
        assert!(futures_util::poll!(&mut running).is_pending());
        let mut waiting = pin!(rig.sandbox.start(Arc::clone(&second), a_run(at)));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(running);
        polled(polls, waiting).await.is_some()
    })
    .await;
}

async fn a_session(rig: &Rig, module: &Arc<LoadedModule>) -> Box<Session> {
    let opened = rig
        .sandbox
        .open_session(Arc::clone(module), a_run(rig.at))
        .await;
    opened.unwrap().unwrap()
}

async fn a_session_dropped_at_any_await_leaves_nothing(at: Isolation) {
    let rig = Rig::new(at);
    // Who calls a guest again wants it to be there still, so sessions always have checks.
    let module = rig.load_for("echo.wat", EngineClass::Fast);
    at_every_await(&rig, async |polls| {
        let opening = rig.sandbox.open_session(Arc::clone(&module), a_run(at));
        polled(polls, opening).await.is_some()
    })
    .await;
    at_every_await(&rig, async |polls| {
        let session = a_session(&rig, &module).await;
        drop(polled(polls, session.files()).await);
        let call = session.call(Turn {
            input: payload(b"{}"),
            stdin: Bytes::new(),
            timeout: Duration::from_secs(20),
            end_by: None,
            cpu: Duration::from_secs(20),
            kill: CancellationToken::new(),
        });
        let Some((report, after)) = polled(polls, call).await else {
            return false;
        };
        assert_eq!(&output(report).body[..], b"{}");
        assert!(matches!(after, After::Live(_)));
        true
    })
    .await;
}
