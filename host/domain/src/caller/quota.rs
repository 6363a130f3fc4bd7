//! Quotas: how much a tenant may have or use, and what is said of a request that would be beyond one.
//!
//! Nothing here counts: storage counts what is kept and waits, hosts count what runs.

use std::time::Duration;

/// A quota of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaName {
    /// Tasks that wait.
    Pending,
    /// Bytes that are kept.
    Storage,
    /// CPU time in a day.
    Cpu,
    /// Sessions that exist at once on a host.
    Sessions,
}

impl QuotaName {
    /// The name of its field in the tenant's rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            QuotaName::Pending => "pending_max",
            QuotaName::Storage => "storage_bytes",
            QuotaName::Cpu => "cpu_ms_per_day",
            QuotaName::Sessions => "sessions_max",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            QuotaName::Pending => "tasks wait",
            QuotaName::Storage => "bytes are kept",
            QuotaName::Cpu => "milliseconds are used",
            QuotaName::Sessions => "sessions exist",
        }
    }

    /// When room may have been made, where nobody knows when there will be some.
    const fn patience(self) -> Duration {
        match self {
            QuotaName::Pending => Duration::from_secs(1),
            QuotaName::Sessions => Duration::from_secs(5),
            QuotaName::Storage | QuotaName::Cpu => Duration::from_secs(60),
        }
    }
}

/// What was asked for is beyond a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the quota {} of this tenant is {limit}, and {used} {} already",
    .name.as_str(), .name.unit()
)]
pub struct OverQuota {
    /// Which quota.
    pub name: QuotaName,
    /// The most that may be.
    pub limit: u64,
    /// How much is there without what was asked for.
    pub used: u64,
    /// After which time there may be room.
    pub wait: Duration,
}

impl OverQuota {
    /// Beyond this quota, for nobody knows how long.
    pub fn of(name: QuotaName, limit: u64, used: u64) -> OverQuota {
        OverQuota {
            name,
            limit,
            used,
            wait: name.patience(),
        }
    }
}

/// The quotas that storage holds a tenant's new tasks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskQuotas {
    /// Tasks that may wait.
    pub pending_max: Option<u64>,
    /// Bytes that may be kept.
    pub storage_bytes: Option<u64>,
}

impl TaskQuotas {
    /// Whether there are any.
    pub fn is_none(self) -> bool {
        self == TaskQuotas::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_is_told_the_quota_and_what_is_used() {
        let over = OverQuota::of(QuotaName::Pending, 5, 4);
        assert_eq!(
            over.to_string(),
            "the quota pending_max of this tenant is 5, and 4 tasks wait already"
        );
        assert_eq!(over.wait, Duration::from_secs(1));
        assert!(TaskQuotas::default().is_none());
    }
}
