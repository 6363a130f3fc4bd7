//! The backend as [`Modules`]: rows in the database, bytes beside it.

use async_trait::async_trait;
use bytes::Bytes;

use super::beside::Fresh;
use super::{SqliteStorage, modules};
use crate::blocking::blocking;
use crate::{Modules, PutModule, StorageError, StoredModule};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::time::Timestamp;

#[async_trait]
impl Modules for SqliteStorage {
    async fn put_module(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
        info: &ModuleInfo,
        wasm: Bytes,
        storage_bytes: Option<u64>,
        now: Timestamp,
    ) -> Result<PutModule, StorageError> {
        let (owner, name, info) = (name.owner(tenant), name.clone(), info.clone());
        let fresh = self.put_bytes(info.digest, wasm).await?;
        self.writer
            .call(move |db| {
                modules::put_module(db, (&owner, &name), &info, fresh.hash(), storage_bytes, now)
            })
            .await
    }

    async fn find_module(
        &self,
        tenant: &Tenant,
        reference: &ModuleRef,
    ) -> Result<Option<StoredModule>, StorageError> {
        let (owner, reference) = (reference.name.owner(tenant), reference.clone());
        self.readers
            .call(move |conn| modules::find_module(conn, &owner, &reference))
            .await
    }

    async fn list_modules(
        &self,
        tenant: &Tenant,
        after: Option<&ModuleName>,
        limit: u32,
    ) -> Result<Vec<StoredModule>, StorageError> {
        let (tenant, after) = (tenant.clone(), after.cloned());
        self.readers
            .call(move |conn| modules::list_modules(conn, &tenant, after.as_ref(), limit))
            .await
    }

    async fn module_versions(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
    ) -> Result<Vec<StoredModule>, StorageError> {
        let (owner, name) = (name.owner(tenant), name.clone());
        self.readers
            .call(move |conn| modules::module_versions(conn, &owner, &name))
            .await
    }

    async fn module_info(&self, digest: &Digest) -> Result<Option<ModuleInfo>, StorageError> {
        let digest = *digest;
        self.readers
            .call(move |conn| modules::module_info(conn, digest))
            .await
    }

    async fn module_wasm(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        let digest = *digest;
        let found = self
            .readers
            .call(move |conn| modules::module_bytes(conn, digest))
            .await?;
        match found {
            None => Ok(None),
            Some(kept) => self.beside.get(kept).await,
        }
    }

    async fn remove_module(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
    ) -> Result<bool, StorageError> {
        let (owner, name) = (name.owner(tenant), name.clone());
        self.writer
            .call(move |db| modules::remove_module(db, &owner, &name))
            .await
    }
}

impl SqliteStorage {
    /// Keeps the bytes of a version, unless they are kept already.
    async fn put_bytes(&self, digest: Digest, wasm: Bytes) -> Result<Fresh, StorageError> {
        let putting = self.beside.begin().await;
        let known = self
            .readers
            .call(move |conn| modules::module_blob(conn, digest))
            .await?;
        if let Some(known) = known {
            return blocking(move || putting.put_known(known, &wasm)).await;
        }
        // Reserved before the comparison, so that many calls at once do not exceed the budget
        // together.
        let room = self.beside.blobs().take_room(wasm.len());
        self.writer
            .call(move |db| db.budget.check(&db.conn, 0))
            .await?;
        blocking(move || {
            let _given_back_when_the_file_counts = room;
            putting.put(&wasm)
        })
        .await
    }
}
