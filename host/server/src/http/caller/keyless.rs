//! The door of a host without keys, for tests that have no storage.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use cofferdam::access::{Access, Door};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::{Key, KeyId, SecretHash};
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::clock::Clock;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::{
    Access as Kept, AccessState, PutKey, PutTenant, RemovedTenant, RotatedKey, StorageError,
};

/// The door.
pub(crate) fn without_keys() -> Door {
    let random = StdRng::seed_from_u64(7);
    let opened = Access::open(Arc::new(Nothing), Clock::system(), None, random, false);
    let opened = opened.now_or_never().expect("it waits for nothing");
    opened.expect("there is nothing to be read").door()
}

/// Keeps nothing.
struct Nothing;

#[async_trait]
impl Kept for Nothing {
    async fn access(&self, _known: Option<i64>) -> Result<Option<AccessState>, StorageError> {
        Ok(Some(AccessState {
            version: 0,
            keys: Vec::new(),
            tenants: Vec::new(),
        }))
    }

    async fn put_key(&self, _key: Key, _now: Timestamp) -> Result<PutKey, StorageError> {
        Ok(PutKey::TooMany)
    }

    async fn rotate_key(
        &self,
        _old: KeyId,
        _new: (KeyId, SecretHash),
        _until: Timestamp,
        _now: Timestamp,
    ) -> Result<RotatedKey, StorageError> {
        Ok(RotatedKey::TooMany)
    }

    async fn revoke_key(&self, _id: KeyId, _now: Timestamp) -> Result<Option<Key>, StorageError> {
        Ok(None)
    }

    async fn close_tenant(
        &self,
        _name: &Tenant,
        _now: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        Ok(None)
    }

    async fn put_tenant(
        &self,
        _name: &Tenant,
        _rules: &TenantRules,
        _now: Timestamp,
    ) -> Result<PutTenant, StorageError> {
        Ok(PutTenant::TooMany)
    }

    async fn remove_tenant(
        &self,
        _name: &Tenant,
        _now: Timestamp,
    ) -> Result<RemovedTenant, StorageError> {
        Ok(RemovedTenant::Unknown)
    }
}
