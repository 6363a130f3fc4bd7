//! Definitions of workflows: the one door for their changes, and where a submission finds what it names.
//!
//! A definition is checked as a workflow that is submitted, but for what depends on an input. Its text is the entry
//! point's to read ([`Definition`]).

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{GraphSubmission, WorkflowError};
use crate::queue::SharedQueue;
use cofferdam_domain::caller::{Caller, Forbidden, Scope};
use cofferdam_domain::module::Digest;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};
use cofferdam_storage::{
    DEFINITIONS_MAX, Definitions as Kept, NewDefinition, PutDefinition, StorageError,
    StoredDefinition,
};

/// Definitions, for callers.
pub struct Definitions {
    kept: Arc<dyn Kept>,
    queue: SharedQueue,
}

/// What somebody put under a name.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The name.
    pub name: DefinitionName,
    /// What was put, in JSON.
    pub text: Bytes,
}

/// Why a definition is not kept, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The caller has no right to it.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// It could not be submitted.
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
    /// There is none of that name, or not that version.
    #[error("there is no workflow definition {0}")]
    Unknown(DefinitionRef),
    /// The tenant has as many as it may.
    #[error("a tenant may have {DEFINITIONS_MAX} versions of workflow definitions")]
    TooMany,
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Definitions {
    /// The definitions that are kept there.
    pub fn new(kept: Arc<dyn Kept>, queue: SharedQueue) -> Definitions {
        Definitions { kept, queue }
    }

    /// Keeps a definition, whose graph was read from its text. Tells its hash, and whether its name did not mean it
    /// before.
    pub async fn put(
        &self,
        caller: &Caller,
        definition: Definition,
        graph: GraphSubmission,
        now: Timestamp,
    ) -> Result<(Digest, bool), DefinitionError> {
        caller.may(Scope::Modules)?;
        self.queue.check_definition(caller, graph).await?;
        let Definition { name, text } = definition;
        let digest = Digest::from_bytes(Sha256::digest(&text).into());
        let new = NewDefinition {
            name,
            digest,
            size_bytes: text.len() as u64,
            text: String::from_utf8_lossy(&text).into_owned(),
        };
        let (tenant, quotas) = (caller.tenant(), caller.task_quotas());
        let put = self
            .kept
            .put_definition(tenant, new, quotas.storage_bytes, now);
        match put.await? {
            PutDefinition::Created => Ok((digest, true)),
            PutDefinition::Unchanged => Ok((digest, false)),
            PutDefinition::TooMany => Err(DefinitionError::TooMany),
        }
    }

    /// What a reference of the caller's means, and what was put.
    pub async fn find(
        &self,
        caller: &Caller,
        reference: &DefinitionRef,
    ) -> Result<(StoredDefinition, Definition), DefinitionError> {
        let found = self
            .kept
            .find_definition(caller.tenant(), reference)
            .await?;
        let (stored, text) = found.ok_or_else(|| DefinitionError::Unknown(reference.clone()))?;
        let definition = Definition {
            name: stored.name.clone(),
            text: text.into(),
        };
        Ok((stored, definition))
    }

    /// What was put under what somebody names, if anything is named.
    pub async fn named(
        &self,
        caller: &Caller,
        reference: Option<&DefinitionRef>,
    ) -> Result<Option<Definition>, DefinitionError> {
        match reference {
            None => Ok(None),
            Some(reference) => Ok(Some(self.find(caller, reference).await?.1)),
        }
    }

    /// What the caller's names behind `after` mean, by name.
    pub async fn list(
        &self,
        caller: &Caller,
        after: Option<&DefinitionName>,
        limit: u32,
    ) -> Result<Vec<StoredDefinition>, DefinitionError> {
        let listed = self.kept.list_definitions(caller.tenant(), after, limit);
        Ok(listed.await?)
    }

    /// Every version of a name, newest first.
    pub async fn versions(
        &self,
        caller: &Caller,
        name: &DefinitionName,
    ) -> Result<Vec<StoredDefinition>, DefinitionError> {
        Ok(self.kept.definition_versions(caller.tenant(), name).await?)
    }

    /// Removes a name with all its versions. Workflows that were submitted by it stay.
    pub async fn remove(
        &self,
        caller: &Caller,
        name: &DefinitionName,
    ) -> Result<(), DefinitionError> {
        caller.may(Scope::Modules)?;
        match self.kept.remove_definition(caller.tenant(), name).await? {
            true => Ok(()),
            false => Err(DefinitionError::Unknown(DefinitionRef {
                name: name.clone(),
                digest: None,
            })),
        }
    }
}
