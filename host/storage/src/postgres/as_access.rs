//! The backend as [`Access`].

use async_trait::async_trait;
use futures_util::FutureExt;

use super::tx::{Mode, reading};
use super::{PostgresStorage, access};
use crate::{Access, AccessState, PutKey, PutTenant, RemovedTenant, RotatedKey, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::{Key, KeyId, SecretHash};
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::time::Timestamp;

#[async_trait]
impl Access for PostgresStorage {
    async fn access(&self, known: Option<i64>) -> Result<Option<AccessState>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, access::access(&mut tx, known)) }.boxed()
        })
        .await
    }

    async fn put_key(&self, key: Key, now: Timestamp) -> Result<PutKey, StorageError> {
        self.write(move |call| {
            let key = key.clone();
            async move { access::put_key(&call, &key, now).await }.boxed()
        })
        .await
    }

    async fn rotate_key(
        &self,
        old: KeyId,
        new: (KeyId, SecretHash),
        until: Timestamp,
        now: Timestamp,
    ) -> Result<RotatedKey, StorageError> {
        self.write(move |call| {
            async move { access::rotate_key(&call, old, new, until, now).await }.boxed()
        })
        .await
    }

    async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<Option<Key>, StorageError> {
        self.write(move |call| async move { access::revoke_key(&call, id, now).await }.boxed())
            .await
    }

    async fn close_tenant(
        &self,
        name: &Tenant,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        let name = name.clone();
        self.write(move |call| {
            let name = name.clone();
            async move { access::close_tenant(&call, &name, now).await }.boxed()
        })
        .await
    }

    async fn put_tenant(
        &self,
        name: &Tenant,
        rules: &TenantRules,
        now: Timestamp,
    ) -> Result<PutTenant, StorageError> {
        let (name, rules) = (name.clone(), rules.clone());
        self.write(move |call| {
            let (name, rules) = (name.clone(), rules.clone());
            async move { access::put_tenant(&call, &name, &rules, now).await }.boxed()
        })
        .await
    }

    async fn remove_tenant(
        &self,
        name: &Tenant,
        now: Timestamp,
    ) -> Result<RemovedTenant, StorageError> {
        let name = name.clone();
        self.write(move |call| {
            let name = name.clone();
            async move { access::remove_tenant(&call, &name, now).await }.boxed()
        })
        .await
    }
}
