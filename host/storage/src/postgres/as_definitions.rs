//! The backend as [`Definitions`].

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::tx::{Mode, reading};
use super::{PostgresStorage, definitions};
use crate::definitions::{KeptDefinition, KeptDefinitions};
use crate::{Definitions, NewDefinition, PutDefinition, StorageError, StoredDefinition};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};

#[async_trait]
impl Definitions for PostgresStorage {
    async fn put_definition(
        &self,
        tenant: &Tenant,
        new: NewDefinition,
        storage_bytes: Option<u64>,
        now: Timestamp,
    ) -> Result<PutDefinition, StorageError> {
        let kept = Arc::new((tenant.clone(), new));
        self.write_of(&Whose::One(tenant.clone()), move |call| {
            let kept = Arc::clone(&kept);
            async move {
                let (tenant, new) = &*kept;
                definitions::put(&call, tenant, new, storage_bytes, now).await
            }
            .boxed()
        })
        .await
    }

    async fn find_definition(
        &self,
        tenant: &Tenant,
        reference: &DefinitionRef,
    ) -> Result<Option<(StoredDefinition, String)>, StorageError> {
        let wanted = (tenant.clone(), reference.clone());
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, reference) = wanted.clone();
            async move { reading!(call, tx, definitions::find(&mut tx, &tenant, &reference)) }
                .boxed()
        })
        .await
    }

    async fn list_definitions(
        &self,
        tenant: &Tenant,
        after: Option<&DefinitionName>,
        limit: u32,
    ) -> Result<Vec<StoredDefinition>, StorageError> {
        let wanted = (tenant.clone(), after.cloned());
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, after) = wanted.clone();
            async move {
                reading!(
                    call,
                    tx,
                    definitions::list(&mut tx, &tenant, after.as_ref(), limit)
                )
            }
            .boxed()
        })
        .await
    }

    async fn definition_versions(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<Vec<StoredDefinition>, StorageError> {
        let wanted = (tenant.clone(), name.clone());
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, name) = wanted.clone();
            async move { reading!(call, tx, definitions::versions(&mut tx, &tenant, &name)) }
                .boxed()
        })
        .await
    }

    async fn remove_definition(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<bool, StorageError> {
        let wanted = (tenant.clone(), name.clone());
        self.write_of(&Whose::One(tenant.clone()), move |call| {
            let (tenant, name) = wanted.clone();
            async move { definitions::remove(&call, &tenant, &name).await }.boxed()
        })
        .await
    }
}

#[async_trait]
impl KeptDefinitions for PostgresStorage {
    async fn all_definitions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<KeptDefinition>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, definitions::all_behind(&mut tx, after, limit)) }
                .boxed()
        })
        .await
    }

    async fn change_definition(
        &self,
        old: &KeptDefinition,
        text: String,
    ) -> Result<(), StorageError> {
        let whose = Whose::One(old.tenant.clone());
        let told = Arc::new((old.clone(), text));
        self.write_of(&whose, move |call| {
            let told = Arc::clone(&told);
            async move { definitions::change(&call, &told.0, &told.1).await }.boxed()
        })
        .await
    }
}
