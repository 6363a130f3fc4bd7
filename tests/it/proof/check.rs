//! Judges a history: what the product promises, as a pure function of what happened.
//!
//! It knows of no host and no database. What may excuse a finding is part of the history: the instants
//! at which a worker stood still, and those at which the database was away.

mod tests;
mod violation;

use std::collections::{BTreeMap, BTreeSet, HashMap};

pub(crate) use self::violation::Violation;
use super::history::{Attempt, Begun, History, Millis, Policy, Stall, Task};

/// How long a dead worker's tasks may wait until they run elsewhere.
const RESCUE_MAX_MS: Millis = 10_000;
/// How long a worker that stood still may take to notice it.
const NOTICE_MAX_MS: Millis = 1_000;
/// By how much the database's clock and this machine's may differ.
const SKEW_MAX_MS: Millis = 1_000;
/// The final states.
const FINAL: [&str; 3] = ["completed", "failed", "cancelled"];

/// Every promise that this history shows broken.
pub(crate) fn violations(history: &History, policy: Policy) -> BTreeSet<Violation> {
    let judge = Judge::of(history, policy);
    let mut found = BTreeSet::new();
    judge.submits(&mut found);
    judge.tasks(&mut found);
    judge.guests(&mut found);
    judge.cancels(&mut found);
    judge.changes(&mut found);
    judge.rescues(&mut found);
    judge.counts(&mut found);
    found
}

struct Judge<'a> {
    history: &'a History,
    policy: Policy,
    tasks: HashMap<&'a str, &'a Task>,
    /// In the order of their numbers.
    attempts: HashMap<&'a str, Vec<&'a Attempt>>,
    begun: HashMap<&'a str, Vec<&'a Begun>>,
    /// What was submitted, by the tasks that came of it.
    keys: HashMap<&'a str, u64>,
}

impl<'a> Judge<'a> {
    fn of(history: &'a History, policy: Policy) -> Judge<'a> {
        let tasks = history.tasks.iter().map(|task| (task.id.as_str(), task));
        let mut attempts: HashMap<&str, Vec<&Attempt>> = HashMap::new();
        for attempt in &history.attempts {
            attempts.entry(&attempt.id).or_default().push(attempt);
        }
        for of_task in attempts.values_mut() {
            of_task.sort_by_key(|attempt| attempt.number);
        }
        let mut begun: HashMap<&str, Vec<&Begun>> = HashMap::new();
        for one in &history.begun {
            begun.entry(&one.id).or_default().push(one);
        }
        let keys = history.submits.iter();
        Judge {
            history,
            policy,
            tasks: tasks.collect(),
            attempts,
            begun,
            keys: keys
                .map(|submit| (submit.id.as_str(), submit.key))
                .collect(),
        }
    }

    fn attempts(&self, id: &str) -> &[&'a Attempt] {
        self.attempts.get(id).map_or(&[], Vec::as_slice)
    }

    fn submits(&self, found: &mut BTreeSet<Violation>) {
        let mut of_key: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        let mut of_id: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
        for submit in &self.history.submits {
            of_key.entry(submit.key).or_default().insert(&submit.id);
            of_id.entry(&submit.id).or_default().insert(submit.key);
            if !self.tasks.contains_key(submit.id.as_str()) {
                let id = submit.id.clone();
                found.insert(Violation::Lost { id });
            }
        }
        let several = of_key.into_values().filter(|ids| ids.len() > 1);
        let shared = of_id.into_iter().filter(|(_, keys)| keys.len() > 1);
        let shared = shared.map(|(id, _)| BTreeSet::from([id]));
        for ids in several.chain(shared) {
            let ids = ids.into_iter().map(str::to_owned).collect();
            found.insert(Violation::NotIdempotent { ids });
        }
    }

    fn tasks(&self, found: &mut BTreeSet<Violation>) {
        for task in &self.history.tasks {
            let id = || task.id.clone();
            let status = task.status.clone();
            let attempts = self.attempts(&task.id);
            let Some(key) = self.keys.get(task.id.as_str()) else {
                found.insert(Violation::Unasked { id: id() });
                continue;
            };
            if !FINAL.contains(&status.as_str()) {
                found.insert(Violation::NotFinal { id: id(), status });
                continue;
            }
            let results = attempts
                .iter()
                .filter_map(|attempt| attempt.ended.as_ref().ok());
            let results: Vec<_> = results.collect();
            let accepted = results.len();
            let may_be = match status.as_str() {
                "completed" => 1..=1,
                // A guest may still have given one while it was being cancelled.
                "cancelled" => 0..=1,
                _failed => 0..=0,
            };
            if !may_be.contains(&accepted) {
                found.insert(Violation::Results {
                    id: id(),
                    status,
                    accepted,
                });
            }
            let read = self.history.reads.iter();
            let read = read
                .filter(|read| read.id == task.id)
                .map(|read| &read.result);
            for result in results.into_iter().chain(read) {
                if *result != key.to_string() {
                    let result = result.clone();
                    found.insert(Violation::WrongResult { id: id(), result });
                }
            }
            self.numbers(task, attempts, found);
        }
    }

    fn numbers(&self, task: &Task, attempts: &[&Attempt], found: &mut BTreeSet<Violation>) {
        let id = task.id.clone();
        let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
        if !numbers.iter().copied().eq(1..=task.attempt) {
            let id = id.clone();
            found.insert(Violation::Gap { id, numbers });
        }
        let lost = attempts
            .iter()
            .filter(|attempt| attempt.ended == Err("lost".to_owned()));
        let (attempts, lost) = (attempts.len(), lost.count());
        let tried = attempts - lost;
        if tried > self.policy.max_attempts as usize || lost > self.policy.max_lost as usize + 1 {
            found.insert(Violation::TooMany { id, attempts, lost });
        }
    }

    fn guests(&self, found: &mut BTreeSet<Violation>) {
        for attempt in &self.history.attempts {
            let begun = self.begun.get(attempt.id.as_str());
            let is_its = |begun: &&Begun| begun.attempt == attempt.number;
            let began = begun.is_some_and(|begun| begun.iter().copied().any(|one| is_its(&one)));
            let (from, to) = self.history.span;
            let span = from - SKEW_MAX_MS..=to + SKEW_MAX_MS;
            if !span.contains(&attempt.started_at) || !span.contains(&attempt.finished_at) {
                let (id, attempt) = (attempt.id.clone(), attempt.number);
                found.insert(Violation::Misdated { id, attempt });
            }
            if attempt.ended.is_ok() && !began {
                let (id, attempt) = (attempt.id.clone(), attempt.number);
                found.insert(Violation::NeverBegan { id, attempt });
            }
        }
        for begun in &self.history.begun {
            let made = self
                .tasks
                .get(begun.id.as_str())
                .map_or(0, |task| task.attempt);
            if begun.attempt > made && !self.was_forgotten(begun) {
                let (id, attempt) = (begun.id.clone(), begun.attempt);
                found.insert(Violation::Unrecorded { id, attempt });
            }
        }
    }

    /// Whether the database may have forgotten the claim of this run: it does not wait for the disk.
    fn was_forgotten(&self, begun: &Begun) -> bool {
        let crashes = self.history.outages.iter().filter(|outage| outage.crash);
        let around = |from: Millis, to: Millis| from - NOTICE_MAX_MS..=to + NOTICE_MAX_MS;
        let mut crashes = crashes.map(|outage| around(outage.from, outage.to));
        crashes.any(|around| around.contains(&begun.at))
    }

    fn cancels(&self, found: &mut BTreeSet<Violation>) {
        for cancel in &self.history.cancels {
            for begun in self.begun.get(cancel.id.as_str()).into_iter().flatten() {
                let late_ms = begun.at - cancel.at;
                if late_ms > 0 && !self.has_just_woken(begun) {
                    let id = cancel.id.clone();
                    found.insert(Violation::BegunAfterCancel { id, late_ms });
                }
            }
        }
    }

    /// Whether the worker of that run had stood still and could not have noticed yet.
    fn has_just_woken(&self, begun: &Begun) -> bool {
        let attempts = self.attempts(&begun.id).iter();
        let of = attempts.filter(|attempt| attempt.number == begun.attempt);
        let mut workers = of.map(|attempt| attempt.worker.as_str());
        workers.any(|worker| {
            let mut stalls = self.history.stalls.iter();
            stalls.any(|stall| {
                let woke = stall.to.filter(|_| stall.worker == worker);
                woke.is_some_and(|to| (stall.from..=to + NOTICE_MAX_MS).contains(&begun.at))
            })
        })
    }

    fn changes(&self, found: &mut BTreeSet<Violation>) {
        if self.history.seen.is_empty() {
            return;
        }
        let mut last: HashMap<&str, (&str, u32)> = HashMap::new();
        for seen in &self.history.seen {
            let now = (seen.status.as_str(), seen.attempt);
            let before = last.insert(&seen.id, now);
            if before.is_some_and(|before| FINAL.contains(&before.0) && before != now) {
                let id = seen.id.clone();
                found.insert(Violation::Resurrected { id });
            }
        }
        for task in &self.history.tasks {
            let now = (task.status.as_str(), task.attempt);
            if last.get(task.id.as_str()) != Some(&now) {
                let id = task.id.clone();
                found.insert(Violation::ChangeLost { id });
            }
        }
    }

    fn rescues(&self, found: &mut BTreeSet<Violation>) {
        for stall in &self.history.stalls {
            for of_task in self.attempts.values() {
                for (place, attempt) in of_task.iter().enumerate() {
                    if attempt.worker != stall.worker || !was_taken(attempt, stall) {
                        continue;
                    }
                    // Where there is no other attempt, the task ended with the loss.
                    let next = of_task.get(place + 1);
                    let again = next.map_or(attempt.finished_at, |next| next.started_at);
                    let waited_ms = again - stall.from - self.away(stall.from, again);
                    if waited_ms > RESCUE_MAX_MS {
                        let id = attempt.id.clone();
                        found.insert(Violation::LateRescue { id, waited_ms });
                    }
                }
            }
        }
    }

    /// How much of that time nobody could use the database.
    fn away(&self, from: Millis, to: Millis) -> Millis {
        let outages = self.history.outages.iter();
        let away = outages.map(|outage| outage.to.min(to) - outage.from.max(from));
        away.map(|ms| ms.max(0)).sum()
    }

    fn counts(&self, found: &mut BTreeSet<Violation>) {
        let mut are: BTreeMap<&str, u64> = BTreeMap::new();
        for task in &self.history.tasks {
            *are.entry(&task.status).or_default() += 1;
        }
        let counted = self.history.counted.keys().map(String::as_str);
        let states: BTreeSet<&str> = are.keys().copied().chain(counted).collect();
        for status in states {
            let counted = self.history.counted.get(status).copied().unwrap_or(0);
            let are = are.get(status).copied().unwrap_or(0);
            if counted != are {
                let status = status.to_owned();
                found.insert(Violation::Miscounted {
                    status,
                    counted,
                    are,
                });
            }
        }
    }
}

/// Whether the attempt was under way when its worker stood still, and was taken from it.
fn was_taken(attempt: &Attempt, stall: &Stall) -> bool {
    let lost = attempt.ended == Err("lost".to_owned());
    lost && attempt.started_at <= stall.from && attempt.finished_at >= stall.from
}
