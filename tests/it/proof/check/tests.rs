//! Each violation is found in a history that has only it.

use super::*;
use crate::proof::history::{Cancel, Outage, Read, Seen, Submit};

const POLICY: Policy = Policy {
    max_attempts: 2,
    max_lost: 1,
};

fn attempt(id: &str, number: u32, ended: Result<&str, &str>) -> Attempt {
    Attempt {
        id: id.to_owned(),
        number,
        worker: format!("w{number}"),
        started_at: Millis::from(number) * 1000,
        finished_at: Millis::from(number) * 1000 + 500,
        ended: ended.map(str::to_owned).map_err(str::to_owned),
    }
}

fn begun(id: &str, attempt: u32, at: Millis) -> Begun {
    let id = id.to_owned();
    Begun { id, attempt, at }
}

fn seen(id: &str, status: &str, attempt: u32) -> Seen {
    let (id, status) = (id.to_owned(), status.to_owned());
    Seen {
        id,
        status,
        attempt,
    }
}

/// A: lost with its worker, then completed. B: cancelled while it waited.
fn sound() -> History {
    let task = |id: &str, status: &str, attempt| Task {
        id: id.to_owned(),
        status: status.to_owned(),
        attempt,
    };
    let submit = |key, id: &str| Submit {
        key,
        id: id.to_owned(),
    };
    History {
        span: (0, 20_000),
        submits: vec![submit(1, "a"), submit(2, "b"), submit(1, "a")],
        cancels: vec![Cancel {
            id: "b".to_owned(),
            at: 900,
        }],
        reads: vec![Read {
            id: "a".to_owned(),
            result: "1".to_owned(),
        }],
        begun: vec![begun("a", 1, 1001), begun("a", 2, 2001)],
        seen: vec![
            seen("a", "running", 1),
            seen("b", "cancelled", 0),
            seen("b", "cancelled", 0),
            seen("a", "completed", 2),
        ],
        stalls: vec![Stall {
            worker: "w1".to_owned(),
            from: 1200,
            to: None,
        }],
        outages: Vec::new(),
        tasks: vec![task("a", "completed", 2), task("b", "cancelled", 0)],
        attempts: vec![attempt("a", 2, Ok("1")), attempt("a", 1, Err("lost"))],
        counted: [("completed".to_owned(), 1), ("cancelled".to_owned(), 1)].into(),
    }
}

#[track_caller]
fn finds(change: impl FnOnce(&mut History), expected: &[Violation]) {
    let mut history = sound();
    change(&mut history);
    let found = violations(&history, POLICY);
    assert_eq!(found, expected.iter().cloned().collect());
}

fn a() -> String {
    "a".to_owned()
}

#[test]
fn a_sound_history_shows_nothing_broken() {
    finds(|_| {}, &[]);
}

#[test]
fn tasks_that_are_lost_or_that_nobody_asked_for() {
    let lost = Violation::Lost { id: "c".to_owned() };
    finds(
        |one| {
            one.submits.push(Submit {
                key: 3,
                id: "c".to_owned(),
            })
        },
        &[lost],
    );
    let unasked = Violation::Unasked { id: a() };
    finds(
        |one| one.submits.retain(|submit| submit.key != 1),
        &[unasked],
    );
}

#[test]
fn submits_that_were_not_idempotent() {
    let ids = vec![a(), "b".to_owned()];
    let twice = Violation::NotIdempotent { ids };
    let shared = Violation::NotIdempotent {
        ids: vec!["b".to_owned()],
    };
    finds(
        |one| {
            one.submits.insert(
                0,
                Submit {
                    key: 1,
                    id: "b".to_owned(),
                },
            )
        },
        &[twice, shared],
    );
    let wrong = [Violation::NotIdempotent { ids: vec![a()] }];
    finds(
        |one| one.submits.insert(0, Submit { key: 4, id: a() }),
        &wrong,
    );
}

#[test]
fn a_task_that_never_ended() {
    let status = "running".to_owned();
    let change = |one: &mut History| {
        one.tasks[0].status = "running".to_owned();
        one.seen[3].status = "running".to_owned();
        one.counted = [("running".to_owned(), 1), ("cancelled".to_owned(), 1)].into();
    };
    finds(change, &[Violation::NotFinal { id: a(), status }]);
}

#[test]
fn results_that_are_two_none_or_wrong() {
    let results = |accepted| Violation::Results {
        id: a(),
        status: "completed".to_owned(),
        accepted,
    };
    finds(
        |one| one.attempts[1].ended = Ok("1".to_owned()),
        &[results(2)],
    );
    finds(
        |one| one.attempts[0].ended = Err("trap".to_owned()),
        &[results(0)],
    );
    let wrong = |result: &str| Violation::WrongResult {
        id: a(),
        result: result.to_owned(),
    };
    finds(
        |one| one.attempts[0].ended = Ok("7".to_owned()),
        &[wrong("7")],
    );
    finds(|one| one.reads[0].result = "8".to_owned(), &[wrong("8")]);
}

#[test]
fn attempts_with_a_gap_and_too_many() {
    let gap = |numbers: &[u32]| Violation::Gap {
        id: a(),
        numbers: numbers.to_vec(),
    };
    let third = |one: &mut History| {
        one.attempts[0].number = 3;
        one.begun[1].attempt = 2;
        one.begun.push(begun("a", 3, 2002));
        one.tasks[0].attempt = 3;
        one.seen[3].attempt = 3;
    };
    finds(third, &[gap(&[1, 3])]);
    finds(
        |one| one.attempts.push(attempt("a", 2, Err("trap"))),
        &[gap(&[1, 2, 2])],
    );
    let many = |kinds: [&'static str; 2], lost| {
        let change = move |one: &mut History| {
            one.attempts = vec![
                attempt("a", 1, Err(kinds[0])),
                attempt("a", 2, Err(kinds[1])),
            ];
            one.attempts
                .extend([attempt("a", 3, Err("lost")), attempt("a", 4, Ok("1"))]);
            one.begun.push(begun("a", 4, 2002));
            one.tasks[0].attempt = 4;
            one.seen[3].attempt = 4;
        };
        finds(
            change,
            &[Violation::TooMany {
                id: a(),
                attempts: 4,
                lost,
            }],
        );
    };
    many(["trap", "trap"], 1);
    many(["lost", "lost"], 3);
}

#[test]
fn results_without_a_guest_and_guests_without_an_attempt() {
    let never = Violation::NeverBegan {
        id: a(),
        attempt: 2,
    };
    finds(|one| drop(one.begun.pop()), &[never]);
    let unrecorded = Violation::Unrecorded {
        id: a(),
        attempt: 3,
    };
    finds(|one| one.begun.push(begun("a", 3, 9000)), &[unrecorded]);
    let outage = |crash| Outage {
        from: 9000,
        to: 9100,
        crash,
    };
    let forgotten = |crash| {
        move |one: &mut History| {
            one.begun.push(begun("a", 3, 8999));
            one.outages.push(outage(crash));
        }
    };
    finds(forgotten(true), &[]);
    finds(
        forgotten(false),
        &[Violation::Unrecorded {
            id: a(),
            attempt: 3,
        }],
    );
}

#[test]
fn attempts_that_are_dated_wrongly() {
    let wrong = [Violation::Misdated {
        id: a(),
        attempt: 2,
    }];
    finds(|one| one.attempts[0].started_at = -3_600_000, &wrong);
    finds(|one| one.attempts[0].finished_at = 3_600_000, &wrong);
}

#[test]
fn guests_that_begin_after_their_cancel() {
    let cancelled = |at| move |one: &mut History| one.cancels.push(Cancel { id: a(), at });
    finds(cancelled(2001), &[]);
    let late = Violation::BegunAfterCancel {
        id: a(),
        late_ms: 1,
    };
    finds(cancelled(2000), std::slice::from_ref(&late));
    let stood_still = |to| {
        move |one: &mut History| {
            cancelled(2000)(one);
            let worker = "w2".to_owned();
            one.stalls.push(Stall {
                worker,
                from: 1900,
                to,
            });
        }
    };
    finds(stood_still(Some(1950)), &[]);
    finds(stood_still(None), std::slice::from_ref(&late));
    finds(stood_still(Some(1000)), &[late]);
}

#[test]
fn changes_that_the_reader_was_not_told() {
    let lost = [Violation::ChangeLost { id: a() }];
    finds(|one| drop(one.seen.pop()), &lost);
    finds(|one| one.seen.retain(|seen| seen.id != "a"), &lost);
    let risen = Violation::Resurrected { id: "b".to_owned() };
    finds(|one| one.seen[1].attempt = 1, &[risen]);
}

#[test]
fn a_dead_workers_task_that_waits_too_long() {
    let late = |one: &mut History| one.attempts[0].started_at = 11_201;
    let waited = |waited_ms| Violation::LateRescue { id: a(), waited_ms };
    finds(late, &[waited(10_001)]);
    let change = |one: &mut History| {
        late(one);
        one.outages.push(Outage {
            from: 1300,
            to: 1400,
            crash: false,
        });
    };
    finds(change, &[]);
    // It had ended before, so nothing was taken.
    let ended = |one: &mut History| {
        late(one);
        one.stalls[0].from = 1600;
    };
    finds(ended, &[]);
}

#[test]
fn counts_that_do_not_add_up() {
    let wrong = |status: &str, counted, are| Violation::Miscounted {
        status: status.to_owned(),
        counted,
        are,
    };
    let add = |one: &mut History| one.counted.extend([("running".to_owned(), 1)]);
    finds(add, &[wrong("running", 1, 0)]);
    finds(
        |one| one.counted.retain(|status, _| status != "completed"),
        &[wrong("completed", 0, 1)],
    );
}
