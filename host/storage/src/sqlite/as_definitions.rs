//! The backend as [`Definitions`].

use async_trait::async_trait;

use super::{SqliteStorage, definitions};
use crate::definitions::{KeptDefinition, KeptDefinitions};
use crate::{Definitions, NewDefinition, PutDefinition, StorageError, StoredDefinition};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};

#[async_trait]
impl Definitions for SqliteStorage {
    async fn put_definition(
        &self,
        tenant: &Tenant,
        new: NewDefinition,
        storage_bytes: Option<u64>,
        now: Timestamp,
    ) -> Result<PutDefinition, StorageError> {
        let tenant = tenant.clone();
        self.writer
            .call(move |db| definitions::put(db, &tenant, &new, storage_bytes, now))
            .await
    }

    async fn find_definition(
        &self,
        tenant: &Tenant,
        reference: &DefinitionRef,
    ) -> Result<Option<(StoredDefinition, String)>, StorageError> {
        let (tenant, reference) = (tenant.clone(), reference.clone());
        self.readers
            .call(move |conn| definitions::find(conn, &tenant, &reference))
            .await
    }

    async fn list_definitions(
        &self,
        tenant: &Tenant,
        after: Option<&DefinitionName>,
        limit: u32,
    ) -> Result<Vec<StoredDefinition>, StorageError> {
        let (tenant, after) = (tenant.clone(), after.cloned());
        self.readers
            .call(move |conn| definitions::list(conn, &tenant, after.as_ref(), limit))
            .await
    }

    async fn definition_versions(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<Vec<StoredDefinition>, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.readers
            .call(move |conn| definitions::versions(conn, &tenant, &name))
            .await
    }

    async fn remove_definition(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<bool, StorageError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.writer
            .call(move |db| definitions::remove(db, &tenant, &name))
            .await
    }
}

#[async_trait]
impl KeptDefinitions for SqliteStorage {
    async fn all_definitions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<KeptDefinition>, StorageError> {
        self.readers
            .call(move |conn| definitions::all_behind(conn, after, limit))
            .await
    }

    async fn change_definition(
        &self,
        old: &KeptDefinition,
        text: String,
    ) -> Result<(), StorageError> {
        let old = old.clone();
        self.writer
            .call(move |db| definitions::change(&db.conn, &old, &text))
            .await
    }
}
