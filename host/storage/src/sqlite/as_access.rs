//! The backend as [`Access`].

use async_trait::async_trait;

use super::{SqliteStorage, access};
use crate::{Access, AccessState, PutKey, PutTenant, RemovedTenant, RotatedKey, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::key::{Key, KeyId, SecretHash};
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::time::Timestamp;

#[async_trait]
impl Access for SqliteStorage {
    async fn access(&self, known: Option<i64>) -> Result<Option<AccessState>, StorageError> {
        self.readers
            .call(move |conn| access::access(conn, known))
            .await
    }

    async fn put_key(&self, key: Key, now: Timestamp) -> Result<PutKey, StorageError> {
        self.writer
            .call(move |db| access::put_key(&db.conn, &key, now))
            .await
    }

    async fn rotate_key(
        &self,
        old: KeyId,
        new: (KeyId, SecretHash),
        until: Timestamp,
        now: Timestamp,
    ) -> Result<RotatedKey, StorageError> {
        self.writer
            .call(move |db| access::rotate_key(&db.conn, old, new, until, now))
            .await
    }

    async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<Option<Key>, StorageError> {
        self.writer
            .call(move |db| access::revoke_key(&db.conn, id, now))
            .await
    }

    async fn close_tenant(
        &self,
        name: &Tenant,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StorageError> {
        let name = name.clone();
        self.writer
            .call(move |db| access::close_tenant(&db.conn, &name, now))
            .await
    }

    async fn put_tenant(
        &self,
        name: &Tenant,
        rules: &TenantRules,
        now: Timestamp,
    ) -> Result<PutTenant, StorageError> {
        let (name, rules) = (name.clone(), rules.clone());
        self.writer
            .call(move |db| access::put_tenant(&db.conn, &name, &rules, now))
            .await
    }

    async fn remove_tenant(
        &self,
        name: &Tenant,
        now: Timestamp,
    ) -> Result<RemovedTenant, StorageError> {
        let name = name.clone();
        self.writer
            .call(move |db| access::remove_tenant(db, &name, now))
            .await
    }
}
