//! What submitters, operators and other hosts ask for.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

use super::super::Storage;
use super::super::fixture::*;
use super::known::{ATTEMPTS, Known, MAX_LOST, Seen};
use super::{Model, TASKS, WORKERS};
use crate::{Cancelled, Inserted, Purged, Retried, StorageError};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Dedup, NewTask, Priority, TaskId};

/// How long a worker may be silent.
const SILENCE: i64 = 12;
/// How long a dedup key is held.
const WINDOW: i64 = 15;

/// The request with this number, as it is made at `now`: some are urgent, some are for later, some
/// share a key with others.
fn request(number: u128, now: i64) -> NewTask {
    let mut task = with_attempts(number, ATTEMPTS);
    let rank = u8::try_from(number % 4).unwrap();
    task.spec.priority = Priority::from_rank(rank).unwrap();
    task.spec.retry.max_lost = MAX_LOST;
    task.run_at = at(if number.is_multiple_of(5) {
        now + 8
    } else {
        now
    });
    task.callback = number
        .is_multiple_of(3)
        .then(|| callback("http://a.example/"));
    task.idempotency_key = (number % 9 == 4).then(|| format!("key {}", number % 2));
    task.dedup = (number % 6 == 1).then(|| Dedup {
        key: format!("dedup {}", number % 4),
        window: Duration::from_secs(WINDOW.unsigned_abs()),
    });
    task
}

impl Model {
    /// One batch, with repetitions and now and then a different request under the same id.
    pub(super) async fn insert(&mut self, storage: &dyn Storage, random: &mut StdRng, times: u32) {
        let mut batch = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let mut task = request(random.random_range(1..TASKS), self.now);
            if random.random_bool(0.05) {
                task.fingerprint[0] ^= 1;
            }
            batch.push(task);
        }
        let pending_max = match random.random_bool(0.2) {
            true => 5,
            false => u64::MAX,
        };
        for _ in 0..times {
            let inserted = storage
                .insert_tasks(batch.clone(), pending_max.into(), at(self.now))
                .await;
            self.inserted(&batch, pending_max, inserted);
        }
    }

    fn inserted(
        &mut self,
        batch: &[NewTask],
        pending_max: u64,
        answer: Result<Vec<Inserted>, StorageError>,
    ) {
        let (tasks, dedup) = (self.tasks.clone(), self.dedup.clone());
        let waiting = |model: &Model| model.in_state(TaskState::Pending) as u64;
        let pending = waiting(self);
        let expected: Result<Vec<Inserted>, TaskId> =
            batch.iter().map(|task| self.insert_one(task)).collect();
        let is_new = |answers: &Vec<Inserted>| answers.contains(&Inserted::New);
        let is_full = expected.as_ref().is_ok_and(is_new) && waiting(self) > pending_max;
        match (expected, answer) {
            (Ok(expected), Ok(answer)) => {
                assert!(!is_full);
                return assert_eq!(answer, expected);
            }
            (Ok(_), Err(StorageError::QueueFull { pending: told, .. })) => {
                assert!(is_full);
                assert_eq!(told, pending);
            }
            (Err(earlier), Err(StorageError::Conflict(told))) => assert_eq!(told, earlier),
            // Which of two reasons is told, the contract leaves open.
            (Err(_), Err(StorageError::QueueFull { .. })) => {}
            (expected, answer) => panic!("{answer:?} instead of {expected:?}"),
        }
        (self.tasks, self.dedup) = (tasks, dedup);
    }

    /// What becomes of one of a batch; the id of the task it conflicts with.
    fn insert_one(&mut self, task: &NewTask) -> Result<Inserted, TaskId> {
        let compared = |number: u128, known: &Known| match known.fingerprint == task.fingerprint {
            true => Ok(Inserted::Repeated(id(number))),
            false => Err(id(number)),
        };
        let number = task.id.0.as_u128();
        let same_key = |(_, known): &(&u128, &Known)| known.key == task.idempotency_key;
        if task.idempotency_key.is_some()
            && let Some((earlier, known)) = self.tasks.iter().find(same_key)
        {
            return compared(*earlier, known);
        }
        if let Some(known) = self.tasks.get(&number) {
            return compared(number, known);
        }
        if let Some(dedup) = &task.dedup {
            let holder = self.dedup.get(&dedup.key);
            let holds = |(holder, until): &&(u128, i64)| {
                *until > self.now && self.tasks.contains_key(holder)
            };
            if let Some((holder, _)) = holder.filter(holds) {
                return Ok(Inserted::Deduplicated(id(*holder)));
            }
            let until = self.now + WINDOW;
            self.dedup.insert(dedup.key.clone(), (number, until));
        }
        self.inserted += 1;
        let known = Known {
            seen: Seen {
                state: TaskState::Pending,
                attempt: 0,
                max_attempts: ATTEMPTS,
                lost: 0,
                cancel_requested: false,
            },
            priority: task.spec.priority,
            fingerprint: task.fingerprint,
            key: task.idempotency_key.clone(),
            run_at: (task.run_at.as_millis() - at(0).as_millis()) / 1000,
            holder: None,
            note: String::new(),
            finished_at: None,
            age: self.inserted,
            recorded: Vec::new(),
        };
        self.tasks.insert(number, known);
        Ok(Inserted::New)
    }

    pub(super) async fn cancel(&mut self, storage: &dyn Storage, number: u128) {
        let cancelled = storage
            .cancel(&MINE, id(number), at(self.now))
            .await
            .unwrap();
        let Some(task) = self.tasks.get_mut(&number) else {
            return assert_eq!(cancelled, Cancelled::Unknown);
        };
        match task.holder {
            Some((worker, _)) => {
                assert_eq!(cancelled, Cancelled::Requested(worker));
                task.seen.cancel_requested = true;
            }
            None if task.seen.state.is_final() => {
                assert_eq!(cancelled, Cancelled::Final(task.seen.state));
            }
            None => {
                assert_eq!(cancelled, Cancelled::AtOnce);
                task.leave_worker(TaskState::Cancelled, self.now);
            }
        }
    }

    pub(super) async fn retry(&mut self, storage: &dyn Storage, number: u128) {
        let retried = storage
            .retry(&MINE, id(number), at(self.now))
            .await
            .unwrap();
        let Some(task) = self.tasks.get_mut(&number) else {
            return assert_eq!(retried, Retried::Unknown);
        };
        if matches!(task.seen.state, TaskState::Failed | TaskState::Cancelled) {
            assert_eq!(retried, Retried::Pending);
            task.seen.lost = 0;
            task.seen.max_attempts = task.seen.attempt + ATTEMPTS;
            task.run_at = self.now;
            task.leave_worker(TaskState::Pending, self.now);
        } else {
            assert_eq!(retried, Retried::NotFailed(task.seen.state));
        }
    }

    pub(super) async fn heartbeat(&mut self, storage: &dyn Storage, worker: usize) {
        let now = at(self.now);
        storage.heartbeat(beat(WORKERS[worker]), now).await.unwrap();
        self.heard[worker] = Some(self.now);
    }

    pub(super) async fn rescue(&mut self, storage: &dyn Storage, by: usize) {
        let dead_before = self.now - SILENCE;
        let rescued = storage
            .rescue(WORKERS[by], at(dead_before), 2, at(self.now))
            .await
            .unwrap();
        let silent = self.heard[1 - by].is_none_or(|heard| heard < dead_before);
        let lost = |task: &Known| {
            let worker = task.holder.map(|(worker, _)| worker);
            silent && worker == Some(WORKERS[1 - by])
        };
        let number = self.tasks.values().filter(|task| lost(task)).count();
        assert_eq!(rescued.len(), number.min(2));
        for rescued in rescued {
            let task = self.tasks.get_mut(&rescued.task_id.0.as_u128()).unwrap();
            assert!(lost(task));
            let state = task.lose();
            task.leave_worker(state, self.now);
            assert_eq!(rescued.state, state);
        }
    }

    pub(super) async fn purge(&mut self, storage: &dyn Storage, number: u128) {
        let purged = storage.purge(&MINE, id(number)).await.unwrap();
        match (purged, self.tasks.get(&number)) {
            (Purged::Unknown, None) => {}
            (Purged::NotFinal(state), Some(task)) => {
                assert_eq!((state, task.finished_at), (task.seen.state, None));
            }
            (Purged::Removed(pruned), Some(task)) => {
                assert_eq!(pruned.tasks, [id(number)]);
                assert!(task.seen.state.is_final());
                self.tasks.remove(&number);
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn prune(&mut self, storage: &dyn Storage, number: u128) {
        let limit = u32::try_from(number % 4).unwrap();
        let finished_before = self.now - 60;
        let pruned = storage
            .prune(at(finished_before), 10, limit, at(self.now))
            .await
            .unwrap();
        let mut finals: Vec<(i64, usize, u128)> = self
            .tasks
            .iter()
            .filter_map(|(number, task)| Some((task.finished_at?, task.age, *number)))
            .collect();
        finals.sort_unstable();
        let old = finals.partition_point(|(at, _, _)| *at < finished_before);
        let gone = old.max(finals.len().saturating_sub(10));
        finals.truncate(gone.min(usize::try_from(limit).unwrap()));
        let expected: Vec<_> = finals.iter().map(|(_, _, number)| id(*number)).collect();
        assert_eq!(pruned.tasks, expected);
        for (_, _, number) in finals {
            self.tasks.remove(&number);
        }
    }
}
