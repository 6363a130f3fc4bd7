//! What the operator says of tenants, as those who run their tasks ask for it.
//!
//! Where it comes from is not known here; callers have it with them, and only tasks are run without one.

use std::fmt;
use std::sync::Arc;

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::tenant::TenantRules;

/// What the operator says of tenants, asked when a task of one is run. Cheap to clone.
#[derive(Clone)]
pub struct Tenants(Arc<Rules>);

type Rules = dyn Fn(&Tenant) -> Option<Arc<TenantRules>> + Send + Sync;

impl Tenants {
    /// As `rules` says.
    pub fn by(
        rules: impl Fn(&Tenant) -> Option<Arc<TenantRules>> + Send + Sync + 'static,
    ) -> Tenants {
        Tenants(Arc::new(rules))
    }

    pub(super) fn rules_of(&self, tenant: &Tenant) -> Option<Arc<TenantRules>> {
        (self.0)(tenant)
    }
}

impl Default for Tenants {
    /// Nothing is said of any.
    fn default() -> Tenants {
        Tenants::by(|_| None)
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tenants(..)")
    }
}
