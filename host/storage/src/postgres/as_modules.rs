//! The backend as [`Modules`].

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;

use super::blobs::Outage;
use super::tx::{Mode, reading};
use super::{PostgresStorage, modules};
use crate::blobs::content::Content;
use crate::{Modules, PutModule, StorageError, StoredModule};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{Digest, ModuleInfo, ModuleName, ModuleRef};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

#[async_trait]
impl Modules for PostgresStorage {
    async fn put_module(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
        info: &ModuleInfo,
        wasm: Bytes,
        storage_bytes: Option<u64>,
        now: Timestamp,
    ) -> Result<PutModule, StorageError> {
        let whose = Whose::One(name.owner(tenant));
        let (name, info) = (name.clone(), info.clone());
        let content = Content::of_bytes(wasm).await?;
        let stored = self.put_blob(&content, Outage::Refuse).await?;
        self.write_of(&whose, move |call| {
            let (name, info) = (name.clone(), info.clone());
            async move {
                modules::put_module(&call, &name, &info, stored, storage_bytes, now).await
            }
            .boxed()
        })
        .await
    }

    async fn find_module(
        &self,
        tenant: &Tenant,
        reference: &ModuleRef,
    ) -> Result<Option<StoredModule>, StorageError> {
        let whose = Whose::One(reference.name.owner(tenant));
        let reference = reference.clone();
        self.read_of(&whose, move |call| {
            let reference = reference.clone();
            async move { reading!(call, tx, modules::find_module(&mut tx, &reference)) }.boxed()
        })
        .await
    }

    async fn list_modules(
        &self,
        tenant: &Tenant,
        after: Option<&ModuleName>,
        limit: u32,
    ) -> Result<Vec<StoredModule>, StorageError> {
        let (whose, after) = (Whose::One(tenant.clone()), after.cloned());
        self.read_of(&whose, move |call| {
            let after = after.clone();
            async move {
                reading!(
                    call,
                    tx,
                    modules::list_modules(&mut tx, after.as_ref(), limit)
                )
            }
            .boxed()
        })
        .await
    }

    async fn module_versions(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
    ) -> Result<Vec<StoredModule>, StorageError> {
        let whose = Whose::One(name.owner(tenant));
        let name = name.clone();
        self.read_of(&whose, move |call| {
            let name = name.clone();
            async move { reading!(call, tx, modules::module_versions(&mut tx, &name)) }.boxed()
        })
        .await
    }

    async fn module_info(&self, digest: &Digest) -> Result<Option<ModuleInfo>, StorageError> {
        let digest = *digest;
        self.read(move |call| {
            async move { reading!(call, tx, modules::module_info(&mut tx, digest)) }.boxed()
        })
        .await
    }

    async fn module_wasm(&self, digest: &Digest) -> Result<Option<Bytes>, StorageError> {
        let digest = *digest;
        let found = self.read(move |call| {
            async move { reading!(call, tx, modules::blob_of(&mut tx, digest)) }.boxed()
        });
        match found.await? {
            None => Ok(None),
            Some(hash) => self.blob_bytes(hash).await,
        }
    }

    async fn remove_module(
        &self,
        tenant: &Tenant,
        name: &ModuleName,
    ) -> Result<bool, StorageError> {
        let whose = Whose::One(name.owner(tenant));
        let name = name.clone();
        self.write_of(&whose, move |call| {
            let name = name.clone();
            async move { modules::remove_module(&call, &name).await }.boxed()
        })
        .await
    }
}
