//! Who may begin: a run holds slots of the pool and a share of the host's memory budget.
//!
//! Both are semaphores, so a burst waits in the order of its arrival and never sees an error of
//! the pool. They are always taken in the same order, memory first, so waiters cannot block each
//! other for ever.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use crate::EngineClass;
use cofferdam_domain::limits::MIB;

/// The gate in front of the pool.
pub(crate) struct Admission {
    memory: Arc<Semaphore>,
    memory_mib: u32,
    slots: Arc<Semaphore>,
    slots_max: u32,
    interpreter_slots: Arc<Semaphore>,
    interpreter_slots_max: u32,
}

/// What one run occupies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Its memory limit.
    pub(crate) memory_bytes: u64,
    /// Slots of the pool: more than one where the module has many memories or tables.
    pub(crate) slots: u32,
}

/// A run that was let in. It gives everything back when it is dropped, which must come after its
/// store.
pub(crate) struct Admitted {
    _memory: OwnedSemaphorePermit,
    _slots: OwnedSemaphorePermit,
}

/// The run can never be let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NeverFits {
    /// Its memory limit is above the whole budget.
    #[error(
        "the memory limit of {asked_bytes} bytes is above this host's whole memory budget of \
         {budget_bytes} bytes"
    )]
    Memory { asked_bytes: u64, budget_bytes: u64 },
    /// Its module needs more slots than the pool has.
    #[error("the module needs {asked} slots of the instance pool, which has {slots}")]
    Slots { asked: u32, slots: u32 },
}

/// What is occupied now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Pool slots in use.
    pub slots_used: u32,
    /// Pool slots in all.
    pub slots_max: u32,
    /// The sum of the memory limits of the guests that exist.
    pub memory_used_bytes: u64,
    /// The memory budget.
    pub memory_budget_bytes: u64,
}

impl Admission {
    /// A gate for a pool of `slots_max`, one of `interpreter_slots_max`, and a budget of
    /// `memory_bytes` for both.
    pub(crate) fn new(slots_max: u32, interpreter_slots_max: u32, memory_bytes: u64) -> Admission {
        let memory_mib = u32::try_from(memory_bytes / MIB).unwrap_or(u32::MAX).max(1);
        Admission {
            memory: Arc::new(Semaphore::new(memory_mib as usize)),
            memory_mib,
            slots: Arc::new(Semaphore::new(slots_max as usize)),
            slots_max,
            interpreter_slots: Arc::new(Semaphore::new(interpreter_slots_max as usize)),
            interpreter_slots_max,
        }
    }

    /// Waits until there is room for `need`.
    pub(crate) async fn admit(
        &self,
        class: EngineClass,
        need: Need,
    ) -> Result<Admitted, NeverFits> {
        let (slots, slots_max) = match class {
            EngineClass::Fast | EngineClass::Metered => (&self.slots, self.slots_max),
            EngineClass::Interpreter => (&self.interpreter_slots, self.interpreter_slots_max),
        };
        let mib = u32::try_from(need.memory_bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        if mib > self.memory_mib {
            return Err(NeverFits::Memory {
                asked_bytes: need.memory_bytes,
                budget_bytes: u64::from(self.memory_mib) * MIB,
            });
        }
        if need.slots > slots_max {
            return Err(NeverFits::Slots {
                asked: need.slots,
                slots: slots_max,
            });
        }
        Ok(Admitted {
            _memory: acquire(&self.memory, mib).await,
            _slots: acquire(slots, need.slots).await,
        })
    }

    /// What is occupied now.
    pub(crate) fn occupancy(&self) -> Occupancy {
        let free = |semaphore: &Semaphore| {
            u32::try_from(semaphore.available_permits()).unwrap_or(u32::MAX)
        };
        let memory_free = free(&self.memory);
        Occupancy {
            slots_used: self.slots_max.saturating_sub(free(&self.slots)),
            slots_max: self.slots_max,
            memory_used_bytes: u64::from(self.memory_mib.saturating_sub(memory_free)) * MIB,
            memory_budget_bytes: u64::from(self.memory_mib) * MIB,
        }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    match Arc::clone(semaphore).try_acquire_many_owned(permits) {
        Ok(permit) => permit,
        Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => Arc::clone(semaphore)
            .acquire_many_owned(permits)
            .await
            .expect("nobody closes the gate's semaphores"),
    }
}

/// Three quarters of the memory this process may use: the machine's, or its control group's if
/// that is less.
pub(crate) fn default_memory_budget_bytes() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| meminfo_total_bytes(&text))
        .unwrap_or(4 * 1024 * MIB);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(u64::MAX);
    machine.min(group) / 4 * 3
}

fn meminfo_total_bytes(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
