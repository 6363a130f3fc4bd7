//! Every key and tenant in memory, as storage had them when they were last read: what a caller shows is
//! never looked up in the database, however many wrong keys are tried.

use std::collections::HashMap;
use std::sync::Arc;

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::{Key, KeyId};
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::AccessState;

/// The keys and tenants of one version.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What storage counts the changes by.
    pub(super) version: i64,
    keys: HashMap<KeyId, Arc<Key>>,
    tenants: HashMap<Tenant, KnownRules>,
}

/// What holds for a tenant, and since when there is one of that name.
#[derive(Debug)]
struct KnownRules {
    rules: Arc<TenantRules>,
    created_at: Timestamp,
}

impl Known {
    pub(super) fn of(state: AccessState) -> Known {
        let keys = state.keys.into_iter();
        let tenants = state.tenants.into_iter();
        Known {
            version: state.version,
            keys: keys.map(|key| (key.id, Arc::new(key))).collect(),
            tenants: tenants
                .map(|tenant| {
                    let known = KnownRules {
                        rules: Arc::new(tenant.rules),
                        created_at: tenant.created_at,
                    };
                    (tenant.name, known)
                })
                .collect(),
        }
    }

    /// Whether there was ever a key: storage always keeps one.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(super) fn key(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&id)
    }

    pub(super) fn rules(&self, tenant: &Tenant) -> Option<&Arc<TenantRules>> {
        self.tenants.get(tenant).map(|known| &known.rules)
    }

    /// Since when there is a tenant of that name.
    pub(super) fn tenant_since(&self, tenant: &Tenant) -> Option<Timestamp> {
        self.tenants.get(tenant).map(|known| known.created_at)
    }
}
