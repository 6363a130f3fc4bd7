//! [`Definitions`] of which a backend sees sealed texts alone, and sealing these anew.

use std::sync::Arc;

use async_trait::async_trait;

use super::Sealed;
use crate::definitions::{KeptDefinition, KeptDefinitions};
use crate::seal::{Place, Sealer};
use crate::{Definitions, NewDefinition, PutDefinition, Resealed, StorageError, StoredDefinition};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::Digest;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};

/// Definitions that are looked at together when keys have changed.
const BATCH: u32 = 10;

/// The place of a version's text.
fn row(name: &DefinitionName, digest: &Digest) -> String {
    format!("{name}@{digest}")
}

fn place<'a>(tenant: &'a Tenant, row: &'a str) -> Place<'a> {
    Place {
        tenant: tenant.as_str(),
        column: ("workflow_definition", "text"),
        row,
    }
}

/// The texts of definitions, whosever they are.
#[derive(Clone)]
pub struct SealedDefinitions {
    kept: Arc<dyn KeptDefinitions>,
    sealer: Arc<Sealer>,
}

impl SealedDefinitions {
    pub(crate) fn new(kept: Arc<dyn KeptDefinitions>, sealer: &Arc<Sealer>) -> SealedDefinitions {
        let sealer = Arc::clone(sealer);
        SealedDefinitions { kept, sealer }
    }

    /// Seals everything with the first key that is sealed with another one, or none, in small batches.
    pub async fn reseal(&self) -> Result<Resealed, StorageError> {
        let mut found = Resealed::default();
        let mut after = i64::MIN;
        while let Some(begins) = self.sealer.begins() {
            let batch = self.kept.all_definitions(after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after = last.seq;
            for old in batch {
                if old.text.contains(&begins.text) {
                    continue;
                }
                match self.anew(&old) {
                    Ok(text) => {
                        self.kept.change_definition(&old, text).await?;
                        found.resealed += 1;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a definition cannot be read");
                        found.unreadable += 1;
                    }
                }
            }
        }
        Ok(found)
    }

    fn anew(&self, old: &KeptDefinition) -> Result<String, StorageError> {
        let row = row(&old.name, &old.digest);
        let place = place(&old.tenant, &row);
        let plain = self.sealer.open_text(&place, &old.text)?;
        Ok(self.sealer.keep_text(&place, &plain))
    }
}

#[async_trait]
impl Definitions for Sealed<dyn Definitions> {
    async fn put_definition(
        &self,
        tenant: &Tenant,
        mut new: NewDefinition,
        storage_bytes: Option<u64>,
        now: Timestamp,
    ) -> Result<PutDefinition, StorageError> {
        let row = row(&new.name, &new.digest);
        new.text = self.sealer.keep_text(&place(tenant, &row), &new.text);
        let put = self.inner.put_definition(tenant, new, storage_bytes, now);
        put.await
    }

    async fn find_definition(
        &self,
        tenant: &Tenant,
        reference: &DefinitionRef,
    ) -> Result<Option<(StoredDefinition, String)>, StorageError> {
        let found = self.inner.find_definition(tenant, reference).await?;
        let Some((stored, text)) = found else {
            return Ok(None);
        };
        let row = row(&stored.name, &stored.digest);
        let text = self.sealer.open_text(&place(tenant, &row), &text)?;
        Ok(Some((stored, text)))
    }

    async fn list_definitions(
        &self,
        tenant: &Tenant,
        after: Option<&DefinitionName>,
        limit: u32,
    ) -> Result<Vec<StoredDefinition>, StorageError> {
        self.inner.list_definitions(tenant, after, limit).await
    }

    async fn definition_versions(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<Vec<StoredDefinition>, StorageError> {
        self.inner.definition_versions(tenant, name).await
    }

    async fn remove_definition(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<bool, StorageError> {
        self.inner.remove_definition(tenant, name).await
    }
}
