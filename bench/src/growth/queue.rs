//! A queue in its storage, without a host.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use cofferdam_domain::attempt::{LeftOut, Outcome, Payload, Streams, Usage, WorkerId};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::{AttemptEnd, Claim, Next};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleKind, ModuleName};
use cofferdam_domain::placement::Placement;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::task::{ClaimOrder, Input, NewTask, Priority, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::settings::StorageConfig;
use cofferdam_storage::{Finished, Opened};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Tasks of one call while the queue is filled.
const FILL: u64 = 2000;
const ME: WorkerId = WorkerId(Uuid::from_u128(0xa11ce));
const DIGEST: Digest = Digest::from_bytes([1; 32]);

/// A storage that this process has open, and what calls it.
pub(super) struct Queue {
    storage: Opened,
    runtime: Runtime,
    next: AtomicU64,
    module: ModuleName,
    _data: TempDir,
}

/// How long the parts of a cycle took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cycle {
    pub(super) submit: Duration,
    pub(super) claim: Duration,
    pub(super) finish: Duration,
}

impl Queue {
    /// Opens an empty storage: the database of that URL, or SQLite.
    pub(super) fn open(url: Option<String>) -> anyhow::Result<Queue> {
        let data = TempDir::new()?;
        let settings = StorageConfig {
            data: data.path().to_owned(),
            url,
            database_budget_bytes: u64::MAX,
            ..StorageConfig::default()
        };
        let storage = cofferdam_storage::open(&settings, StdRng::from_os_rng(), &Clock::system())?;
        let queue = Queue {
            storage,
            runtime: Runtime::new()?,
            next: AtomicU64::new(1),
            module: ModuleName::parse("echo")?,
            _data: data,
        };
        let info = ModuleInfo {
            digest: DIGEST,
            kind: ModuleKind::Command,
            size_bytes: 4,
            imports: Vec::new(),
            needs: Vec::new(),
            descriptor: None,
            compiled_ms: 1,
        };
        let now = queue.storage.clock.now();
        let wasm = b"wasm".as_slice().into();
        let put = queue.storage.modules.put_module(
            &Tenant::DEFAULT,
            &queue.module,
            &info,
            wasm,
            None,
            now,
        );
        queue.runtime.block_on(put)?;
        Ok(queue)
    }

    /// Adds that many tasks.
    pub(super) fn fill(&self, tasks: u64) -> anyhow::Result<()> {
        let mut left = tasks;
        while left > 0 {
            let some = left.min(FILL);
            self.submit(some)?;
            left -= some;
        }
        Ok(())
    }

    /// Submits so many tasks, claims as many and finishes them.
    pub(super) fn cycle(&self, tasks: u64) -> anyhow::Result<Cycle> {
        let submit = self.submit(tasks)?;
        let begun = Instant::now();
        let (slots, now) = (u32::try_from(tasks)?, self.storage.clock.now());
        let claim = self
            .storage
            .tasks
            .claim(ME, slots, ClaimOrder::Priority, now);
        let claims = self.runtime.block_on(claim)?;
        let claim = begun.elapsed();
        ensure!(
            claims.len() as u64 == tasks,
            "{} of {tasks} were claimed",
            claims.len()
        );
        let now = self.storage.clock.now();
        let ends = claims.iter().map(|claim| completed(claim, now)).collect();
        let begun = Instant::now();
        let finished = self.runtime.block_on(self.storage.tasks.finish(ends))?;
        let finish = begun.elapsed();
        ensure!(
            finished
                .iter()
                .all(|told| matches!(told, Finished::Recorded(_))),
            "an end was refused"
        );
        Ok(Cycle {
            submit,
            claim,
            finish,
        })
    }

    /// Removes up to so many of the oldest tasks that finished before an instant; tells how many.
    pub(super) fn prune(&self, before: Timestamp, limit: u32) -> anyhow::Result<usize> {
        let now = self.storage.clock.now();
        let pruned = self.storage.tasks.prune(before, u64::MAX, limit, now);
        Ok(self.runtime.block_on(pruned)?.tasks.len())
    }

    fn submit(&self, tasks: u64) -> anyhow::Result<Duration> {
        let now = self.storage.clock.now();
        let tasks = (0..tasks).map(|_| self.task(now)).collect();
        let begun = Instant::now();
        let insert = self.storage.tasks.insert_tasks(tasks, u64::MAX.into(), now);
        self.runtime.block_on(insert)?;
        Ok(begun.elapsed())
    }

    fn task(&self, now: Timestamp) -> NewTask {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let mut fingerprint = [0; 16];
        fingerprint[8..].copy_from_slice(&number.to_be_bytes());
        NewTask {
            id: TaskId(now.uuid(&random)),
            tenant: Tenant::default(),
            run_at: now,
            spec: TaskSpec {
                module: self.module.clone(),
                digest: DIGEST,
                input: Input::Inline(payload(br#"{"n":1}"#)),
                args: Vec::new(),
                env: Vec::new(),
                priority: Priority::Normal,
                limits: Limits::DEFAULT,
                retry: RetryPolicy::default(),
                grants: Grants::none(),
                isolation: None,
                cache_ttl: None,
                placement: Placement::default(),
                metadata: "{}".to_owned(),
            },
            idempotency_key: None,
            fingerprint,
            dedup: None,
            callback: None,
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.storage.close();
    }
}

fn payload(body: &'static [u8]) -> Payload {
    Payload {
        content_type: "application/json".into(),
        body: body.into(),
    }
}

fn completed(claim: &Claim, now: Timestamp) -> AttemptEnd {
    AttemptEnd {
        task_id: claim.task_id,
        tenant: claim.tenant.clone(),
        attempt: claim.attempt,
        fence: claim.fence,
        workflow: None,
        finished_at: now,
        outcome: Outcome::Completed(payload(b"42")),
        usage: Usage {
            duration: Duration::from_micros(12),
            ..Usage::default()
        },
        streams: Streams::default(),
        artifacts: Vec::new(),
        left_out: LeftOut::default(),
        next: Next::Complete,
    }
}
