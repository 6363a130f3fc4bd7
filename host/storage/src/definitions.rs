//! Definitions of workflows: texts by name and version, of which storage does not know what they mean.

use async_trait::async_trait;

use crate::StorageError;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::Digest;
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};

/// Versions of definitions that one tenant may keep, whatever their names.
pub const DEFINITIONS_MAX: u64 = 1_000;

/// Definitions of workflows. A version never changes; a name means the one that was put under it last. Their bytes
/// count as those of modules do, and they go with their tenant. Durable as [`Tasks`](crate::Tasks) are.
#[async_trait]
pub trait Definitions: Send + Sync + 'static {
    /// Keeps a version and has its name mean it. If the name means it already, nothing is written.
    /// [`StorageError::OverQuota`] if its tenant would have more than `storage_bytes` then.
    async fn put_definition(
        &self,
        tenant: &Tenant,
        new: NewDefinition,
        storage_bytes: Option<u64>,
        now: Timestamp,
    ) -> Result<PutDefinition, StorageError>;

    /// What a reference means, and its text.
    async fn find_definition(
        &self,
        tenant: &Tenant,
        reference: &DefinitionRef,
    ) -> Result<Option<(StoredDefinition, String)>, StorageError>;

    /// What each of a tenant's names behind `after` means, by name.
    async fn list_definitions(
        &self,
        tenant: &Tenant,
        after: Option<&DefinitionName>,
        limit: u32,
    ) -> Result<Vec<StoredDefinition>, StorageError>;

    /// Every version that was ever put under a name, newest first.
    async fn definition_versions(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<Vec<StoredDefinition>, StorageError>;

    /// Removes a name with all its versions; false if there is none.
    async fn remove_definition(
        &self,
        tenant: &Tenant,
        name: &DefinitionName,
    ) -> Result<bool, StorageError>;
}

/// A version about to be kept.
#[derive(Clone, Debug)]
pub struct NewDefinition {
    /// Its name.
    pub name: DefinitionName,
    /// The hash of its text.
    pub digest: Digest,
    /// The text, as it was submitted.
    pub text: String,
    /// The bytes of the text as it was submitted.
    pub size_bytes: u64,
}

/// A version under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDefinition {
    /// The name.
    pub name: DefinitionName,
    /// The hash of its text.
    pub digest: Digest,
    /// The bytes of its text.
    pub size_bytes: u64,
    /// When it was put under this name.
    pub created_at: Timestamp,
}

/// The result of putting a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutDefinition {
    /// The name is new or meant another version.
    Created,
    /// The name meant this version already.
    Unchanged,
    /// The tenant keeps as many versions as it may; nothing was written.
    TooMany,
}

/// A version, whoever's it is, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct KeptDefinition {
    pub(crate) seq: i64,
    pub(crate) tenant: Tenant,
    pub(crate) name: DefinitionName,
    pub(crate) digest: Digest,
    pub(crate) text: String,
}

/// Definitions of all tenants, for whoever seals them anew.
#[async_trait]
pub(crate) trait KeptDefinitions: Send + Sync + 'static {
    /// Versions behind a number, by their numbers.
    async fn all_definitions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<KeptDefinition>, StorageError>;

    /// Keeps another form of a text that is as it was.
    async fn change_definition(
        &self,
        old: &KeptDefinition,
        text: String,
    ) -> Result<(), StorageError>;
}
