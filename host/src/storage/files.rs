//! Large bytes that belong in files: spooled inputs and artifacts, under one byte budget.

use bytes::Bytes;

use crate::domain::task::{BlobId, TaskId};
use crate::storage::StorageError;

/// Stands in.
pub struct FileStorage {}
/// Stands in.
pub struct SpoolWriter {}
impl FileStorage {
    /// Stands in.
    pub async fn spool(&self) -> Result<SpoolWriter, StorageError> { todo!() }
    /// Stands in.
    pub async fn remove_blob(&self, _b: BlobId) -> Result<(), StorageError> { todo!() }
    /// Stands in.
    pub async fn open_artifact(&self, _t: TaskId, _a: u32, _p: &str) -> Result<Option<(tokio::fs::File, u64)>, StorageError> { todo!() }
}
impl SpoolWriter {
    /// Stands in.
    pub async fn write(&mut self, _b: Bytes) -> Result<(), StorageError> { todo!() }
    /// Stands in.
    pub async fn commit(self) -> Result<(BlobId, u64), StorageError> { todo!() }
}
