//! Random histories, played on the storage and on a model of a few lines.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Backend;
use super::fixture::*;
use crate::{Cancelled, Counts, Finished, Inserted, Retried, Storage};
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::claim::{Claim, Next};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::ClaimOrder;

/// What the model knows of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
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
    now: i64,
}

const ATTEMPTS: u32 = 3;
const MAX_LOST: u32 = 2;

/// Steps of one history.
const STEPS: usize = 150;
/// Histories of one test.
const HISTORIES: u64 = 4;

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
            model.compare(backend.storage(), seed, step).await;
        }
    }
    backend
}

impl Model {
    async fn step(&mut self, storage: &dyn Storage, random: &mut StdRng) {
        let number = random.random_range(1..40);
        match random.random_range(0..10) {
            0..3 => self.insert(storage, number).await,
            3 | 4 => self.claim(storage, random.random_range(1..4)).await,
            5 | 6 if !self.claims.is_empty() => {
                let claim = self.claims[random.random_range(0..self.claims.len())].clone();
                self.finish(storage, &claim, random.random_range(0..4))
                    .await;
            }
            7 => self.cancel(storage, number).await,
            8 => self.retry(storage, number).await,
            _ => self.rescue(storage).await,
        }
    }

    async fn insert(&mut self, storage: &dyn Storage, number: u128) {
        let mut task = with_attempts(number, ATTEMPTS);
        task.spec.retry.max_lost = MAX_LOST;
        let inserted = storage
            .insert_tasks(vec![task], ANY_NUMBER, at(self.now))
            .await
            .unwrap();
        let expected = match self.tasks.get(&number) {
            Some(_) => Inserted::Repeated(id(number)),
            None => Inserted::New,
        };
        assert_eq!(inserted, [expected]);
        self.tasks.entry(number).or_insert(Known {
            state: TaskState::Pending,
            attempt: 0,
            max_attempts: ATTEMPTS,
            lost: 0,
            cancel_requested: false,
        });
    }

    async fn claim(&mut self, storage: &dyn Storage, slots: u32) {
        let claims = storage
            .claim(OTHER, slots, ClaimOrder::Priority, at(self.now))
            .await
            .unwrap();
        let pending = self
            .tasks
            .values()
            .filter(|task| task.state == TaskState::Pending)
            .count();
        assert_eq!(claims.len(), pending.min(usize::try_from(slots).unwrap()));
        for claim in &claims {
            let task = self.tasks.get_mut(&claim.task_id.0.as_u128()).unwrap();
            assert_eq!(task.state, TaskState::Pending);
            (task.state, task.attempt) = (TaskState::Running, task.attempt + 1);
            assert_eq!(claim.attempt, task.attempt);
        }
        self.claims.extend(claims);
    }

    async fn finish(&mut self, storage: &dyn Storage, claim: &Claim, how: u32) {
        let now = at(self.now);
        let end = match how {
            0 => completed(claim, now),
            1 => failed(claim, now, FailureKind::InvalidInput, Next::Fail),
            2 => failed(claim, now, FailureKind::Trap, Next::RetryAt(now)),
            _ => failed(claim, now, FailureKind::Lost, Next::RetryAt(now)),
        };
        let finished = finish_one(storage, end).await;
        let task = self.tasks.get_mut(&claim.task_id.0.as_u128()).unwrap();
        if task.state != TaskState::Running || task.attempt != claim.attempt {
            assert_eq!(finished, Finished::Stale);
            return;
        }
        match how {
            0..=2 if task.cancel_requested => task.state = TaskState::Cancelled,
            0 => task.state = TaskState::Completed,
            1 => task.state = TaskState::Failed,
            2 if task.attempt == task.max_attempts => task.state = TaskState::Failed,
            2 => task.state = TaskState::Pending,
            _ => task.lose(),
        }
        task.cancel_requested = false;
        assert_eq!(finished, Finished::Recorded(task.state));
    }

    async fn cancel(&mut self, storage: &dyn Storage, number: u128) {
        let cancelled = storage.cancel(id(number), at(self.now)).await.unwrap();
        let Some(task) = self.tasks.get_mut(&number) else {
            assert_eq!(cancelled, Cancelled::Unknown);
            return;
        };
        if task.state.is_final() {
            assert_eq!(cancelled, Cancelled::Final(task.state));
        } else if task.state == TaskState::Running {
            assert_eq!(cancelled, Cancelled::Requested(OTHER));
            task.cancel_requested = true;
        } else {
            assert_eq!(cancelled, Cancelled::AtOnce);
            task.state = TaskState::Cancelled;
        }
    }

    async fn retry(&mut self, storage: &dyn Storage, number: u128) {
        let retried = storage.retry(id(number), at(self.now)).await.unwrap();
        let Some(task) = self.tasks.get_mut(&number) else {
            assert_eq!(retried, Retried::Unknown);
            return;
        };
        if matches!(task.state, TaskState::Failed | TaskState::Cancelled) {
            assert_eq!(retried, Retried::Pending);
            (task.state, task.lost) = (TaskState::Pending, 0);
            task.max_attempts = task.attempt + ATTEMPTS;
        } else {
            assert_eq!(retried, Retried::NotFailed(task.state));
        }
    }

    async fn rescue(&mut self, storage: &dyn Storage) {
        let rescued = storage
            .rescue(ME, at(self.now), 2, at(self.now))
            .await
            .unwrap();
        let running = self
            .tasks
            .values()
            .filter(|task| task.state == TaskState::Running)
            .count();
        assert_eq!(rescued.len(), running.min(2));
        for rescued in rescued {
            let task = self.tasks.get_mut(&rescued.task_id.0.as_u128()).unwrap();
            task.lose();
            task.cancel_requested = false;
            assert_eq!(rescued.state, task.state);
        }
    }

    async fn compare(&self, storage: &dyn Storage, seed: u64, step: usize) {
        let mut counts = Counts::default();
        for (number, known) in &self.tasks {
            let task = task(storage, *number).await;
            let found = Known {
                state: task.state,
                attempt: task.attempt,
                max_attempts: task.max_attempts,
                lost: task.lost,
                cancel_requested: task.cancel_requested,
            };
            assert_eq!(
                found, *known,
                "task {number} in history {seed} after step {step}"
            );
            *match known.state {
                TaskState::Blocked => &mut counts.blocked,
                TaskState::Pending => &mut counts.pending,
                TaskState::Running => &mut counts.running,
                TaskState::Completed => &mut counts.completed,
                TaskState::Failed => &mut counts.failed,
                TaskState::Cancelled => &mut counts.cancelled,
            } += 1;
        }
        assert_eq!(storage.counts().await.unwrap(), counts);
    }
}

impl Known {
    fn lose(&mut self) {
        self.lost += 1;
        if self.cancel_requested {
            self.state = TaskState::Cancelled;
        } else if self.lost > MAX_LOST {
            self.state = TaskState::Failed;
        } else {
            (self.state, self.max_attempts) = (TaskState::Pending, self.max_attempts + 1);
        }
    }
}

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
    // A claim made before still holds.
    let held = completed(&claims[70], at(3));
    let finished = finish_one(backend.storage(), held).await;
    assert_eq!(finished, Finished::Recorded(TaskState::Completed));
    backend
}
