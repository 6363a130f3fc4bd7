//! What a watcher is told while a task goes on, is retried and ends.

use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::sync::Mutex;
use shuttle::thread;

use super::events::{EventKind, Heard, Hub};
use super::{id, in_every_order};
use cofferdam_domain::attempt::Stream;
use cofferdam_domain::state::TaskState::{self, Completed, Failed, Pending, Running};

/// How a task stands in storage.
type Stored = Arc<Mutex<(TaskState, u32)>>;

/// Hears everything until the end; gives the states in order.
fn watch(hub: &Hub, stored: &Stored) -> Vec<(TaskState, u32)> {
    let read = || *stored.lock().unwrap();
    let mut subscription = hub.subscribe(id(1), 0);
    let mark = subscription.mark();
    let (state, attempt) = read();
    let mut is_over = subscription.begin(mark, state, attempt);
    let mut told = Vec::new();
    loop {
        match block_on(subscription.hear()) {
            Heard::Event(event) => {
                if let EventKind::Status { state, attempt } = event.kind {
                    told.push((state, attempt));
                }
            }
            Heard::End if is_over => return told,
            Heard::Nudge | Heard::End => {
                let mark = subscription.mark();
                is_over = subscription.align(mark, Some(read()));
            }
        }
    }
}

/// The places of a task's life, in order.
fn place((state, attempt): (TaskState, u32)) -> u32 {
    2 * attempt + u32::from(state != Running)
}

fn in_order(told: &[(TaskState, u32)]) -> bool {
    told.is_sorted_by(|one, next| {
        let retried = one.0.is_final() && next.0 == Pending;
        place(*one) < place(*next) || (retried && place(*one) == place(*next))
    })
}

/// The completer tells of the first attempt's end while the executor tells of the second's begin.
#[test]
fn states_are_told_in_order_whoever_tells_them_first() {
    in_every_order(|| {
        let (hub, stored) = (Hub::default(), Stored::new(Mutex::new((Pending, 0))));
        let watchers: Vec<_> = (0..2)
            .map(|_| {
                let (hub, stored) = (hub.clone(), Arc::clone(&stored));
                thread::spawn(move || watch(&hub, &stored))
            })
            .collect();
        let commit = |state, attempt| *stored.lock().unwrap() = (state, attempt);
        commit(Running, 1);
        hub.status(id(1), Running, 1);
        commit(Pending, 1);
        let executor = {
            let (hub, stored) = (hub.clone(), Arc::clone(&stored));
            thread::spawn(move || {
                *stored.lock().unwrap() = (Running, 2);
                hub.status(id(1), Running, 2);
                hub.speaker(id(1)).wrote(Stream::Log, b"");
                *stored.lock().unwrap() = (Completed, 2);
                hub.status(id(1), Completed, 2);
            })
        };
        hub.status(id(1), Pending, 1);
        executor.join().unwrap();
        for watcher in watchers {
            let told = watcher.join().unwrap();
            assert!(in_order(&told), "{told:?}");
            // Who came when it was over was told so by storage.
            let last = told.last().copied().unwrap_or((Completed, 2));
            assert_eq!(last, (Completed, 2), "{told:?}");
        }
        assert!(hub.is_deserted());
    });
}

/// One tells of the end, another retries by hand at the same moment.
#[test]
fn a_watch_ends_with_a_final_state_whoever_retries() {
    in_every_order(|| {
        let (hub, stored) = (Hub::default(), Stored::new(Mutex::new((Running, 1))));
        let watcher = {
            let (hub, stored) = (hub.clone(), Arc::clone(&stored));
            thread::spawn(move || watch(&hub, &stored))
        };
        *stored.lock().unwrap() = (Failed, 1);
        let retries = {
            let (hub, stored) = (hub.clone(), Arc::clone(&stored));
            thread::spawn(move || {
                *stored.lock().unwrap() = (Pending, 1);
                hub.nudge(id(1));
                *stored.lock().unwrap() = (Running, 2);
                hub.status(id(1), Running, 2);
                *stored.lock().unwrap() = (Completed, 2);
                hub.status(id(1), Completed, 2);
            })
        };
        hub.status(id(1), Failed, 1);
        retries.join().unwrap();
        let told = watcher.join().unwrap();
        assert!(in_order(&told), "{told:?}");
        let last = told.last().map_or(Completed, |(state, _)| *state);
        assert!(last.is_final(), "{told:?}");
        assert!(hub.is_deserted());
    });
}
