//! Which lanes a worker serves: what the tasks in them ask of workers, and what the workers of this process
//! told of themselves.
//!
//! What a class asks never changes, so it is read once. A worker that told nothing yet has what every
//! worker has.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rows::{CLASSES_MAX, Class, OPEN};
use crate::turns::Lane;
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::placement::{MayTake, Placement};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::worker::{Beat, Profile, WorkerName, WorkerState};

/// Classes that are kept; beyond, all are forgotten and read again.
const KEPT_MAX: i64 = 2 * CLASSES_MAX;
/// Workers that are kept: a process is one, and a test some.
const WORKERS_MAX: usize = 64;

/// What is known in this process.
#[derive(Default)]
pub(crate) struct Serving(Mutex<State>);

#[derive(Default)]
struct State {
    workers: HashMap<WorkerId, Arc<Profile>>,
    classes: HashMap<i64, Placement>,
    /// Tenants whose tasks are not claimed here for now.
    held: HashSet<Tenant>,
}

impl Serving {
    /// Notes what a worker tells of itself.
    pub(crate) fn heard(&self, beat: &Beat) {
        let mut state = self.lock();
        match beat.state {
            WorkerState::Terminated => {
                state.workers.remove(&beat.worker);
            }
            WorkerState::Idle
            | WorkerState::Running
            | WorkerState::Draining
            | WorkerState::Error => {
                if state.workers.len() >= WORKERS_MAX {
                    state.workers.clear();
                }
                state.workers.insert(beat.worker, Arc::clone(&beat.profile));
            }
        }
    }

    /// Has no task of these tenants claimed from now on; whether others were held before.
    pub(crate) fn hold_back(&self, tenants: HashSet<Tenant>) -> bool {
        let mut state = self.lock();
        let is_change = state.held != tenants;
        state.held = tenants;
        is_change
    }

    /// Whether tasks of that tenant are not claimed here for now.
    pub(crate) fn holds_back(&self, tenant: &str) -> bool {
        self.lock().holds_back(tenant)
    }

    /// The classes of these lanes that nothing is known of.
    pub(crate) fn unknown(&self, lanes: &[Lane]) -> Vec<i64> {
        let state = self.lock();
        let classes = lanes.iter().map(Lane::class).filter(|class| *class != OPEN);
        let mut unknown: Vec<i64> = classes
            .filter(|class| !state.classes.contains_key(class))
            .collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Notes what was read of classes.
    pub(crate) fn learn(&self, classes: Vec<Class>) {
        let mut state = self.lock();
        if i64::try_from(state.classes.len()).unwrap_or(i64::MAX) >= KEPT_MAX {
            state.classes.clear();
        }
        let classes = classes.into_iter().map(|class| (class.id, class.asked));
        state.classes.extend(classes);
    }

    /// Those of the lanes that `worker` serves, each with how long its tasks must have waited for another
    /// worker before.
    pub(crate) fn served(
        &self,
        worker: WorkerId,
        mut lanes: Vec<Lane>,
        grace: Duration,
    ) -> Vec<Lane> {
        let state = self.lock();
        if !state.held.is_empty() {
            lanes.retain(|lane| !state.holds_back(&lane.tenant));
        }
        if lanes.iter().all(|lane| lane.class() == OPEN) {
            return lanes;
        }
        let profile = state.workers.get(&worker).cloned();
        let profile = profile.unwrap_or_else(|| Arc::new(unheard()));
        let served = lanes.into_iter().filter_map(|mut lane| {
            if lane.class() == OPEN {
                return Some(lane);
            }
            let asked = state.classes.get(&lane.class())?;
            match asked.may_be_taken_by(worker, &profile, grace) {
                MayTake::Never => None,
                MayTake::WhenDue => Some(lane),
                MayTake::After(grace) => {
                    lane.wait_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
                    Some(lane)
                }
            }
        });
        served.collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holds_back(&self, tenant: &str) -> bool {
        self.held.iter().any(|held| held.as_str() == tenant)
    }
}

/// A worker that told nothing yet.
fn unheard() -> Profile {
    Profile {
        name: WorkerName::of_machine(""),
        address: None,
        capabilities: Vec::new(),
        version: String::new(),
        started_at: Timestamp::EPOCH,
    }
}
