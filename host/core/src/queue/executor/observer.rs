//! Passes on a guest's output and progress while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::queue::events::Speaker;
use crate::queue::shared::Shared;
use cofferdam_domain::attempt::{Fence, Stream};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::TaskId;
use cofferdam_sandbox::control::Observer;
use cofferdam_storage::Progress;

/// The observer of one attempt. It passes on no more of each stream than is kept.
pub(crate) struct Told {
    shared: Arc<Shared>,
    task_id: TaskId,
    tenant: Tenant,
    fence: Fence,
    /// Made at the first write: most guests write nothing.
    speaker: OnceLock<Speaker>,
    stdout_left: AtomicU64,
    stderr_left: AtomicU64,
    log_left: AtomicU64,
}

impl Told {
    pub(crate) fn of(claim: &Claim, shared: Arc<Shared>) -> Told {
        let limits = &claim.spec.limits;
        Told {
            shared,
            task_id: claim.task_id,
            tenant: claim.tenant.clone(),
            fence: claim.fence,
            speaker: OnceLock::new(),
            stdout_left: AtomicU64::new(limits.stdout_bytes),
            stderr_left: AtomicU64::new(limits.stderr_bytes),
            log_left: AtomicU64::new(limits.log_bytes),
        }
    }
}

impl Observer for Told {
    fn progress(&self, fraction: f64, note: &str) {
        self.shared.progress.write(Progress {
            task_id: self.task_id,
            tenant: self.tenant.clone(),
            fence: self.fence,
            fraction,
            note: note.to_owned(),
        });
    }

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        let left = match stream {
            Stream::Stdout => &self.stdout_left,
            Stream::Stderr => &self.stderr_left,
            Stream::Log => &self.log_left,
        };
        // One guest calls from one thread at a time, so the two steps need not be one.
        let room = left.load(Ordering::Relaxed);
        let told = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if told > 0 {
            left.store(room - told as u64, Ordering::Relaxed);
            let speaker = self
                .speaker
                .get_or_init(|| self.shared.events.speaker(self.task_id));
            speaker.wrote(stream, &bytes[..told]);
        }
    }
}
