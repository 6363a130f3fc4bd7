//! The order, coalescing and resumption of events.

use uuid::Uuid;

use tokio::time::Instant;

use super::subscription::TEXT_PACE;
use super::*;
use cofferdam_domain::task::TaskId;

fn id(n: u128) -> TaskId {
    TaskId(Uuid::from_u128(n))
}

async fn event(watch: &mut Subscription) -> Event {
    match watch.hear().await {
        Heard::Event(event) => event,
        other @ (Heard::Nudge | Heard::End) => panic!("{other:?}"),
    }
}

async fn rest(mut watch: Subscription) -> Vec<(u64, EventKind)> {
    let mut told = Vec::new();
    loop {
        match watch.hear().await {
            Heard::Event(event) => told.push((event.number, event.kind)),
            Heard::Nudge => {}
            Heard::End => return told,
        }
    }
}

#[tokio::test]
async fn a_watcher_hears_everything_in_order_until_the_task_is_final() {
    let hub = Hub::default();
    let watch = hub.subscribe(id(1), 0);
    hub.status(id(1), TaskState::Running, 1);
    hub.progress(id(1), 0.5, "half");
    hub.speaker(id(1)).wrote(Stream::Stdout, b"hello");
    hub.speaker(id(2))
        .wrote(Stream::Stdout, b"not for this watcher");
    hub.status(id(1), TaskState::Completed, 1);
    let told = rest(watch).await;
    assert_eq!(
        told.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert_eq!(
        told[0].1,
        EventKind::Status {
            state: TaskState::Running,
            attempt: 1
        }
    );
    assert_eq!(
        told[1].1,
        EventKind::Progress {
            fraction: 0.5,
            note: "half".to_owned()
        }
    );
    assert_eq!(
        told[3].1,
        EventKind::Status {
            state: TaskState::Completed,
            attempt: 1
        }
    );
}

#[tokio::test]
async fn a_watcher_resumes_after_the_last_event_it_saw() {
    let hub = Hub::default();
    let speaker = hub.speaker(id(1));
    speaker.wrote(Stream::Log, b"one");
    speaker.wrote(Stream::Stdout, b"two");
    hub.status(id(1), TaskState::Failed, 1);
    let numbers = |told: Vec<(u64, EventKind)>| told.into_iter().map(|t| t.0).collect::<Vec<_>>();
    assert_eq!(numbers(rest(hub.subscribe(id(1), 1)).await), [2, 3]);
    // A number from before a restart must not hide known events.
    assert_eq!(numbers(rest(hub.subscribe(id(1), 99)).await), [1, 2, 3]);
}

#[tokio::test]
async fn text_that_nobody_has_read_is_one_event() {
    let hub = Hub::default();
    let speaker = hub.speaker(id(1));
    for byte in b"byte by byte" {
        speaker.wrote(Stream::Stdout, &[*byte]);
    }
    let mut watch = hub.subscribe(id(1), 0);
    let wrote = |bytes: &'static [u8]| EventKind::Wrote {
        stream: Stream::Stdout,
        bytes: bytes.into(),
    };
    assert_eq!(event(&mut watch).await.kind, wrote(b"byte by byte"));
    // Text that was read stays unchanged.
    speaker.wrote(Stream::Stdout, b", on");
    speaker.wrote(Stream::Stdout, b"ward");
    let next = event(&mut watch).await;
    assert_eq!((next.number, next.kind), (2, wrote(b", onward")));
}

#[tokio::test]
async fn a_watcher_of_text_keeps_its_pace_but_hears_the_end_at_once() {
    let hub = Hub::default();
    let speaker = hub.speaker(id(1));
    let mut watch = hub.subscribe(id(1), 0);
    let started = Instant::now();
    for _ in 0..10 {
        speaker.wrote(Stream::Stdout, b"x");
        event(&mut watch).await;
    }
    assert!(
        started.elapsed() >= 9 * TEXT_PACE,
        "{:?}",
        started.elapsed()
    );
    let last = Instant::now();
    let (waiting, ()) = tokio::join!(event(&mut watch), async {
        hub.status(id(1), TaskState::Completed, 1);
    });
    assert!(matches!(waiting.kind, EventKind::Status { .. }));
    assert!(last.elapsed() < TEXT_PACE, "{:?}", last.elapsed());
}

#[tokio::test]
async fn memory_is_bounded_by_text_and_by_tasks() {
    let hub = Hub::default();
    hub.speaker(id(1))
        .wrote(Stream::Stdout, &vec![b'x'; 1024 * 1024]);
    hub.status(id(1), TaskState::Completed, 1);
    let kept: usize = rest(hub.subscribe(id(1), 0))
        .await
        .iter()
        .map(|(_, kind)| match kind {
            EventKind::Wrote { bytes, .. } => bytes.len(),
            EventKind::Status { .. } | EventKind::Progress { .. } => 0,
        })
        .sum();
    assert_eq!(kept, 64 * 1024);
    for n in 2..3000 {
        hub.progress(id(n), 0.1, "");
    }
    let forgotten = hub.subscribe(id(1), 0);
    forgotten.align(0, None);
    assert!(rest(forgotten).await.is_empty());
}

#[tokio::test]
async fn a_task_nobody_watches_and_that_says_nothing_is_not_remembered() {
    let hub = Hub::default();
    drop(hub.subscribe(id(1), 0));
    hub.status(id(1), TaskState::Completed, 1);
    let late = hub.subscribe(id(1), 0);
    late.align(0, None);
    assert!(rest(late).await.is_empty());
}

fn states(told: Vec<(u64, EventKind)>) -> Vec<(TaskState, u32)> {
    let state = |(_, kind)| match kind {
        EventKind::Status { state, attempt } => Some((state, attempt)),
        EventKind::Progress { .. } | EventKind::Wrote { .. } => None,
    };
    told.into_iter().filter_map(state).collect()
}

#[tokio::test]
async fn a_report_that_comes_too_late_is_dropped() {
    use TaskState::{Cancelled, Completed, Pending, Running};
    let hub = Hub::default();
    let watch = hub.subscribe(id(1), 0);
    hub.status(id(1), Running, 1);
    hub.status(id(1), Running, 2);
    // The commit before the second attempt is reported after the attempt began.
    hub.status(id(1), Pending, 1);
    hub.status(id(1), Completed, 2);
    hub.status(id(1), Running, 2);
    hub.status(id(1), Cancelled, 1);
    assert_eq!(
        states(rest(watch).await),
        [(Running, 1), (Running, 2), (Completed, 2)]
    );
}

#[tokio::test]
async fn an_attempt_that_did_not_begin_may_be_reported_again() {
    use TaskState::{Completed, Pending, Running};
    let hub = Hub::default();
    let watch = hub.subscribe(id(1), 0);
    hub.status(id(1), Running, 1);
    hub.not_begun(id(1), 1);
    hub.not_begun(id(1), 1);
    hub.status(id(1), Running, 1);
    hub.status(id(1), Completed, 1);
    assert_eq!(
        states(rest(watch).await),
        [(Running, 1), (Pending, 0), (Running, 1), (Completed, 1)]
    );
}

#[tokio::test]
async fn an_outdated_read_of_storage_does_not_reopen_a_channel() {
    use TaskState::{Failed, Pending, Running};
    let hub = Hub::default();
    let watch = hub.subscribe(id(1), 0);
    hub.status(id(1), Running, 1);
    let mark = watch.mark();
    // Storage said that it runs, and then it failed.
    hub.status(id(1), Failed, 1);
    watch.align(mark, Some((Running, 1)));
    // It was retried by hand, and storage said so.
    let mark = watch.mark();
    watch.align(mark, Some((Pending, 1)));
    hub.status(id(1), Running, 2);
    hub.status(id(1), Failed, 2);
    assert_eq!(
        states(rest(watch).await),
        [
            (Running, 1),
            (Failed, 1),
            (Pending, 1),
            (Running, 2),
            (Failed, 2)
        ]
    );
}
