//! The memory of a host: one budget for all that strangers make it use.
//!
//! Guests, compiling children and bodies in flight each take from it before they use memory, so
//! their sum is bounded whatever any of them does. Each purpose has a part that the others cannot
//! take: bodies keep no guest from beginning, and guests keep nobody from being answered. Here is
//! only the count, and a word to those who wait when something came free; how long somebody waits,
//! and in which order, is the business of whoever takes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What memory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Memories and tables of guests.
    Guests,
    /// Processes that compile modules.
    Compiles,
    /// Bodies of requests and answers.
    Bodies,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Purpose; 3] = [Purpose::Guests, Purpose::Compiles, Purpose::Bodies];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Purpose::Guests => "guests",
            Purpose::Compiles => "compiles",
            Purpose::Bodies => "bodies",
        }
    }
}

/// What one purpose may have of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What the other purposes cannot take.
    pub reserved_bytes: u64,
    /// The most it may have, however much is free.
    pub most_bytes: u64,
}

impl Share {
    /// Nothing.
    pub const NONE: Share = Share {
        reserved_bytes: 0,
        most_bytes: 0,
    };

    /// Whatever is free, of which `reserved_bytes` always are.
    pub const fn reserving(reserved_bytes: u64) -> Share {
        Share {
            reserved_bytes,
            most_bytes: u64::MAX,
        }
    }
}

/// The shares of all purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// No more than half of the budget is reserved for guests.
    pub guests: Share,
    /// No more than a quarter is for compiling.
    pub compiles: Share,
    /// No more than a quarter is for bodies.
    pub bodies: Share,
}

impl Shares {
    /// In the order of [`Purpose::ALL`], with reserves that fit into `total_bytes` together.
    fn within(self, total_bytes: u64) -> [Share; 3] {
        let reserved = |share: Share, part| share.reserved_bytes.min(total_bytes / part);
        let (guests, compiles, bodies) = (self.guests, self.compiles, self.bodies);
        let reserves = [
            reserved(guests, 2),
            reserved(compiles, 4),
            reserved(bodies, 4),
        ];
        let all: u64 = reserves.iter().sum();
        let mut shares = [guests, compiles, bodies];
        for (share, reserved_bytes) in shares.iter_mut().zip(reserves) {
            let others = all - reserved_bytes;
            *share = Share {
                reserved_bytes: reserved_bytes.min(share.most_bytes),
                most_bytes: share.most_bytes.min(total_bytes - others),
            };
        }
        shares
    }
}

/// The budget. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Budget(Arc<Ledger>);

struct Ledger {
    total_bytes: u64,
    shares: [Share; 3],
    taken: Mutex<Taken>,
    listeners: Mutex<Vec<Listener>>,
}

type Listener = Arc<dyn Fn() + Send + Sync>;

struct Taken {
    bytes: [u64; 3],
    /// Whether somebody was refused since the last word.
    is_wanted: bool,
}

impl Budget {
    /// A budget of `total_bytes`, divided as `shares` say.
    pub fn new(total_bytes: u64, shares: Shares) -> Budget {
        Budget(Arc::new(Ledger {
            total_bytes,
            shares: shares.within(total_bytes),
            taken: Mutex::new(Taken {
                bytes: [0; 3],
                is_wanted: false,
            }),
            listeners: Mutex::default(),
        }))
    }

    /// All there is.
    pub fn total_bytes(&self) -> u64 {
        self.0.total_bytes
    }

    /// The most that a purpose can have while the others have nothing.
    pub fn most_bytes(&self, purpose: Purpose) -> u64 {
        self.0.shares[purpose as usize].most_bytes
    }

    /// What is taken for a purpose now.
    pub fn taken_bytes(&self, purpose: Purpose) -> u64 {
        self.0.lock().bytes[purpose as usize]
    }

    /// Nothing, to be grown.
    pub fn nothing(&self, purpose: Purpose) -> Held {
        Held {
            budget: self.clone(),
            purpose,
            bytes: 0,
        }
    }

    /// Takes `bytes`; none if there is no room for them now.
    pub fn take(&self, purpose: Purpose, bytes: u64) -> Option<Held> {
        let mut held = self.nothing(purpose);
        held.add(bytes).then_some(held)
    }

    /// Has `tell` called when something came free after somebody was refused. Whoever was, in
    /// whatever purpose, may try again then, and is refused again where that was too little.
    pub fn when_freed(&self, tell: impl Fn() + Send + Sync + 'static) {
        let listeners = self.0.listeners.lock();
        listeners
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(tell));
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        // Nothing panics while holding it.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all that is taken, and the reserves that are not, fit into the budget.
    fn fits(&self, taken: &[u64; 3]) -> bool {
        let mut sum = 0_u64;
        for (share, taken) in self.shares.iter().zip(taken) {
            if *taken > share.most_bytes {
                return false;
            }
            sum = sum.saturating_add(share.reserved_bytes.max(*taken));
        }
        sum <= self.total_bytes
    }

    fn give(&self, purpose: Purpose, bytes: u64) {
        let mut taken = self.lock();
        taken.bytes[purpose as usize] -= bytes;
        let is_wanted = std::mem::take(&mut taken.is_wanted);
        // Not under a lock: whoever is told takes and gives at once.
        drop(taken);
        if is_wanted {
            let listeners = self.listeners.lock();
            let listeners = listeners.unwrap_or_else(PoisonError::into_inner).clone();
            listeners.iter().for_each(|tell| tell());
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("total_bytes", &self.0.total_bytes)
            .field("taken_bytes", &self.0.lock().bytes)
            .finish()
    }
}

/// A part of the budget, given back when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    purpose: Purpose,
    bytes: u64,
}

impl Held {
    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `more` bytes; false, and nothing, if there is no room for them now.
    pub fn add(&mut self, more: u64) -> bool {
        let mut taken = self.budget.0.lock();
        let mut wanted = taken.bytes;
        let mine = &mut wanted[self.purpose as usize];
        *mine = mine.saturating_add(more);
        if !self.budget.0.fits(&wanted) {
            taken.is_wanted = true;
            return false;
        }
        taken.bytes = wanted;
        drop(taken);
        self.bytes += more;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.0.give(self.purpose, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use Purpose::{Bodies, Compiles, Guests};

    fn budget() -> Budget {
        let shares = Shares {
            guests: Share::reserving(30),
            compiles: Share::reserving(20),
            bodies: Share {
                reserved_bytes: 10,
                most_bytes: 40,
            },
        };
        Budget::new(100, shares)
    }

    #[test]
    fn no_purpose_takes_what_is_reserved_for_another() {
        for (purpose, most) in [(Guests, 70), (Compiles, 60), (Bodies, 40)] {
            let budget = budget();
            assert_eq!(budget.most_bytes(purpose), most);
            let all = budget.take(purpose, most).unwrap();
            assert!(budget.take(purpose, 1).is_none());
            for (other, reserved) in [(Guests, 30), (Compiles, 20), (Bodies, 10)] {
                let left = budget.take(other, reserved);
                assert_eq!(left.is_some(), other != purpose, "{purpose:?} {other:?}");
            }
            assert_eq!(budget.taken_bytes(purpose), most);
            drop(all);
            assert_eq!(budget.taken_bytes(purpose), 0);
        }
    }

    #[test]
    fn the_sum_never_exceeds_the_budget() {
        let budget = budget();
        let mut held: Vec<Held> = Vec::new();
        for step in 0..5_000_u64 {
            let purpose = Purpose::ALL[usize::try_from(step * 7 % 3).unwrap()];
            held.extend(budget.take(purpose, step * 31 % 17));
            if step % 3 == 0 && !held.is_empty() {
                let place = usize::try_from(step).unwrap() % held.len();
                drop(held.swap_remove(place));
            }
            let taken = Purpose::ALL.map(|purpose| budget.taken_bytes(purpose));
            let counted = |purpose| held.iter().filter(move |held| held.purpose == purpose);
            let sums = Purpose::ALL.map(|purpose| counted(purpose).map(Held::bytes).sum());
            assert_eq!(taken, sums);
            assert!(taken.iter().sum::<u64>() <= 100, "{taken:?}");
        }
        drop(held);
        assert!(
            Purpose::ALL
                .iter()
                .all(|purpose| budget.taken_bytes(*purpose) == 0)
        );
    }

    #[test]
    fn reserves_beyond_the_budget_are_cut_to_their_parts() {
        let greedy = Share::reserving(u64::MAX);
        let shares = Shares {
            guests: greedy,
            compiles: greedy,
            bodies: greedy,
        };
        let budget = Budget::new(100, shares);
        let most = Purpose::ALL.map(|purpose| budget.most_bytes(purpose));
        assert_eq!(most, [50, 25, 25]);
        assert_eq!(budget.total_bytes(), 100);
        let shown = format!("{budget:?}");
        assert_eq!(shown, "Budget { total_bytes: 100, taken_bytes: [0, 0, 0] }");
        let words = Purpose::ALL.map(Purpose::as_str);
        assert_eq!(words, ["guests", "compiles", "bodies"]);
    }

    #[test]
    fn whoever_was_refused_is_told_once_of_what_came_free() {
        let budget = budget();
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        budget.when_freed(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        drop(budget.take(Guests, 70));
        assert_eq!(told.load(Ordering::Relaxed), 0);
        let (all, small) = (budget.take(Guests, 60), budget.take(Guests, 10));
        assert!(budget.take(Compiles, 21).is_none());
        drop(budget.take(Compiles, 0).expect("nothing always fits"));
        assert_eq!(told.load(Ordering::Relaxed), 0);
        drop(all);
        drop(small);
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(budget.take(Compiles, 60).is_some());
    }
}
