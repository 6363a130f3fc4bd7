//! One end: how it was, the message about it, and what became of that.

use std::time::{Duration, Instant};

use super::letter::{Letter, signing_keys};
use super::verdict::{Says, Verdict};
use super::{Callbacks, End, Ended};
use crate::breaker::Pass;
use crate::secrets::SecretsError;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::callback::Lane;
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::secret::SecretValue;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Task, TaskId};
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{WorkflowId, WorkflowState};
use cofferdam_storage::{Delivery, StorageError, Tried, Workflow};

/// When something is tried again that storage did not let go out.
const STORAGE_WAIT: Duration = Duration::from_secs(5);

impl Callbacks {
    /// Sends one and records what became of it.
    pub(super) async fn tell(&self, delivery: Delivery, pass: Pass<Lane>) {
        let of = delivery.event.of;
        let tried = match self.send(&delivery).await {
            Ok(None) => return,
            Ok(Some(verdict)) => self.judged(&delivery, verdict, pass),
            Err(error) => {
                tracing::warn!(%of, %error, "a callback could not be prepared");
                Tried::Held(self.clock.now().plus(STORAGE_WAIT))
            }
        };
        if let Err(error) = self.kept.settle_delivery(delivery.hold, tried).await {
            // It is due again when its time is over.
            tracing::warn!(%of, %error, "what became of a callback could not be recorded");
        }
    }

    /// Sends one; nothing if what ended is gone.
    async fn send(&self, delivery: &Delivery) -> Result<Option<Verdict>, StorageError> {
        let Some(end) = self.end(delivery).await? else {
            return Ok(None);
        };
        let keys = match self.keys(delivery).await? {
            Ok(keys) => keys,
            Err(why) => return Ok(Some(Verdict::unsent(why))),
        };
        let event = delivery.event.to_string();
        // As the audit trail names it.
        let about = match delivery.event.of {
            Subject::Task(id) => format!("/v1/tasks/{id}"),
            Subject::Batch(id) => format!("/v1/batches/{id}"),
            Subject::Workflow(id) => format!("/v1/workflows/{id}"),
        };
        let letter = Letter {
            url: &delivery.url,
            name: &event,
            about: &about,
            kind: "callback",
            at: self.clock.now(),
            keys: &keys,
            body: (self.write)(end),
            within: self.within(&delivery.tenant),
            tenant: Some(delivery.tenant.clone()),
        };
        let config = &self.config;
        let posted = letter
            .post(&self.egress, config.answer_bytes, config.timeout)
            .await;
        Ok(Some(posted.map_or_else(
            || Verdict::unsent("its host cannot be read".to_owned()),
            Verdict::of,
        )))
    }

    /// What it is signed with, or why it cannot be.
    async fn keys(
        &self,
        delivery: &Delivery,
    ) -> Result<Result<Vec<SecretValue>, String>, StorageError> {
        let Some(name) = &delivery.secret else {
            return Ok(Ok(Vec::new()));
        };
        match self.secrets.value(&delivery.tenant, name).await {
            Ok(secret) => {
                let keys = signing_keys(&secret);
                Ok(keys.map_err(|why| format!("the secret {name} {why}")))
            }
            Err(SecretsError::Storage(error)) => Err(error),
            Err(
                error @ (SecretsError::Unknown(_)
                | SecretsError::NoKeys
                | SecretsError::TooMany
                | SecretsError::Forbidden(_)),
            ) => Ok(Err(error.to_string())),
        }
    }

    /// The end; none if what ended is gone.
    async fn end(&self, delivery: &Delivery) -> Result<Option<End>, StorageError> {
        let whose = Whose::One(delivery.tenant.clone());
        let of = match delivery.event.of {
            Subject::Task(id) => self.task(&whose, id, delivery).await?,
            Subject::Batch(id) => {
                let batch = self.reads.batch(&whose, id).await?;
                batch.map(|batch| Ended::Batch {
                    batch,
                    state: delivery.state,
                    finished_at: delivery.finished_at,
                })
            }
            Subject::Workflow(id) => self.workflow(&whose, id, delivery).await?,
        };
        let event = delivery.event;
        Ok(of.map(|of| End { event, of }))
    }

    /// A workflow as that run of it ended, whatever became of it since.
    async fn workflow(
        &self,
        whose: &Whose,
        id: WorkflowId,
        delivery: &Delivery,
    ) -> Result<Option<Ended>, StorageError> {
        let found = self.workflows.workflow(whose, id).await?;
        let state = match delivery.state {
            TaskState::Failed => WorkflowState::Failed,
            TaskState::Cancelled => WorkflowState::Cancelled,
            TaskState::Completed | TaskState::Blocked | TaskState::Pending | TaskState::Running => {
                WorkflowState::Completed
            }
        };
        Ok(found.map(|found| {
            Ended::Workflow(Workflow {
                state,
                run: delivery.attempt,
                updated_at: delivery.finished_at,
                finished_at: Some(delivery.finished_at),
                ..found.workflow
            })
        }))
    }

    /// A task as it ended, whatever became of it since.
    async fn task(
        &self,
        whose: &Whose,
        id: TaskId,
        delivery: &Delivery,
    ) -> Result<Option<Ended>, StorageError> {
        let Some(task) = self.reads.task(whose, id).await? else {
            return Ok(None);
        };
        if (task.state, task.finished_at) == (delivery.state, Some(delivery.finished_at)) {
            let result = self.short_result(whose, &task).await?;
            let task = Box::new(task);
            return Ok(Some(Ended::Task { task, result }));
        }
        let attempt = self.reads.attempt(whose, id, Some(delivery.attempt));
        let attempt = attempt.await?;
        let task = Task {
            state: delivery.state,
            attempt: delivery.attempt,
            finished_at: Some(delivery.finished_at),
            updated_at: delivery.finished_at,
            cancel_requested: false,
            worker: attempt.as_ref().map(|attempt| attempt.worker),
            started_at: attempt.as_ref().map(|attempt| attempt.started_at),
            usage: attempt.as_ref().map(|attempt| attempt.usage),
            result_bytes: None,
            truncated: attempt.as_ref().map_or([false; 3], |it| it.truncated),
            failure: attempt.and_then(|attempt| attempt.failure),
            ..task
        };
        Ok(Some(Ended::Task {
            task: Box::new(task),
            result: None,
        }))
    }

    async fn short_result(
        &self,
        whose: &Whose,
        task: &Task,
    ) -> Result<Option<Payload>, StorageError> {
        let is_short = |bytes| bytes <= self.config.result_bytes;
        match task.result_bytes.is_some_and(is_short) {
            true => self.reads.result(whose, task.id).await,
            false => Ok(None),
        }
    }

    /// Learns from a try, and says what is recorded of it.
    fn judged(&self, delivery: &Delivery, verdict: Verdict, pass: Pass<Lane>) -> Tried {
        let why = verdict.error().to_owned();
        match verdict.says {
            Says::Works => pass.worked(),
            Says::Nothing => drop(pass),
            Says::Fails => {
                if let Some(failures) = pass.failed(why.clone(), Instant::now()) {
                    let (place, tenant) = (delivery.url.place(), &delivery.tenant);
                    tracing::warn!(%tenant, place, failures, why, "callbacks to a host are held back");
                }
            }
        }
        let moments = (delivery.tries, delivery.since, self.clock.now());
        let tried = verdict.tried(&self.config, moments, |wait| self.jittered(wait));
        let outcome = match &tried {
            Tried::Delivered { .. } => "delivered",
            Tried::Missed { next: Some(_), .. } => "missed",
            Tried::Missed { next: None, .. } => "given_up",
            Tried::Held(_) => return tried,
        };
        self.metrics.callback_tried(outcome);
        if outcome == "given_up" {
            tracing::warn!(of = %delivery.event.of, why, "a callback is given up");
        }
        tried
    }
}
