//! What an operator says of a tenant: its share of the hosts, its quotas and its ceilings.
//!
//! Nothing here counts what a tenant has; storage and the hosts do that, each what it knows.

use crate::caller::Tenant;
use crate::caller::quota::TaskQuotas;
use crate::grants::http::HostPattern;
use crate::limits::LimitRequest;
use crate::rate::Rate;
use crate::time::Timestamp;

/// What holds for one tenant. What is absent has no bound but the host's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRules {
    /// Its part of the claims where tenants take turns.
    pub weight: u32,
    /// Tasks that may wait.
    pub pending_max: Option<u64>,
    /// Attempts that may be under way, over all hosts.
    pub running_max: Option<u32>,
    /// Bytes that may be kept for it.
    pub storage_bytes: Option<u64>,
    /// CPU time that its guests may use in a day, in milliseconds.
    pub cpu_ms_per_day: Option<u64>,
    /// Sessions that it may have at once, on each host.
    pub sessions_max: Option<u32>,
    /// Requests that its keys may make together, at each host.
    pub rate: Option<Rate>,
    /// The most that a run of its may ask for; the operator's own ceilings hold too.
    pub ceilings: LimitRequest,
    /// Hosts that its guests may be granted; all that the operator allows if absent.
    pub egress: Option<Vec<HostPattern>>,
    /// Directories that its guests may be granted; all that the operator names if absent.
    pub dirs: Option<Vec<String>>,
}

impl TenantRules {
    /// The largest weight.
    pub const WEIGHT_MAX: u32 = 1000;
    /// The most patterns of hosts, and the most directories.
    pub const WORDS_MAX: usize = 1000;
    /// The longest of them, in bytes.
    pub const WORD_BYTES_MAX: usize = 255;

    /// Whether the tenant's guests may be granted the directory of that name.
    pub fn allow_dir(&self, name: &str) -> bool {
        let dirs = self.dirs.as_ref();
        dirs.is_none_or(|dirs| dirs.iter().any(|dir| dir == name))
    }

    /// Whether the tenant's guests may be granted these hosts.
    pub fn allow_hosts(&self, hosts: &HostPattern) -> bool {
        let egress = self.egress.as_ref();
        egress.is_none_or(|egress| hosts.is_within(egress))
    }

    /// The quotas that its tasks are held to.
    pub fn task_quotas(&self) -> TaskQuotas {
        TaskQuotas {
            pending_max: self.pending_max,
            storage_bytes: self.storage_bytes,
        }
    }
}

impl Default for TenantRules {
    fn default() -> TenantRules {
        TenantRules {
            weight: 1,
            pending_max: None,
            running_max: None,
            storage_bytes: None,
            cpu_ms_per_day: None,
            sessions_max: None,
            rate: None,
            ceilings: LimitRequest::default(),
            egress: None,
            dirs: None,
        }
    }
}

/// A tenant that an operator made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTenant {
    /// Its name.
    pub name: Tenant,
    /// What holds for it.
    pub rules: TenantRules,
    /// When it was made.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_every_directory_or_those_that_are_named() {
        let any = TenantRules::default();
        assert!(any.allow_dir("data"));
        let named = TenantRules {
            dirs: Some(vec!["data".to_owned()]),
            ..TenantRules::default()
        };
        assert!(named.allow_dir("data") && !named.allow_dir("dat"));
        let none = TenantRules {
            dirs: Some(Vec::new()),
            ..TenantRules::default()
        };
        assert!(!none.allow_dir("data"));
    }
}
