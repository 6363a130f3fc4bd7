//! What clients do during a storm, and what they are told.
//!
//! A client asks the hosts in turn, and repeats what was not answered, until it has an answer. What it
//! does with a task follows from the task's number.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::{POLICY, now};
use super::history::{Cancel, Read, Submit};
use crate::support::http::Answer;
use crate::support::storm::Bases;

/// The wait before another host is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) submits: Vec<Submit>,
    pub(crate) cancels: Vec<Cancel>,
    pub(crate) reads: Vec<Read>,
}

/// The clients of one storm.
pub(crate) struct Clients<'a> {
    pub(crate) bases: &'a Bases,
    pub(crate) tasks: u64,
    next: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    told: Mutex<Told>,
}

impl<'a> Clients<'a> {
    pub(crate) fn of(bases: &'a Bases, tasks: u64) -> Clients<'a> {
        Clients {
            bases,
            tasks,
            next: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// Waits until so many submits were acknowledged.
    pub(crate) fn await_acknowledged(&self, tasks: u64) {
        while self.acknowledged.load(Ordering::Acquire) < tasks {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until so many requests more were refused, or had waited in vain, because a host could not do what was
    /// asked.
    pub(crate) fn await_refused(&self, requests: u64) {
        let enough = self.refused.load(Ordering::Acquire) + requests;
        while self.refused.load(Ordering::Acquire) < enough {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What they were told, when all have ended.
    pub(crate) fn into_told(self) -> Told {
        self.told.into_inner().expect("no client panicked")
    }

    /// One client: works until every task was submitted.
    pub(crate) fn work(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.tasks {
                return;
            }
            let id = self.submit(number);
            self.acknowledged.fetch_add(1, Ordering::Release);
            match number % 10 {
                3 => drop(self.submit(number)),
                5 => self.cancel(number, &id),
                7 => self.read(number, &id),
                _nothing_more => {}
            }
        }
    }

    fn told(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.told.lock().expect("no client panicked"));
    }

    fn submit(&self, number: u64) -> String {
        let answer = self.asked(
            number,
            "POST",
            "/v1/tasks",
            Some(&entry(number)),
            &[202, 200],
        );
        let id = answer.json()["task_id"].as_str().expect("an id").to_owned();
        let submit = Submit {
            key: number,
            id: id.clone(),
        };
        self.told(|told| told.submits.push(submit));
        id
    }

    fn cancel(&self, number: u64, id: &str) {
        let path = format!("/v1/tasks/{id}");
        self.asked(number, "DELETE", &path, None, &[202, 409]);
        if self.await_end(number, id) == "cancelled" {
            let (id, at) = (id.to_owned(), now());
            self.told(|told| told.cancels.push(Cancel { id, at }));
        }
    }

    fn read(&self, number: u64, id: &str) {
        if self.await_end(number, id) == "completed" {
            let path = format!("/v1/tasks/{id}/result");
            let result = self.asked(number, "GET", &path, None, &[200]).text();
            let id = id.to_owned();
            self.told(|told| told.reads.push(Read { id, result }));
        }
    }

    /// How the task ended.
    fn await_end(&self, number: u64, id: &str) -> String {
        let path = format!("/v1/tasks/{id}?wait_ms=2000");
        loop {
            let task = self.asked(number, "GET", &path, None, &[200]).json();
            let status = task["status"].as_str().expect("a status");
            if matches!(status, "completed" | "failed" | "cancelled") {
                return status.to_owned();
            }
            // Where hosts can do nothing, every client may be here.
            self.refused.fetch_add(1, Ordering::Release);
        }
    }

    /// Asks until a host gives one of these answers.
    fn asked(
        &self,
        number: u64,
        method: &str,
        path: &str,
        body: Option<&Value>,
        want: &[u16],
    ) -> Answer {
        let key = format!("storm-{number}");
        let mut headers = vec![("content-type", "application/json")];
        if method == "POST" {
            headers.push(("idempotency-key", &key));
        }
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let first = usize::try_from(number).expect("a small number");
        for turn in first.. {
            match self
                .bases
                .client(turn)
                .try_send(method, path, &headers, &body)
            {
                Ok(answer) if want.contains(&answer.status) => return answer,
                // It is going, has no database or no disk, or does not know; the next one may.
                Ok(answer) if matches!(answer.status, 503 | 507) || is_unknown(&answer) => {
                    self.refused.fetch_add(1, Ordering::Release);
                    thread::sleep(PAUSE);
                }
                Ok(answer) => panic!("{method} {path}: {} {}", answer.status, answer.text()),
                Err(_gone) => thread::sleep(PAUSE),
            }
        }
        unreachable!("there is always a next turn")
    }
}

/// Whether the host says that this may have taken effect, and that it may be repeated.
fn is_unknown(answer: &Answer) -> bool {
    answer.status == 500 && answer.text().contains("\"code\":\"outcome_unknown\"")
}

/// The task of that number: most are short, some fail first, and some run when anything happens.
fn entry(number: u64) -> Value {
    let ms = match number % 25 {
        0 => 400,
        5 => 100,
        _short => number % 4,
    };
    let fail = u32::from(number % 10 == 1);
    json!({
        "module": "diary",
        "input": {"number": number, "ms": ms, "fail": fail},
        "grants": {"dirs": [{"name": "diary", "at": "/diary"}]},
        "retry": {"max_attempts": POLICY.max_attempts, "max_lost": POLICY.max_lost, "base_ms": 50},
    })
}
