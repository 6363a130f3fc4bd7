//! The CPU time of tenants whose rules bound it: what each has used today, over all hosts as far as this one
//! has heard of the others.
//!
//! A day is one of UTC, by storage's clock. Each host counts for itself, and tells the others through storage
//! with each of its heartbeats (`queue/cpu`); so all of them together go beyond a quota by what they use
//! between two heartbeats, and by what already runs then. Tenants without that quota are not counted.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::runner::tenants::Tenants;
use cofferdam_domain::caller::quota::{OverQuota, QuotaName};
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::caller::{Caller, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What tenants have used today. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CpuBook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    tenants: Tenants,
    today: Mutex<Today>,
}

#[derive(Debug, Default)]
struct Today {
    /// Days since 1970.
    day: i64,
    /// As many as there are tenants with that quota at most.
    used: HashMap<Tenant, Used>,
}

/// What a tenant has used, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// On all hosts, by the last word from storage.
    told: u64,
    /// Here, on the way to storage.
    on_its_way: u64,
    /// Here since then.
    since: u64,
}

impl Used {
    fn all(self) -> u64 {
        let here = self.on_its_way.saturating_add(self.since);
        self.told.saturating_add(here)
    }
}

/// What was used here and is to be told to the others.
#[derive(Debug)]
pub(crate) struct Spent {
    pub(crate) day: i64,
    /// In microseconds.
    pub(crate) used: Vec<(Tenant, u64)>,
}

impl CpuBook {
    pub(super) fn new(clock: Clock, tenants: Tenants) -> CpuBook {
        CpuBook(Arc::new(Inner {
            clock,
            tenants,
            today: Mutex::default(),
        }))
    }

    /// Refuses a caller whose tenant has used up its day.
    pub(crate) fn check(&self, caller: &Caller) -> Result<(), OverQuota> {
        let Some(limit_ms) = limit_ms(caller.rules()) else {
            return Ok(());
        };
        let now = self.0.clock.now();
        let used = self.today(now).used.get(caller.tenant()).copied();
        let used = used.unwrap_or_default().all();
        match is_used_up(used, limit_ms) {
            false => Ok(()),
            true => Err(OverQuota {
                wait: until_tomorrow(now),
                ..OverQuota::of(QuotaName::Cpu, limit_ms, used / 1000)
            }),
        }
    }

    /// Counts what a run of the caller's uses, however it ends. One that is given up by its caller may have
    /// used as much as the time that has passed, up to its limit, and is counted so.
    pub(super) async fn counted<T, E>(
        &self,
        caller: &Caller,
        limit: Duration,
        run: impl Future<Output = Result<T, E>>,
        cpu: impl FnOnce(&T) -> Duration,
    ) -> Result<T, E> {
        let meter = self.meter(caller, limit);
        let ended = run.await;
        if let Some(meter) = meter {
            meter.ended(ended.as_ref().ok().map(cpu));
        }
        ended
    }

    /// What counts a run of the caller's as [`counted`](CpuBook::counted) does, if it is to be counted. Where a run is
    /// large and short, its future need not be moved for it.
    pub(super) fn meter<'a>(&'a self, caller: &'a Caller, limit: Duration) -> Option<Meter<'a>> {
        limit_ms(caller.rules())?;
        Some(Meter {
            book: self,
            tenant: caller.tenant(),
            began: Instant::now(),
            limit: Some(limit),
        })
    }

    /// Counts what an attempt or a call of a tenant's has used.
    pub(super) fn charge(&self, tenant: &Tenant, cpu: Duration) {
        let rules = self.0.tenants.rules_of(tenant);
        if limit_ms(rules.as_deref()).is_some() {
            self.add(tenant, cpu);
        }
    }

    fn add(&self, tenant: &Tenant, cpu: Duration) {
        let micros = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        let mut today = self.today(self.0.clock.now());
        let used = today.used.entry(tenant.clone()).or_default();
        used.since = used.since.saturating_add(micros);
    }

    /// What is to be told.
    pub(crate) fn take(&self) -> Spent {
        let mut today = self.today(self.0.clock.now());
        let used = today.used.iter_mut().filter_map(|(tenant, used)| {
            used.on_its_way = used.on_its_way.saturating_add(used.since);
            used.since = 0;
            (used.on_its_way > 0).then(|| (tenant.clone(), used.on_its_way))
        });
        let used = used.collect();
        Spent {
            day: today.day,
            used,
        }
    }

    /// Notes what all have used on that day, which has what was taken in it.
    pub(crate) fn told(&self, day: i64, totals: Vec<(Tenant, u64)>) {
        let mut today = self.today(self.0.clock.now());
        if today.day != day {
            return;
        }
        for (tenant, total) in totals {
            let used = today.used.entry(tenant).or_default();
            (used.told, used.on_its_way) = (total, 0);
        }
    }

    /// The tenants that have used up their day.
    pub(crate) fn used_up(&self) -> HashSet<Tenant> {
        let today = self.today(self.0.clock.now());
        let up = today.used.iter().filter(|(tenant, used)| {
            let rules = self.0.tenants.rules_of(tenant);
            limit_ms(rules.as_deref()).is_some_and(|limit_ms| is_used_up(used.all(), limit_ms))
        });
        up.map(|(tenant, _)| tenant.clone()).collect()
    }

    /// What is counted of this day; of an earlier one nothing counts any more.
    fn today(&self, now: Timestamp) -> MutexGuard<'_, Today> {
        let mut today = self.0.today.lock().unwrap_or_else(PoisonError::into_inner);
        let day = now.as_millis().div_euclid(DAY_MS);
        if today.day != day {
            *today = Today {
                day,
                used: HashMap::new(),
            };
        }
        today
    }
}

/// A run whose use is not known yet.
pub(super) struct Meter<'a> {
    book: &'a CpuBook,
    tenant: &'a Tenant,
    began: Instant,
    /// None once it has ended.
    limit: Option<Duration>,
}

impl Meter<'_> {
    /// The run has ended, and has used this; it was refused if that is none.
    pub(super) fn ended(mut self, cpu: Option<Duration>) {
        self.limit = None;
        if let Some(cpu) = cpu {
            self.book.add(self.tenant, cpu);
        }
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if let Some(limit) = self.limit {
            self.book.add(self.tenant, self.began.elapsed().min(limit));
        }
    }
}

fn limit_ms(rules: Option<&TenantRules>) -> Option<u64> {
    rules.and_then(|rules| rules.cpu_ms_per_day)
}

fn is_used_up(used_us: u64, limit_ms: u64) -> bool {
    used_us >= limit_ms.saturating_mul(1000)
}

fn until_tomorrow(now: Timestamp) -> Duration {
    let left = DAY_MS - now.as_millis().rem_euclid(DAY_MS);
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(limit_ms: u64) -> (CpuBook, Clock, Caller) {
        let rules = Arc::new(TenantRules {
            cpu_ms_per_day: Some(limit_ms),
            ..TenantRules::default()
        });
        let clock = Clock::manual(Timestamp::from_millis(DAY_MS - 90_000));
        let caller = Caller::local().under(Arc::clone(&rules));
        let tenants = Tenants::by(move |_| Some(Arc::clone(&rules)));
        (CpuBook::new(clock.clone(), tenants), clock, caller)
    }

    #[test]
    fn a_day_is_used_up_until_midnight() {
        let (book, clock, caller) = book(10);
        let tenant = caller.tenant();
        book.charge(tenant, Duration::from_micros(9_999));
        assert_eq!(book.check(&caller), Ok(()));
        book.charge(tenant, Duration::from_micros(1));
        let over = book.check(&caller).unwrap_err();
        assert_eq!((over.limit, over.used), (10, 10));
        assert_eq!(over.wait, Duration::from_secs(90));
        assert!(book.used_up().contains(tenant));
        clock.set(Timestamp::from_millis(DAY_MS));
        assert_eq!(book.check(&caller), Ok(()));
        assert!(book.used_up().is_empty());
    }

    #[test]
    fn what_the_others_use_counts_once_it_is_told() {
        let (book, _, caller) = book(10);
        let tenant = caller.tenant();
        assert!(book.take().used.is_empty());
        book.charge(tenant, Duration::from_millis(4));
        let spent = book.take();
        assert_eq!(spent.used, [(tenant.clone(), 4000)]);
        // Storage did not take it: it is told again with what came since.
        book.charge(tenant, Duration::from_millis(1));
        let spent = book.take();
        assert_eq!(spent.used, [(tenant.clone(), 5000)]);
        book.charge(tenant, Duration::from_millis(1));
        book.told(spent.day, vec![(tenant.clone(), 8000)]);
        assert_eq!(book.check(&caller), Ok(()));
        book.charge(tenant, Duration::from_millis(1));
        assert_eq!(book.check(&caller).unwrap_err().used, 10);
        assert_eq!(book.take().used, [(tenant.clone(), 2000)]);
    }

    #[tokio::test]
    async fn a_run_that_is_given_up_counts_as_long_as_it_took() {
        let (book, _, caller) = book(1);
        let limit = Duration::from_millis(1);
        let ended = book.counted(&caller, limit, async { Ok::<_, ()>(7) }, |_| {
            Duration::from_micros(5)
        });
        ended.await.unwrap();
        let refused = book.counted(&caller, limit, async { Err::<u8, _>(()) }, |_| limit);
        refused.await.unwrap_err();
        assert_eq!(book.take().used[0].1, 5);
        let for_ever = std::future::pending::<Result<u8, ()>>();
        let given_up = Box::pin(book.counted(&caller, limit, for_ever, |_| limit));
        let waited = tokio::time::timeout(Duration::from_millis(2), given_up).await;
        assert!(waited.is_err());
        assert!(book.check(&caller).is_err());
        // A caller without the quota is not counted.
        let free = Caller::local();
        assert_eq!(book.check(&free), Ok(()));
    }
}
