//! The backend as [`Cells`].

use async_trait::async_trait;
use bytes::Bytes;

use super::beside::Kept;
use super::{SqliteStorage, cells};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::blocking::blocking;
use crate::seal::Begins;
use crate::sealed::cells::{At, Cells, Change, Family, Stale};

#[async_trait]
impl Cells for SqliteStorage {
    async fn stale_cells(
        &self,
        family: Family,
        after: At,
        begins: &Begins,
        limit: u32,
    ) -> Result<(Vec<Stale>, Option<At>), StorageError> {
        let begins = begins.clone();
        self.readers
            .call(move |conn| cells::stale_cells(conn, family, after, &begins, limit))
            .await
    }

    async fn cell(&self, at: At) -> Result<Option<Vec<u8>>, StorageError> {
        self.readers.call(move |conn| cells::cell(conn, at)).await
    }

    async fn long_outputs(
        &self,
        after: At,
        sealed_too: bool,
        limit: u32,
    ) -> Result<Vec<Stale>, StorageError> {
        self.readers
            .call(move |conn| cells::long_outputs(conn, after, sealed_too, limit))
            .await
    }

    async fn long_output(&self, at: At) -> Result<Option<(BlobHash, Bytes)>, StorageError> {
        let found = self.readers.call(move |conn| cells::long_output(conn, at));
        let Some(hash) = found.await? else {
            return Ok(None);
        };
        let bytes = self.beside.get(Kept::Blob(hash)).await?;
        Ok(bytes.map(|bytes| (hash, bytes)))
    }

    async fn change_long_output(
        &self,
        at: At,
        old: BlobHash,
        new: Bytes,
    ) -> Result<(), StorageError> {
        let putting = self.beside.begin().await;
        let fresh = blocking(move || putting.put(&new)).await?;
        let hash = fresh.hash();
        let changing = self
            .writer
            .call(move |db| cells::change_long_output(db, at, old, hash));
        changing.await?;
        drop(fresh);
        self.beside.remove(&self.readers, vec![old]).await;
        Ok(())
    }

    async fn change_cells(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        self.writer
            .call(move |db| cells::change_cells(db, &changes))
            .await
    }
}
