//! Rates: how many requests each key and each tenant makes, as this host counts them. Hosts do not count
//! together, so a caller who asks all of them gets the rate of each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::known::Known;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::{Key, KeyId};
use cofferdam_domain::rate::Rate;

/// Whose rate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The key's own.
    Key,
    /// That of all keys of its tenant.
    Tenant,
}

impl Whose {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Whose::Key => "key",
            Whose::Tenant => "tenant",
        }
    }
}

/// How a caller stands with a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose rate it is.
    pub whose: Whose,
    /// The rate.
    pub rate: Rate,
    /// Requests that may come at once now.
    pub remaining: u32,
    /// When the next may come; zero if one may come now.
    pub wait: Duration,
}

/// The counters, by whose they are. There are no more than keys and tenants.
#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<Name, Arc<Counter>>>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Key(KeyId),
    Tenant(Tenant),
}

/// Counts the requests under one rate, for all threads.
pub(super) struct Counter {
    whose: Whose,
    rate: Rate,
    counted: RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>,
}

impl Rates {
    /// The counters of a key and of its tenant, if they have rates. One whose rate is the same goes on.
    pub(super) fn of(&self, key: &Key, known: &Known) -> Vec<Arc<Counter>> {
        let of_tenant = known.rules(&key.tenant).and_then(|rules| rules.rate);
        let wanted = [
            (Name::Key(key.id), Whose::Key, key.rate),
            (Name::Tenant(key.tenant.clone()), Whose::Tenant, of_tenant),
        ];
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = wanted.into_iter();
        let wanted = wanted.filter_map(|(name, whose, rate)| Some((name, whose, rate?)));
        wanted
            .map(|(name, whose, rate)| {
                let counter = counters
                    .entry(name)
                    .or_insert_with(|| Arc::new(Counter::new(whose, rate)));
                if counter.rate != rate {
                    *counter = Arc::new(Counter::new(whose, rate));
                }
                Arc::clone(counter)
            })
            .collect()
    }

    /// Forgets those that are gone.
    pub(super) fn keep(&self, known: &Known) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counters.retain(|name, _| match name {
            Name::Key(id) => known.key(*id).is_some(),
            Name::Tenant(name) => known.rules(name).is_some(),
        });
    }
}

impl Counter {
    fn new(whose: Whose, rate: Rate) -> Counter {
        let each = rate.per().duration() / rate.number().get();
        let quota = Quota::with_period(each).expect("a period is longer than the most of a rate");
        let quota = quota.allow_burst(rate.burst());
        let counted = RateLimiter::direct_with_clock(quota, MonotonicClock);
        Counter {
            whose,
            rate,
            counted: counted.with_middleware::<StateInformationMiddleware>(),
        }
    }

    /// Counts a request; an error says when it may come.
    fn count(&self) -> Result<Standing, Standing> {
        let standing = |remaining, wait| Standing {
            whose: self.whose,
            rate: self.rate,
            remaining,
            wait,
        };
        match self.counted.check() {
            Ok(now) => Ok(standing(now.remaining_burst_capacity(), Duration::ZERO)),
            Err(later) => Err(standing(0, later.wait_time_from(MonotonicClock.now()))),
        }
    }
}

/// Counts a request under each rate. The one that leaves the fewest, or why it may not come yet.
pub(super) fn count(counters: &[Arc<Counter>]) -> Result<Option<Standing>, Standing> {
    let mut scarcest: Option<Standing> = None;
    for counter in counters {
        let standing = counter.count()?;
        if scarcest.is_none_or(|other| standing.remaining < other.remaining) {
            scarcest = Some(standing);
        }
    }
    Ok(scarcest)
}
