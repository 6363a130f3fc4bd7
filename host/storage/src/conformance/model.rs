//! Random histories, run on the storage and on a model of a few lines.
//!
//! Two workers claim, finish, give back, fall silent and come back; submitters cancel, retry and
//! prune; every answer may be lost, so that a call is repeated. The model knows the resulting state
//! of each task, and after every step storage must agree.

mod lists;

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fixture::*;
use super::{Backend, Storage};
use crate::{
    Cancelled, ChangeNumber, Counts, Finished, Inserted, Purged, Retried, Since, TaskFilter,
};
use cofferdam_domain::attempt::{FailureKind, Fence, WorkerId};
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Task};

/// The model of a task.
#[derive(Clone, Copy, Debug)]
struct Known {
    seen: Seen,
    holder: Option<(WorkerId, Fence)>,
    finished_at: Option<i64>,
    /// Why its newest attempt failed that has ended.
    error: Option<FailureKind>,
    /// How many were stored before it.
    age: usize,
}

/// Its state as storage reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    state: TaskState,
    attempt: u32,
    max_attempts: u32,
    lost: u32,
    cancel_requested: bool,
}

#[derive(Default)]
struct Model {
    tasks: BTreeMap<u128, Known>,
    /// Claims ever made, the current ones and those that have become stale.
    claims: Vec<Claim>,
    /// When each worker was last heard of.
    heard: [Option<i64>; 2],
    inserted: usize,
    /// The tasks known to a client that asks for changes now and then, and the number it asks from.
    told: BTreeMap<u128, Seen>,
    told_as_of: i64,
    now: i64,
}

const ATTEMPTS: u32 = 3;
const MAX_LOST: u32 = 2;
const WORKERS: [WorkerId; 2] = [ME, OTHER];

/// Steps of one history.
const STEPS: usize = 200;
/// Histories of one test.
const HISTORIES: u64 = 6;
/// Ids of the tasks.
const TASKS: u128 = 40;
/// How long a worker may be silent.
const SILENCE: i64 = 12;

pub(crate) async fn random_histories_agree<B: Backend>(backend: B) -> B {
    let mut backend = backend;
    for seed in 0..HISTORIES {
        backend = B::fresh().await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model::default();
        for step in 0..STEPS {
            model.now += 1;
            model.step(backend.storage(), &mut random).await;
            if step % 50 == 49 {
                backend = backend.reopened().await;
            }
            if step % 10 == 9 {
                model.compare_lists(backend.storage()).await;
            }
            model.compare(backend.storage(), seed, step).await;
        }
        while model.listen(backend.storage(), 7).await {}
        let told = |number: &u128| model.told.get(number).copied();
        for (number, task) in &model.tasks {
            assert_eq!(
                told(number),
                Some(task.seen),
                "task {number} in history {seed}"
            );
        }
    }
    backend
}

impl Model {
    async fn step(&mut self, storage: &dyn Storage, random: &mut StdRng) {
        let number = random.random_range(1..TASKS);
        let worker = random.random_range(0..WORKERS.len());
        match random.random_range(0..24) {
            0..5 => self.insert(storage, number).await,
            5..8 => self.claim(storage, worker, random.random_range(1..4)).await,
            8..12 if !self.claims.is_empty() => {
                let claim = self.claims[random.random_range(0..self.claims.len())].clone();
                self.finish(storage, &claim, random.random_range(0..ENDS.len()))
                    .await;
            }
            12..14 => self.cancel(storage, number).await,
            14..16 => self.retry(storage, number).await,
            16 => self.heartbeat(storage, worker).await,
            17 => self.prune(storage, random.random_range(0..4)).await,
            18 | 19 => self.purge(storage, number).await,
            20 | 21 => {
                self.listen(storage, random.random_range(1..6)).await;
            }
            _ => self.rescue(storage, worker).await,
        }
    }

    async fn insert(&mut self, storage: &dyn Storage, number: u128) {
        let mut task = with_attempts(number, ATTEMPTS);
        task.spec.retry.max_lost = MAX_LOST;
        let now = at(self.now);
        let insert = async || {
            let inserted = storage.insert_tasks(vec![task.clone()], ANY_NUMBER, now);
            inserted.await.unwrap()[0]
        };
        let known = self.tasks.contains_key(&number);
        let inserted = insert().await;
        match known {
            true => assert_eq!(inserted, Inserted::Repeated(id(number))),
            false => assert_eq!(inserted, Inserted::New),
        }
        // A client without an answer does this.
        assert_eq!(insert().await, Inserted::Repeated(id(number)));
        if !known {
            self.inserted += 1;
            let seen = Seen {
                state: TaskState::Pending,
                attempt: 0,
                max_attempts: ATTEMPTS,
                lost: 0,
                cancel_requested: false,
            };
            let known = Known {
                seen,
                holder: None,
                finished_at: None,
                error: None,
                age: self.inserted,
            };
            self.tasks.insert(number, known);
        }
    }

    async fn claim(&mut self, storage: &dyn Storage, worker: usize, slots: u32) {
        let claims = storage
            .claim(WORKERS[worker], slots, ClaimOrder::Priority, at(self.now))
            .await
            .unwrap();
        let pending = self.in_state(TaskState::Pending);
        assert_eq!(claims.len(), pending.min(usize::try_from(slots).unwrap()));
        for claim in &claims {
            let task = self.tasks.get_mut(&claim.task_id.0.as_u128()).unwrap();
            assert_eq!(task.seen.state, TaskState::Pending);
            task.seen.state = TaskState::Running;
            task.seen.attempt += 1;
            task.holder = Some((WORKERS[worker], claim.fence));
            assert_eq!(
                (claim.attempt, claim.lost),
                (task.seen.attempt, task.seen.lost)
            );
        }
        self.claims.extend(claims);
    }

    async fn finish(&mut self, storage: &dyn Storage, claim: &Claim, how: usize) {
        let end = ENDS[how](claim, self.now);
        let finished = finish_one(storage, end.clone()).await;
        // The answer to a commit was lost: the same end is offered again, and changes nothing.
        assert_eq!(finish_one(storage, end.clone()).await, Finished::Stale);
        let holds = |task: &&mut Known| {
            let fence = task.holder.map(|(_, fence)| fence);
            fence == Some(claim.fence) && task.seen.attempt == claim.attempt
        };
        let task = self.tasks.get_mut(&claim.task_id.0.as_u128());
        let Some(task) = task.filter(holds) else {
            assert_eq!(finished, Finished::Stale);
            return;
        };
        let lost = end.outcome.failure_kind() == Some(FailureKind::Lost);
        let is_given_back = matches!(end.next, Next::GiveBack | Next::Postpone(_));
        task.error = match (is_given_back, task.seen.cancel_requested) {
            (true, false) => task.error,
            (true, true) => Some(FailureKind::Cancelled),
            (false, _) => end.outcome.failure_kind(),
        };
        let state = match end.next {
            Next::GiveBack | Next::Postpone(_) if !task.seen.cancel_requested => {
                task.seen.attempt -= 1;
                TaskState::Pending
            }
            Next::RetryAt(_) if lost => task.after_loss(),
            _ if task.seen.cancel_requested => {
                task.seen.lost += u32::from(lost && !is_given_back);
                TaskState::Cancelled
            }
            Next::GiveBack | Next::Postpone(_) => unreachable!("it is cancelled or pending"),
            Next::Complete => TaskState::Completed,
            Next::Fail => TaskState::Failed,
            Next::Cancel => TaskState::Cancelled,
            Next::RetryAt(_) if task.seen.attempt == task.seen.max_attempts => TaskState::Failed,
            Next::RetryAt(_) => TaskState::Pending,
        };
        task.leave_worker(state, self.now);
        assert_eq!(finished, Finished::Recorded(state));
    }

    async fn cancel(&mut self, storage: &dyn Storage, number: u128) {
        let cancelled = storage.cancel(id(number), at(self.now)).await.unwrap();
        let Some(task) = self.tasks.get_mut(&number) else {
            assert_eq!(cancelled, Cancelled::Unknown);
            return;
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

    async fn retry(&mut self, storage: &dyn Storage, number: u128) {
        let retried = storage.retry(id(number), at(self.now)).await.unwrap();
        let Some(task) = self.tasks.get_mut(&number) else {
            assert_eq!(retried, Retried::Unknown);
            return;
        };
        if matches!(task.seen.state, TaskState::Failed | TaskState::Cancelled) {
            assert_eq!(retried, Retried::Pending);
            task.seen.lost = 0;
            task.seen.max_attempts = task.seen.attempt + ATTEMPTS;
            task.leave_worker(TaskState::Pending, self.now);
        } else {
            assert_eq!(retried, Retried::NotFailed(task.seen.state));
        }
    }

    async fn heartbeat(&mut self, storage: &dyn Storage, worker: usize) {
        storage
            .heartbeat(WORKERS[worker], at(self.now))
            .await
            .unwrap();
        self.heard[worker] = Some(self.now);
    }

    async fn rescue(&mut self, storage: &dyn Storage, by: usize) {
        let dead_before = self.now - SILENCE;
        let rescued = storage
            .rescue(WORKERS[by], at(dead_before), 2, at(self.now))
            .await
            .unwrap();
        let silent = self.heard[1 - by].is_none_or(|heard| heard < dead_before);
        let lost = |task: &&Known| {
            silent
                && task
                    .holder
                    .is_some_and(|(worker, _)| worker == WORKERS[1 - by])
        };
        assert_eq!(
            rescued.len(),
            self.tasks.values().filter(lost).count().min(2)
        );
        for rescued in rescued {
            let task = self.tasks.get_mut(&rescued.task_id.0.as_u128()).unwrap();
            assert!(lost(&&*task));
            let state = task.after_loss();
            task.error = Some(FailureKind::Lost);
            task.leave_worker(state, self.now);
            assert_eq!(rescued.state, state);
        }
    }

    async fn purge(&mut self, storage: &dyn Storage, number: u128) {
        let purged = storage.purge(id(number)).await.unwrap();
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

    async fn prune(&mut self, storage: &dyn Storage, limit: u32) {
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

    /// Hears of the next changes; false if there are no more.
    async fn listen(&mut self, storage: &dyn Storage, limit: u32) -> bool {
        let filter = TaskFilter {
            since: Some(Since::Change(ChangeNumber(self.told_as_of))),
            ..TaskFilter::default()
        };
        let page = storage.tasks(&filter, limit).await.unwrap();
        for task in &page.tasks {
            self.told.insert(task.id.0.as_u128(), Seen::of(task));
        }
        self.told_as_of = page.as_of.0;
        page.next.is_some()
    }

    fn in_state(&self, state: TaskState) -> usize {
        self.tasks
            .values()
            .filter(|task| task.seen.state == state)
            .count()
    }

    async fn compare(&self, storage: &dyn Storage, seed: u64, step: usize) {
        for number in 1..TASKS {
            let task = storage.task(id(number)).await.unwrap();
            let found = task.as_ref().map(Seen::of);
            let known = self.tasks.get(&number).map(|task| task.seen);
            assert_eq!(
                found, known,
                "task {number} in history {seed} after step {step}"
            );
        }
        let count = |state| self.in_state(state) as u64;
        let counts = Counts {
            blocked: count(TaskState::Blocked),
            pending: count(TaskState::Pending),
            running: count(TaskState::Running),
            completed: count(TaskState::Completed),
            failed: count(TaskState::Failed),
            cancelled: count(TaskState::Cancelled),
        };
        assert_eq!(storage.counts().await.unwrap(), counts);
    }
}

impl Seen {
    fn of(task: &Task) -> Seen {
        Seen {
            state: task.state,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            lost: task.lost,
            cancel_requested: task.cancel_requested,
        }
    }
}

impl Known {
    fn after_loss(&mut self) -> TaskState {
        self.seen.lost += 1;
        if self.seen.cancel_requested {
            TaskState::Cancelled
        } else if self.seen.lost > MAX_LOST {
            TaskState::Failed
        } else {
            self.seen.max_attempts += 1;
            TaskState::Pending
        }
    }

    fn leave_worker(&mut self, state: TaskState, now: i64) {
        self.seen.state = state;
        self.seen.cancel_requested = false;
        self.holder = None;
        self.finished_at = state.is_final().then_some(now);
    }
}

/// The ways in which a worker can end an attempt.
const ENDS: [fn(&Claim, i64) -> AttemptEnd; 8] = [
    |claim, now| completed(claim, at(now)),
    |claim, now| failed(claim, at(now), FailureKind::InvalidInput, Next::Fail),
    |claim, now| failed(claim, at(now), FailureKind::Trap, Next::RetryAt(at(now))),
    |claim, now| failed(claim, at(now), FailureKind::Cancelled, Next::Cancel),
    |claim, now| failed(claim, at(now), FailureKind::Lost, Next::RetryAt(at(now))),
    |claim, now| failed(claim, at(now), FailureKind::Lost, Next::Fail),
    |claim, now| failed(claim, at(now), FailureKind::Lost, Next::GiveBack),
    |claim, now| failed(claim, at(now), FailureKind::Lost, Next::Postpone(at(now))),
];

pub(crate) async fn acknowledged_work_outlives_a_reopen<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let calls = (1..=200).map(|number| storage.insert_tasks(vec![new_task(number)], 500, at(0)));
    for inserted in futures_util::future::join_all(calls).await {
        assert_eq!(inserted.unwrap(), [Inserted::New]);
    }
    let claims = storage
        .claim(ME, 100, ClaimOrder::Priority, at(1))
        .await
        .unwrap();
    let ends = claims
        .iter()
        .take(60)
        .map(|claim| completed(claim, at(2)))
        .collect();
    storage.finish(ends).await.unwrap();
    storage.ping().await.unwrap();
    let backend = backend.reopened().await;
    let counts = backend.storage().counts().await.unwrap();
    assert_eq!(
        (counts.pending, counts.running, counts.completed),
        (100, 40, 60)
    );
    // An earlier claim still holds.
    let held = completed(&claims[70], at(3));
    let finished = finish_one(backend.storage(), held).await;
    assert_eq!(finished, Finished::Recorded(TaskState::Completed));
    backend
}
