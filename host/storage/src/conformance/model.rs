//! Random histories, run on the storage and on a model of a few lines.
//!
//! Two workers claim, finish, give back, fall silent and come back; submitters send batches, cancel,
//! retry, purge and prune; a client reads the changes page by page. Every answer may be lost, so that
//! a call is repeated, and a claim whose answer was lost is found among the held tasks. The model
//! knows the resulting state of each task, and after every step storage must agree.

mod calls;
mod known;
mod lists;
mod work;

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::known::{Known, Seen};
use super::fixture::*;
use super::{Backend, Storage};
use crate::settings::ClaimRules;
use crate::{ChangeNumber, Counts, Finished, HeldTask, Inserted, Since, TaskFilter};
use cofferdam_domain::attempt::{FailureKind, WorkerId};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{ClaimOrder, Task, TaskId};

#[derive(Default)]
struct Model {
    tasks: BTreeMap<u128, Known>,
    /// Claims ever made, the current ones and those that have become stale.
    claims: Vec<Claim>,
    /// Claims whose answer was lost. Nobody can finish them who does not ask what is held.
    unanswered: Vec<Claim>,
    /// The holder of each dedup key, and until when it holds it.
    dedup: BTreeMap<String, (u128, i64)>,
    /// When each worker was last heard of.
    heard: [Option<i64>; 2],
    inserted: usize,
    /// The tasks known to a client that asks for changes now and then, and the number it asks from.
    told: BTreeMap<u128, Seen>,
    told_as_of: i64,
    now: i64,
    /// How many may run at once, if that is bounded.
    running_max: Option<usize>,
}

const WORKERS: [WorkerId; 2] = [ME, OTHER];

/// Steps of one history.
const STEPS: usize = 200;
/// Histories of one test.
const HISTORIES: u64 = 8;
/// Ids of the tasks.
const TASKS: u128 = 40;

pub(crate) async fn random_histories_agree<B: Backend>(backend: B) -> B {
    let rules = settings(std::path::Path::new("")).claims;
    histories(backend, 0..HISTORIES, rules, None).await
}

/// The same where the tasks' one module may have no more than three attempts under way.
pub(crate) async fn bounded_histories_agree<B: Backend>(backend: B) -> B {
    let rules = ClaimRules {
        running_per_module_max: 3,
        ..settings(std::path::Path::new("")).claims
    };
    histories(backend, HISTORIES..HISTORIES + 3, rules, Some(3)).await
}

async fn histories<B: Backend>(
    mut backend: B,
    seeds: std::ops::Range<u64>,
    rules: ClaimRules,
    running_max: Option<usize>,
) -> B {
    for seed in seeds {
        backend = B::fresh().await.reopened_with(rules.clone()).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model {
            running_max,
            ..Model::default()
        };
        for step in 0..STEPS {
            model.now += 1;
            model.step(backend.storage(), &mut random).await;
            if step % 50 == 49 {
                backend = backend.reopened_with(rules.clone()).await;
            }
            let place = format!("history {seed} after step {step}");
            model.compare(backend.storage(), &place).await;
            if step % 10 == 9 {
                model.compare_attempts(backend.storage(), &place).await;
                model.compare_lists(backend.storage()).await;
            }
        }
        while model.listen(backend.storage(), 7).await {}
        for (number, task) in &model.tasks {
            let told = model.told.get(number).copied();
            assert_eq!(told, Some(task.seen), "task {number} in history {seed}");
        }
    }
    backend
}

impl Model {
    async fn step(&mut self, storage: &dyn Storage, random: &mut StdRng) {
        let number = random.random_range(1..TASKS);
        let worker = random.random_range(0..WORKERS.len());
        // The answer was lost, or the caller was: the same call is made again.
        let times = if random.random_bool(0.25) { 2 } else { 1 };
        match random.random_range(0..28) {
            0..5 => self.insert(storage, random, times).await,
            5..8 => self.claim(storage, worker, random).await,
            8..12 => self.finish(storage, random).await,
            12 => self.report(storage, random).await,
            13 => self.give_back_unanswered(storage, worker).await,
            choice => {
                for _ in 0..times {
                    match choice {
                        14..16 => self.cancel(storage, number).await,
                        16..18 => self.retry(storage, number).await,
                        18 => self.heartbeat(storage, worker).await,
                        19 => self.prune(storage, number).await,
                        20..22 => self.purge(storage, number).await,
                        22..25 => {
                            self.listen(storage, random.random_range(1..6)).await;
                        }
                        _ => self.rescue(storage, worker).await,
                    }
                }
            }
        }
    }

    /// Hears of the next changes; false if there are no more.
    async fn listen(&mut self, storage: &dyn Storage, limit: u32) -> bool {
        let filter = TaskFilter {
            since: Some(Since::Change(ChangeNumber(self.told_as_of))),
            ..TaskFilter::default()
        };
        let page = storage.tasks(&US, &filter, limit).await.unwrap();
        for task in &page.tasks {
            let number = task.id.0.as_u128();
            self.told.insert(number, Seen::of(task));
            assert_eq!(
                Seen::of(task),
                self.tasks[&number].seen,
                "a change of {number}"
            );
        }
        assert!(page.as_of.0 >= self.told_as_of && page.as_of <= page.newest);
        self.told_as_of = page.as_of.0;
        page.next.is_some() || page.as_of < page.newest
    }

    /// How many more may run.
    fn room(&self) -> usize {
        let running = self.in_state(TaskState::Running);
        self.running_max.map_or(usize::MAX, |max| max - running)
    }

    fn in_state(&self, state: TaskState) -> usize {
        let tasks = self.tasks.values();
        tasks.filter(|task| task.seen.state == state).count()
    }

    async fn compare(&self, storage: &dyn Storage, place: &str) {
        let all = TaskFilter::default();
        let page = storage.tasks(&US, &all, 1000).await.unwrap();
        assert!(page.next.is_none());
        let tasks = page.tasks.iter();
        let mut listed: BTreeMap<u128, &Task> =
            tasks.map(|task| (task.id.0.as_u128(), task)).collect();
        for number in 1..TASKS {
            let task = listed.remove(&number);
            let known = self.tasks.get(&number);
            assert_eq!(
                task.map(Seen::of),
                known.map(|task| task.seen),
                "task {number} in {place}"
            );
            if let (Some(task), Some(known)) = (task, known) {
                known.compare(task, place);
            }
        }
        assert!(listed.is_empty(), "{listed:?}");
        // Each is asked for by itself now and then.
        let alone = 1 + u128::from(self.now.unsigned_abs()) % (TASKS - 1);
        let task = storage.task(&MINE, id(alone)).await.unwrap();
        let known = self.tasks.get(&alone).map(|task| task.seen);
        assert_eq!(task.as_ref().map(Seen::of), known, "{place}");
        let count = |state| self.in_state(state) as u64;
        let counts = Counts {
            blocked: count(TaskState::Blocked),
            pending: count(TaskState::Pending),
            running: count(TaskState::Running),
            completed: count(TaskState::Completed),
            failed: count(TaskState::Failed),
            cancelled: count(TaskState::Cancelled),
        };
        assert_eq!(storage.counts(&MINE).await.unwrap(), counts, "{place}");
        let pending = self.tasks.values().filter(|task| task.is_pending());
        let next = pending.map(|task| at(task.run_at)).min();
        let next = next.filter(|_| self.room() > 0);
        assert_eq!(storage.next_run_at(ME).await.unwrap(), next, "{place}");
        for worker in WORKERS {
            self.compare_held(storage, worker, place).await;
        }
    }

    /// What each worker is said to run, and which of that it is asked to end.
    async fn compare_held(&self, storage: &dyn Storage, worker: WorkerId, place: &str) {
        let mut held = storage.held(worker).await.unwrap();
        held.sort_unstable_by_key(|task| task.task_id);
        let mut asked = storage.cancel_requests(worker).await.unwrap();
        asked.sort_unstable();
        let by_worker = self.tasks.iter().filter_map(|(number, task)| {
            let (holder, fence) = task.holder?;
            let held = HeldTask {
                task_id: id(*number),
                attempt: task.seen.attempt,
                fence,
            };
            (holder == worker).then_some((held, task.seen.cancel_requested))
        });
        let known: Vec<(HeldTask, bool)> = by_worker.collect();
        let all: Vec<HeldTask> = known.iter().map(|(held, _)| *held).collect();
        assert_eq!(held, all, "{place}");
        let to_end = known.iter().filter(|(_, asked)| *asked);
        let to_end: Vec<TaskId> = to_end.map(|(held, _)| held.task_id).collect();
        assert_eq!(asked, to_end, "{place}");
    }

    /// Every attempt that was recorded is there, once.
    async fn compare_attempts(&self, storage: &dyn Storage, place: &str) {
        for (number, task) in &self.tasks {
            let attempts = storage.attempts(&MINE, id(*number), 0, 100).await.unwrap();
            let kind = |attempt: &cofferdam_domain::attempt::Attempt| {
                let failure = attempt.failure.as_ref();
                (attempt.number, failure.map(|failure| failure.kind))
            };
            let found: Vec<(u32, Option<FailureKind>)> = attempts.iter().map(kind).collect();
            assert_eq!(found, task.recorded, "attempts of {number} in {place}");
        }
    }
}

pub(crate) async fn acknowledged_work_outlives_a_reopen<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let calls =
        (1..=200).map(|number| storage.insert_tasks(vec![new_task(number)], 500.into(), at(0)));
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
    let counts = backend.storage().counts(&MINE).await.unwrap();
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

/// Four who submit, claim, finish, cancel, retry and purge at once, and one who reads the changes
/// page by page meanwhile.
pub(crate) async fn who_pages_meanwhile_misses_no_change<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let busy = futures_util::future::join_all((1..=4).map(|number| busy(storage, number)));
    let mut listener = Listener::default();
    {
        let mut busy = std::pin::pin!(busy);
        let mut is_over = false;
        while !is_over {
            tokio::select! {
                _ends = &mut busy => is_over = true,
                () = listener.page(storage) => {}
            }
        }
    }
    let everything_is_heard = async {
        while !listener.knows_everything(storage).await {
            listener.page(storage).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, everything_is_heard)
        .await
        .expect("every change is heard of");
    backend
}

/// Changes its own tasks, and claims anybody's.
async fn busy(storage: &dyn Storage, number: u128) {
    let mut random = StdRng::seed_from_u64(u64::try_from(number).unwrap());
    let worker = WorkerId(uuid::Uuid::from_u128(number));
    let mut claims = Vec::new();
    for step in 0..80 {
        let now = at(step);
        let own = number * 100 + random.random_range(0..12);
        match random.random_range(0..9) {
            0..3 => {
                let task = with_attempts(own, 3);
                let inserted = storage.insert_tasks(vec![task], ANY_NUMBER, now);
                inserted.await.unwrap();
            }
            3 | 4 => {
                let slots = random.random_range(1..4);
                let claimed = storage.claim(worker, slots, ClaimOrder::Fifo, now).await;
                claims.extend(claimed.unwrap());
            }
            5 if !claims.is_empty() => {
                let how = random.random_range(0..work::ENDS.len());
                let ends = claims.drain(..).map(|claim| work::ENDS[how](&claim, step));
                storage.finish(ends.collect()).await.unwrap();
            }
            6 => {
                storage.cancel(&MINE, id(own), now).await.unwrap();
            }
            7 => {
                storage.retry(&MINE, id(own), now).await.unwrap();
            }
            _ => {
                storage.purge(&MINE, id(own)).await.unwrap();
            }
        }
    }
}

#[derive(Default)]
struct Listener {
    told: BTreeMap<TaskId, Seen>,
    as_of: i64,
}

impl Listener {
    async fn page(&mut self, storage: &dyn Storage) {
        let filter = TaskFilter {
            since: Some(Since::Change(ChangeNumber(self.as_of))),
            ..TaskFilter::default()
        };
        let page = storage.tasks(&US, &filter, 3).await.unwrap();
        let told = page.tasks.iter().map(|task| (task.id, Seen::of(task)));
        self.told.extend(told);
        assert!(page.as_of.0 >= self.as_of, "changes are heard in order");
        self.as_of = page.as_of.0;
    }

    async fn knows_everything(&self, storage: &dyn Storage) -> bool {
        let all = storage
            .tasks(&US, &TaskFilter::default(), 1000)
            .await
            .unwrap();
        let is_told = |task: &Task| self.told.get(&task.id) == Some(&Seen::of(task));
        all.next.is_none() && all.tasks.iter().all(is_told)
    }
}
