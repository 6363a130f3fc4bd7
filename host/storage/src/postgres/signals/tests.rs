//! How signals are gathered, and how they are written.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

use super::*;
use cofferdam_domain::task::TaskId;

/// What the server refuses.
const PAYLOAD_BYTES: usize = 8000;

fn changed(number: u128) -> Signal {
    // The longest number there is.
    Signal::Changed(TaskId(uuid::Uuid::from_u128(u128::MAX - number)))
}

fn told(signals: impl IntoIterator<Item = Signal>) -> Vec<String> {
    let mut told = Told::default();
    signals.into_iter().for_each(|signal| told.add(signal));
    told.payloads("0123456789abcdef")
}

fn heard(payloads: &[String], me: &str) -> Vec<Signal> {
    let heard = payloads.iter().map(|payload| told::heard(payload, me));
    heard
        .flat_map(|heard| match heard {
            Heard::Echo => Vec::new(),
            Heard::Signals(signals) => signals.collect(),
        })
        .collect()
}

#[test]
fn many_changes_take_few_payloads_and_too_many_a_look_at_everything() {
    for count in [1, 200, 201, 800] {
        let signals = (0..count).map(changed).chain([Signal::Work]);
        let payloads = told(signals.clone().chain(signals.clone()));
        assert_eq!(payloads.len(), count.div_ceil(200) as usize);
        assert!(payloads.iter().all(|payload| payload.len() < PAYLOAD_BYTES));
        let key = |signal: &Signal| format!("{signal:?}");
        let heard = heard(&payloads, "other");
        assert_eq!(heard.len(), count as usize + 1);
        let heard: BTreeSet<_> = heard.iter().map(key).collect();
        assert_eq!(heard, signals.map(|signal| key(&signal)).collect());
    }
    let payloads = told((0..5000).map(changed));
    assert_eq!(payloads, ["0123456789abcdef *"]);
    assert_eq!(heard(&payloads, "other"), [Signal::Everything]);
}

#[test]
fn a_host_ignores_its_own_payloads_and_words_that_it_does_not_know() {
    let payloads = told([Signal::Work]);
    assert_eq!(heard(&payloads, "0123456789abcdef"), []);
    let newer = ["other hm w 12 * ".to_owned(), String::new()];
    assert_eq!(heard(&newer, "me"), [Signal::Work, Signal::Everything]);
    assert_eq!(told([]), [""; 0]);
}

#[tokio::test]
async fn signals_go_out_at_once_and_then_together() {
    let signals = HostSignals::named(7);
    let (sender, mut sent) = mpsc::unbounded_channel();
    let delivering = signals.deliver(|payloads| {
        sender.send((Instant::now(), payloads)).unwrap();
        std::future::ready(())
    });
    let telling = async {
        signals.tell(Signal::Work);
        let (first, payloads) = sent.recv().await.unwrap();
        assert_eq!(payloads, ["0000000000000007 w"]);
        for number in 0..100 {
            signals.tell(Signal::Work);
            signals.tell(changed(number));
        }
        let (second, payloads) = sent.recv().await.unwrap();
        assert!(second - first >= PAUSE);
        assert_eq!(payloads.len(), 1);
        assert_eq!(heard(&payloads, "other").len(), 101);
        // What is told last is not lost with the host.
        signals.tell(Signal::Work);
        signals.stop();
    };
    tokio::join!(delivering, telling);
    let (_, payloads) = sent.try_recv().unwrap();
    assert_eq!(payloads, ["0000000000000007 w"]);
    assert!(sent.try_recv().is_err());
}
