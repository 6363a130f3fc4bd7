//! A submitted task, and the checks before it is stored.

use std::time::Duration;

use crate::queue::{Queue, QueueError};
use crate::registry::schema::Text;
use crate::runner::{NoInput, RunError, unmetered};
use cofferdam_domain::callback::Callback;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::LimitRequest;
use cofferdam_domain::module::{ModuleInfo, ModuleRef};
use cofferdam_domain::placement::Placement;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::task::{Dedup, Input, NewTask, Priority, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::StorageError;

/// A task as a caller submits it, parsed but not yet checked against this host's limits.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The caller's own id, if any.
    pub task_id: Option<TaskId>,
    /// What to run.
    pub module: ModuleRef,
    /// Its input.
    pub input: Input,
    /// Arguments, for commands.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// When it is claimed relative to others.
    pub priority: Priority,
    /// How long it must wait first.
    pub delay: Duration,
    /// The earliest moment it may run; the later of this and `delay` counts.
    pub run_at: Option<Timestamp>,
    /// The limits it asks for.
    pub limits: LimitRequest,
    /// The retry policy.
    pub retry: RetryPolicy,
    /// The grants it asks for.
    pub grants: Grants,
    /// The isolation it asks for.
    pub isolation: Option<Isolation>,
    /// How old a result of the cache may be that it takes, if it takes any.
    pub cache_ttl: Option<Duration>,
    /// Which workers it is for.
    pub placement: Placement,
    /// The idempotency key, which identifies a repeated submission.
    pub idempotency_key: Option<String>,
    /// A deduplication key, which at most one task has within the configured window.
    pub dedup_key: Option<String>,
    /// Whom its end is told.
    pub callback: Option<Callback>,
    /// A JSON object of the submitter's, as text.
    pub metadata: String,
    /// A hash of the unchanged request.
    pub fingerprint: [u8; 16],
    /// Whether its input is not what its module gets: it has references to what other nodes of its workflow
    /// give. It is held against the module's schema when it is filled in.
    pub is_template: bool,
}

impl Submission {
    /// A task that runs `module` on `input`, without options.
    pub fn new(module: ModuleRef, input: Input) -> Submission {
        Submission {
            task_id: None,
            module,
            input,
            args: Vec::new(),
            env: Vec::new(),
            priority: Priority::default(),
            delay: Duration::ZERO,
            run_at: None,
            limits: LimitRequest::default(),
            retry: RetryPolicy::default(),
            grants: Grants::none(),
            isolation: None,
            cache_ttl: None,
            placement: Placement::default(),
            idempotency_key: None,
            dedup_key: None,
            callback: None,
            metadata: "{}".to_owned(),
            fingerprint: [0; 16],
            is_template: false,
        }
    }
}

/// The result of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// A new task.
    New(TaskId),
    /// An earlier task takes its place.
    Existing(TaskId),
}

fn refused(input: NoInput) -> StorageError {
    match input {
        NoInput::NotYet(why) => StorageError::Unavailable(why),
        NoInput::Gone(why) => StorageError::Corrupt(why),
    }
}

impl Queue {
    /// Checks a submission against the module and this host's limits.
    pub(crate) async fn check(
        &self,
        caller: &Caller,
        submission: Submission,
        now: Timestamp,
    ) -> Result<NewTask, QueueError> {
        let limits = self
            .shared
            .admission
            .check(caller, &submission.limits, &submission.grants)?;
        let secrets = self
            .shared
            .admission
            .check_secrets(caller.tenant(), &submission.grants);
        secrets.await?;
        if let Some(callback) = &submission.callback {
            let admission = &self.shared.admission;
            admission.check_callback(caller, callback)?;
        }
        let module = self
            .registry
            .resolve(caller.tenant(), &submission.module)
            .await
            .map_err(RunError::from)?;
        if module.kind.language().is_some() && submission.limits.fuel.is_some() {
            return Err(unmetered().into());
        }
        if !submission.is_template {
            self.check_input(&module, &submission.input).await?;
        }
        let earliest = now.plus(submission.delay);
        let window = self.shared.config.dedup_window;
        Ok(NewTask {
            id: submission
                .task_id
                .unwrap_or_else(|| self.shared.dice.task_id(now)),
            tenant: caller.tenant().clone(),
            run_at: submission
                .run_at
                .map_or(earliest, |run_at| run_at.max(earliest)),
            spec: TaskSpec {
                module: submission.module.name,
                digest: module.digest,
                input: submission.input,
                args: submission.args,
                env: submission.env,
                priority: submission.priority,
                limits,
                retry: submission.retry,
                grants: submission.grants,
                isolation: submission.isolation,
                cache_ttl: submission.cache_ttl,
                placement: submission.placement,
                metadata: submission.metadata,
            },
            idempotency_key: submission.idempotency_key,
            fingerprint: submission.fingerprint,
            dedup: submission.dedup_key.map(|key| Dedup { key, window }),
            callback: submission.callback,
        })
    }

    /// Holds an input against the module's schema.
    async fn check_input(&self, module: &ModuleInfo, input: &Input) -> Result<(), QueueError> {
        // Keeps the file in its place until it was read.
        let mut _opened = None;
        let (content_type, input) = match input {
            Input::Inline(payload) => (&*payload.content_type, Text::Memory(payload.body.clone())),
            Input::Spooled {
                content_type,
                blob,
                size_bytes,
            } => {
                let file = self.spool.open(*blob).await.map_err(refused)?;
                let (path, size_bytes) = (file.path().to_owned(), *size_bytes);
                _opened = Some(file);
                (content_type.as_str(), Text::File { path, size_bytes })
            }
        };
        let checked = self.registry.check_input(module, content_type, input);
        checked.await.map_err(RunError::Schema)?;
        Ok(())
    }
}
