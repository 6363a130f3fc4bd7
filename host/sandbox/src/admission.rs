//! Decides which run may begin: a run holds slots of a pool and a part of the host's memory
//! budget.
//!
//! A run pays a price in memory to begin: its limit, but no more than `memory_price_bytes`, because
//! most guests use little of their limit. Memory beyond the price is taken from the budget while
//! the guest grows, and the growth is refused when the budget is used up. So neither a limit that
//! is declared and not used nor a guest that sleeps keeps others from beginning.
//!
//! A burst waits and never sees an error of the pool. The wait ends when the run's patience does.
//! Callers take turns, and so do the modules of each caller, so one caller's crowd does not keep the
//! others waiting.

mod line;
mod places;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::line::Line;
use crate::EngineClass;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::MIB;
use cofferdam_domain::memory::{Budget, Held, Purpose};

pub use self::line::Party;
pub use self::places::{Places, Taken};

/// Runs that wait in one pool's line; one more is refused at once.
const WAITING_MAX: usize = 10_000;
/// Runs of one caller among them.
const WAITING_OF_CALLER_MAX: usize = 5_000;

/// The gate in front of the pools. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Gate>);

struct Gate {
    state: Mutex<State>,
    memory: Budget,
    price_bytes: u64,
    /// Runs of one caller in each line.
    waiting_max: usize,
}

struct State {
    pools: [Pool; DOORS],
    tickets: u64,
}

/// Where a run comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The pools of uploaded modules.
    Guests,
    /// The pool of interpreters.
    Interpreters,
    /// A process that one run has for itself.
    Dedicated,
}

const DOORS: usize = 3;

impl Door {
    /// The one of a run on an engine of `class` that is isolated so.
    pub(crate) fn of(class: EngineClass, isolation: Isolation) -> Door {
        match (isolation, class) {
            (Isolation::Dedicated, _) | (_, EngineClass::Unchecked) => Door::Dedicated,
            (Isolation::Shared | Isolation::Process, EngineClass::Fast | EngineClass::Metered) => {
                Door::Guests
            }
            (Isolation::Shared | Isolation::Process, EngineClass::Interpreter) => {
                Door::Interpreters
            }
        }
    }
}

struct Pool {
    slots_free: u32,
    slots_max: u32,
    waiting: Line<Waiter>,
}

struct Waiter {
    need: Need,
    admit: oneshot::Sender<Admitted>,
}

/// The room that one run needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Its memory limit.
    pub(crate) memory_bytes: u64,
    /// Slots of the pool: more than one where the module has many memories or tables.
    pub(crate) slots: u32,
}

/// How long a run waits for room, and in which party's line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// When it gives up; `None` means never.
    pub begin_by: Option<Instant>,
    /// When its time is over even if it began late; `None` gives it its whole time.
    pub end_by: Option<Instant>,
    /// Runs of one party wait for each other and take turns with those of other parties.
    pub party: Party,
}

/// The host had no room for a run. The run is not at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// No room became free in time.
    #[error("no room became free for this run within {} ms", .0.as_millis())]
    Waited(Duration),
    /// The line is full, or as full as one caller may make it.
    #[error("too many already wait for room")]
    Crowded,
    /// It was refused memory below its limit.
    #[error("the guests of this host together use all the memory that they may have")]
    Memory,
}

/// Why a run was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    NoRoom(NoRoom),
    Never(NeverFits),
}

/// The run can never be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NeverFits {
    /// Its memory limit is above the whole budget.
    #[error(
        "the memory limit of {asked_bytes} bytes is above the {most_bytes} bytes of this host's \
         memory budget that guests may have"
    )]
    Memory { asked_bytes: u64, most_bytes: u64 },
    /// Its module needs more slots than the pool has.
    #[error("the module needs {asked} slots of the instance pool, which has {slots}")]
    Slots { asked: u32, slots: u32 },
}

/// A run that was let in. It gives everything back when it is dropped, which must happen after its
/// store is dropped.
pub(crate) struct Admitted {
    /// First, so that whoever has the slots next finds its memory free.
    price: Held,
    slots: Slots,
}

struct Slots {
    gate: Arc<Gate>,
    pool: usize,
    count: u32,
}

/// The memory that a guest takes beyond its price; given back when dropped.
pub(crate) struct Growth {
    /// What it has.
    held_bytes: u64,
    from: Source,
}

/// Where a guest's memory comes from.
enum Source {
    /// The host's budget.
    Budget(Held),
    /// Whoever has the budget; the answer is whether so many bytes in all are its own now.
    Asked(Box<dyn FnMut(u64) -> bool + Send + Sync>),
}

/// The room in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Pool slots in use, and processes that one run has for itself.
    pub slots_used: u32,
    /// All of them.
    pub slots_max: u32,
    /// The part of the memory budget that existing guests hold.
    pub memory_used_bytes: u64,
    /// The most that guests may hold of it.
    pub memory_most_bytes: u64,
    /// Runs that wait for room.
    pub waiting: usize,
}

/// The step by which a guest's share of the budget grows, so that it asks seldom.
const STEP_BYTES: u64 = 4 * MIB;

impl Admission {
    /// A gate with so many slots behind each [`Door`]. A run pays at most `price_bytes` of `memory` to
    /// begin.
    pub(crate) fn new(slots_max: [u32; DOORS], memory: Budget, price_bytes: u64) -> Admission {
        Admission::with_line(slots_max, memory, price_bytes, WAITING_OF_CALLER_MAX)
    }

    fn with_line(
        slots_max: [u32; DOORS],
        memory: Budget,
        price_bytes: u64,
        waiting_max: usize,
    ) -> Admission {
        let pool = |slots_max| Pool {
            slots_free: slots_max,
            slots_max,
            waiting: Line::default(),
        };
        let gate = Arc::new(Gate {
            state: Mutex::new(State {
                pools: slots_max.map(pool),
                tickets: 0,
            }),
            memory,
            price_bytes,
            waiting_max,
        });
        let told = Arc::downgrade(&gate);
        gate.memory.when_freed(move || {
            if let Some(gate) = told.upgrade() {
                gate.release(|_nothing_else| {});
            }
        });
        Admission(gate)
    }

    /// Waits until there is room for `need`. Dropping the future gives up the place in line.
    pub(crate) async fn admit(
        &self,
        door: Door,
        need: Need,
        patience: &Patience,
    ) -> Result<Admitted, NotAdmitted> {
        let pool = door as usize;
        let began = Instant::now();
        let mut place = match self.enter(pool, need, patience.party)? {
            Entered::Admitted(admitted) => return Ok(admitted),
            Entered::Waits(place) => place,
        };
        let gives_up = async {
            match patience.begin_by {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            admitted = &mut place.admitted => {
                Ok(admitted.expect("a waiter leaves the line only when it is admitted"))
            }
            () = gives_up => Err(NotAdmitted::NoRoom(NoRoom::Waited(began.elapsed()))),
        }
    }

    /// Lets a run in, or gives it a place in line.
    fn enter(&self, pool: usize, need: Need, party: Party) -> Result<Entered, NotAdmitted> {
        let gate = &self.0;
        let mut state = gate.lock();
        let slots_max = state.pools[pool].slots_max;
        let most_bytes = gate.memory.most_bytes(Purpose::Guests);
        if need.memory_bytes > most_bytes {
            return Err(NotAdmitted::Never(NeverFits::Memory {
                asked_bytes: need.memory_bytes,
                most_bytes,
            }));
        }
        if need.slots > slots_max {
            return Err(NotAdmitted::Never(NeverFits::Slots {
                asked: need.slots,
                slots: slots_max,
            }));
        }
        // Runs that already wait go first.
        if state.pools[pool].waiting.is_empty()
            && let Some(admitted) = gate.take(&mut state, pool, need)
        {
            return Ok(Entered::Admitted(admitted));
        }
        let waiting = &state.pools[pool].waiting;
        if waiting.len() >= WAITING_MAX || waiting.len_of(party.caller) >= gate.waiting_max {
            return Err(NotAdmitted::NoRoom(NoRoom::Crowded));
        }
        let (admit, admitted) = oneshot::channel();
        state.tickets += 1;
        let ticket = state.tickets;
        let waiter = Waiter { need, admit };
        state.pools[pool].waiting.push(party, ticket, waiter);
        Ok(Entered::Waits(Place {
            gate: Arc::clone(gate),
            pool,
            party,
            ticket,
            admitted,
        }))
    }

    /// The room in use.
    pub(crate) fn occupancy(&self) -> Occupancy {
        let state = self.0.lock();
        let [guests, _, dedicated] = &state.pools;
        let used = |pool: &Pool| pool.slots_max - pool.slots_free;
        Occupancy {
            slots_used: used(guests) + used(dedicated),
            slots_max: guests.slots_max + dedicated.slots_max,
            memory_used_bytes: self.0.memory.taken_bytes(Purpose::Guests),
            memory_most_bytes: self.0.memory.most_bytes(Purpose::Guests),
            waiting: state.pools.iter().map(|pool| pool.waiting.len()).sum(),
        }
    }
}

/// How a run entered.
enum Entered {
    Admitted(Admitted),
    Waits(Place),
}

/// A place in line, given up when dropped. An admission sent meanwhile is given back by the channel
/// that holds it.
struct Place {
    gate: Arc<Gate>,
    pool: usize,
    party: Party,
    ticket: u64,
    admitted: oneshot::Receiver<Admitted>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, state: &mut State, pool: usize, need: Need) -> Option<Admitted> {
        let price_bytes = need.memory_bytes.min(self.price_bytes);
        let slots_free = state.pools[pool].slots_free.checked_sub(need.slots)?;
        let price = self.memory.take(Purpose::Guests, price_bytes)?;
        state.pools[pool].slots_free = slots_free;
        Some(Admitted {
            price,
            slots: Slots {
                gate: Arc::clone(self),
                pool,
                count: need.slots,
            },
        })
    }

    /// Changes the state, and lets in the runs that then have room.
    fn release(self: &Arc<Self>, free: impl FnOnce(&mut State)) {
        let mut let_in = Vec::new();
        let mut state = self.lock();
        free(&mut state);
        for pool in 0..state.pools.len() {
            while let Some(need) = state.pools[pool].waiting.first().map(|waiter| waiter.need) {
                let Some(admitted) = self.take(&mut state, pool, need) else {
                    break;
                };
                if let Some(waiter) = state.pools[pool].waiting.pop() {
                    let_in.push((waiter.admit, admitted));
                }
            }
        }
        // This happens without the lock: an admission that nobody receives is released again.
        drop(state);
        for (admit, admitted) in let_in {
            let _given_back = admit.send(admitted);
        }
    }
}

impl Admitted {
    /// The way for the guest to grow beyond its price.
    pub(crate) fn growth(&self) -> Growth {
        Growth {
            held_bytes: self.price.bytes(),
            from: Source::Budget(self.slots.gate.memory.nothing(Purpose::Guests)),
        }
    }
}

impl Growth {
    /// Takes from the budget what a guest of `bytes` needs, whose limit is `limit_bytes`; false if
    /// there is no room.
    pub(crate) fn reach(&mut self, bytes: u64, limit_bytes: u64) -> bool {
        let held = self.held_bytes;
        let Some(more) = bytes.checked_sub(held).filter(|more| *more > 0) else {
            return true;
        };
        let step = more
            .max(STEP_BYTES)
            .min(limit_bytes.saturating_sub(held).max(more));
        // Take the whole step, or else only what is needed.
        self.add(step) || self.add(more)
    }

    /// For a guest whose price of `held_bytes` was paid elsewhere: `ask` is called with all that it is to
    /// have.
    pub(crate) fn asked(
        held_bytes: u64,
        ask: impl FnMut(u64) -> bool + Send + Sync + 'static,
    ) -> Growth {
        Growth {
            held_bytes,
            from: Source::Asked(Box::new(ask)),
        }
    }

    /// What it has.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    fn add(&mut self, more: u64) -> bool {
        let reached = self.held_bytes.saturating_add(more);
        let has = match &mut self.from {
            Source::Budget(beyond) => beyond.add(more),
            Source::Asked(ask) => ask(reached),
        };
        if has {
            self.held_bytes = reached;
        }
        has
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.gate
            .release(|state| state.pools[self.pool].slots_free += self.count);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A run behind this one may have room.
        self.gate.release(|state| {
            state.pools[self.pool]
                .waiting
                .remove(self.party, self.ticket)
        });
    }
}
