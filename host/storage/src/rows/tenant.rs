//! Tenants as text, which every database keeps.

use crate::StorageError;
use cofferdam_domain::caller::Tenant;

/// The tenant of that name.
pub(crate) fn tenant_of(name: &str) -> Result<Tenant, StorageError> {
    Tenant::parse(name).map_err(StorageError::corrupt)
}
