//! Callbacks: tells others that tasks, batches and workflows have ended.
//!
//! What is to be told is in storage from the moment a task, the last one of a batch, or a workflow is final
//! (`cofferdam_storage::Callbacks`). Here a worker takes what is due (`teller`), sends it through the way out of the sandbox under rules of its own,
//! judges the answer (`verdict`) and records it. Whatever it holds when the host dies is due again
//! elsewhere, so an end is told at least once. How a message looks is decided by whoever starts the worker:
//! nothing here knows the API's forms.

mod letter;
mod rules;
mod sender;
pub mod settings;
mod signature;
mod teller;
mod verdict;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

pub(crate) use self::letter::{Letter, signing_keys};
pub use self::rules::Rules;
pub use self::settings::CallbacksConfig;
pub use self::signature::check as check_signing_secret;
use crate::access::Access;
use crate::breaker::{Breakers, Held};
use crate::secrets::Secrets;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::callback::event::{EventId, Subject};
use cofferdam_domain::callback::{Callback, Lane, Told};
use cofferdam_domain::caller::{Caller, Forbidden, Scope, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::grants::http::HostPattern;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::Task;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_sandbox::egress::{Egress, EgressConfig};
use cofferdam_storage::signals::{Ear, Signal, Signals};
use cofferdam_storage::{
    Batch, Callbacks as Kept, DeliveryCounts, Reads, StorageError, ToldAgain, Workflow, Workflows,
};

/// An end, as it is told.
#[derive(Debug)]
pub struct End {
    /// Its name.
    pub event: EventId,
    /// What ended.
    pub of: Ended,
}

/// What ended.
#[derive(Debug)]
pub enum Ended {
    /// A task.
    Task {
        /// As it ended.
        task: Box<Task>,
        /// Its result, if that is short, and still that of this end.
        result: Option<Payload>,
    },
    /// A batch.
    Batch {
        /// As it is.
        batch: Batch,
        /// How the worst of its tasks ended.
        state: TaskState,
        /// When the last of its tasks ended.
        finished_at: Timestamp,
    },
    /// A workflow, as it is, but for how that run of it ended.
    Workflow(Workflow),
}

/// Writes the message of an end.
pub type Write = fn(End) -> Bytes;

/// The parts that tell ends.
pub struct Parts {
    /// What is to be told.
    pub kept: Arc<dyn Kept>,
    /// The tasks.
    pub reads: Arc<dyn Reads>,
    /// The workflows.
    pub workflows: Arc<dyn Workflows>,
    /// Tells of ends.
    pub signals: Arc<dyn Signals>,
    /// What messages are signed with.
    pub secrets: Secrets,
    /// What the operator says of tenants.
    pub access: Arc<Access>,
    /// The way out, under the rules of callbacks.
    pub egress: Egress,
    /// How messages look.
    pub write: Write,
    /// How much, how often and for how long.
    pub config: CallbacksConfig,
    /// The clock of what is kept.
    pub clock: Clock,
    /// The seed of what is left to chance.
    pub seed: u64,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// The callbacks of a host.
pub struct Callbacks {
    kept: Arc<dyn Kept>,
    reads: Arc<dyn Reads>,
    workflows: Arc<dyn Workflows>,
    secrets: Secrets,
    access: Arc<Access>,
    egress: Egress,
    write: Write,
    config: CallbacksConfig,
    clock: Clock,
    random: Mutex<StdRng>,
    metrics: Arc<Metrics>,
    breakers: Breakers<Lane>,
    /// Something may be due.
    wake: Notify,
}

/// The way out of callbacks: the operator's own list of hosts, and the addresses of `[egress]`.
pub fn way_out(config: &CallbacksConfig, egress: &EgressConfig) -> Egress {
    Egress::new(EgressConfig {
        allow: config.allow.clone(),
        connections: 1,
        connections_max: config.concurrency,
        requests: 1,
        request_timeout: config.timeout,
        connect_timeout: config.timeout.min(egress.connect_timeout),
        ..egress.clone()
    })
}

impl Callbacks {
    /// Tells what is to be told until `shutdown` is requested. A host that may reach nobody tells nothing,
    /// and leaves it to others and to later.
    pub fn start(parts: Parts, shutdown: &Shutdown) -> Arc<Callbacks> {
        let callbacks = Arc::new(Callbacks {
            breakers: Breakers::new(parts.config.breaker),
            kept: parts.kept,
            reads: parts.reads,
            workflows: parts.workflows,
            secrets: parts.secrets,
            access: parts.access,
            egress: parts.egress,
            write: parts.write,
            clock: parts.clock,
            random: Mutex::new(StdRng::seed_from_u64(parts.seed)),
            metrics: parts.metrics,
            wake: Notify::new(),
            config: parts.config,
        });
        if !callbacks.config.allow.is_empty() {
            let ear: Arc<dyn Ear> = Arc::<Callbacks>::clone(&callbacks);
            parts.signals.listen(Arc::downgrade(&ear));
            let (teller, stop) = (Arc::clone(&callbacks), shutdown.clone());
            shutdown.spawn("callbacks", teller::serve(teller, stop));
        }
        callbacks
    }

    /// A callback, and how far telling the newest end has come.
    pub async fn of(
        &self,
        whose: &Whose,
        of: Subject,
    ) -> Result<Option<(Callback, Option<Told>)>, StorageError> {
        self.kept.callback(whose, of).await
    }

    /// Has a newest end told again.
    pub async fn tell_again(
        &self,
        caller: &Caller,
        of: Subject,
    ) -> Result<Result<ToldAgain, Forbidden>, StorageError> {
        if let Err(forbidden) = caller.may(Scope::Run) {
            return Ok(Err(forbidden));
        }
        let whose = Whose::of(caller);
        let told = self.kept.tell_again(&whose, of, self.clock.now()).await?;
        self.wake.notify_one();
        Ok(Ok(told))
    }

    /// How many ends the caller's tenant has to be told, and how many were given up.
    pub async fn counts(&self, caller: &Caller) -> Result<DeliveryCounts, StorageError> {
        self.kept.delivery_counts(&Whose::of(caller)).await
    }

    /// Places that this host holds back for the caller's tenant, because they failed again and again.
    pub fn held(&self, caller: &Caller) -> Vec<(String, Held)> {
        let held = self.breakers.all_held(Instant::now()).into_iter();
        let own = held.filter(|(lane, _)| lane.tenant == *caller.tenant());
        let mut own: Vec<_> = own.map(|(lane, held)| (lane.place, held)).collect();
        own.sort_by(|one, other| one.0.cmp(&other.0));
        own
    }

    /// How many places this host holds back, for whomever.
    pub fn held_count(&self) -> u64 {
        self.breakers.count()
    }

    /// The hosts that a tenant may reach, if the operator bounds them.
    fn within(&self, tenant: &Tenant) -> Option<Vec<HostPattern>> {
        self.access.rules_of(tenant)?.egress.clone()
    }

    /// A part of a duration that nobody foresees.
    fn jittered(&self, wait: Duration) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        wait.mul_f64(random.random_range(0.5..1.0))
    }
}

impl Ear for Callbacks {
    fn hear(&self, signal: Signal) {
        match signal {
            Signal::Changed(_) | Signal::Everything => self.wake.notify_one(),
            Signal::Work | Signal::Cut => {}
        }
    }
}
