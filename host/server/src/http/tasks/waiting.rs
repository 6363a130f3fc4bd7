//! What a pending task waits for, if no worker that is up can run it.

use crate::http::Services;
use crate::http::error::ApiError;
use crate::http::modules::wire::HeldJson;
use crate::http::tasks::wire::{TaskJson, WaitingFor};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Task;
use cofferdam_domain::worker::{Capability, Worker, WorkerState};

/// The most workers that are looked at.
const WORKERS_MAX: u32 = 10_000;

/// The workers, read once for all the tasks of an answer, and only if one of them may need them.
pub(crate) struct Workers(Vec<Worker>);

impl Workers {
    /// Those that `tasks` may wait for.
    pub(crate) async fn for_tasks(
        services: &Services,
        tasks: &[Task],
    ) -> Result<Workers, ApiError> {
        match tasks.iter().any(may_lack_a_worker) {
            true => Ok(Workers(services.storage.workers(None, WORKERS_MAX).await?)),
            false => Ok(Workers(Vec::new())),
        }
    }

    /// A task as an answer shows it.
    pub(crate) fn view(&self, services: &Services, task: Task) -> TaskJson {
        let waiting_for = self.waiting_for(services, &task);
        let (now, wait) = (services.clock.now(), services.queue.estimated_wait());
        let held = match task.state {
            TaskState::Pending => services.runner.tasks_held(task.digest, &task.tenant),
            TaskState::Blocked
            | TaskState::Running
            | TaskState::Completed
            | TaskState::Failed
            | TaskState::Cancelled => None,
        };
        TaskJson::new(task, now, wait, waiting_for, held.map(HeldJson::from))
    }

    fn waiting_for(&self, services: &Services, task: &Task) -> Option<WaitingFor> {
        if !may_lack_a_worker(task) {
            return None;
        }
        let dead_before = services.queue.dead_before();
        let takes_tasks = |worker: &&Worker| match worker.state(dead_before) {
            WorkerState::Idle | WorkerState::Running | WorkerState::Error => true,
            WorkerState::Draining | WorkerState::Terminated => false,
        };
        let capable = |worker: &&Worker| task.placement.is_met_by(&worker.profile);
        if self
            .0
            .iter()
            .filter(takes_tasks)
            .any(|worker| capable(&worker))
        {
            return None;
        }
        if self.0.iter().any(|worker| capable(&worker)) {
            return Some(WaitingFor {
                reason: "worker_up",
                missing: Vec::new(),
            });
        }
        Some(WaitingFor {
            reason: "capable_worker",
            missing: self.missing(task),
        })
    }

    /// What the worker lacks that lacks least.
    fn missing(&self, task: &Task) -> Vec<String> {
        let requires = task.placement.distinctive();
        let required = requires.requires();
        let least = self.0.iter().map(|worker| lacks(worker, required));
        let least = least.min_by_key(Vec::len);
        let least = least.unwrap_or_else(|| required.iter().collect());
        least
            .iter()
            .map(|capability| capability.as_str().to_owned())
            .collect()
    }
}

/// What of `required` a worker does not have.
fn lacks<'a>(worker: &Worker, required: &'a [Capability]) -> Vec<&'a Capability> {
    let has = &worker.profile.capabilities;
    let lacking = required
        .iter()
        .filter(|capability| !has.contains(capability));
    lacking.collect()
}

fn may_lack_a_worker(task: &Task) -> bool {
    task.state == TaskState::Pending && !task.placement.distinctive().requires().is_empty()
}
