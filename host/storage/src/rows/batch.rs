//! The ids that a batch's submitter was told, in one value.

use crate::StorageError;
use cofferdam_domain::task::TaskId;

const ID_BYTES: usize = 16;

/// Packs ids.
pub(crate) fn pack(ids: &[TaskId]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.0.as_bytes()).collect()
}

/// Unpacks ids.
pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<TaskId>, StorageError> {
    let (ids, rest) = packed.as_chunks::<ID_BYTES>();
    if !rest.is_empty() {
        return Err(StorageError::corrupt("a batch has a part of an id"));
    }
    let ids = ids.iter().map(|id| TaskId(uuid::Uuid::from_bytes(*id)));
    Ok(ids.collect())
}
