//! The backend as [`Cells`].

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;

use super::blobs::Outage;
use super::tx::{Mode, reading};
use super::{PostgresStorage, cells};
use crate::StorageError;
use crate::blobs::BlobHash;
use crate::blobs::content::Content;
use crate::seal::Begins;
use crate::sealed::cells::{At, Cells, Change, Family, Stale};

#[async_trait]
impl Cells for PostgresStorage {
    async fn stale_cells(
        &self,
        family: Family,
        after: At,
        begins: &Begins,
        limit: u32,
    ) -> Result<(Vec<Stale>, Option<At>), StorageError> {
        let begins = begins.clone();
        self.read(move |call| {
            let begins = begins.clone();
            async move {
                let found = cells::stale_cells;
                reading!(call, tx, found(&mut tx, family, after, &begins, limit))
            }
            .boxed()
        })
        .await
    }

    async fn cell(&self, at: At) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(move |call| async move { reading!(call, tx, cells::cell(&mut tx, at)) }.boxed())
            .await
    }

    async fn long_outputs(
        &self,
        after: At,
        sealed_too: bool,
        limit: u32,
    ) -> Result<Vec<Stale>, StorageError> {
        self.read(move |call| {
            async move {
                reading!(
                    call,
                    tx,
                    cells::long_outputs(&mut tx, after, sealed_too, limit)
                )
            }
            .boxed()
        })
        .await
    }

    async fn long_output(&self, at: At) -> Result<Option<(BlobHash, Bytes)>, StorageError> {
        let found = self.read(move |call| {
            async move { reading!(call, tx, cells::long_output(&mut tx, at)) }.boxed()
        });
        let Some(hash) = found.await? else {
            return Ok(None);
        };
        let bytes = self.blob_bytes(hash).await?;
        Ok(bytes.map(|bytes| (hash, bytes)))
    }

    async fn change_long_output(
        &self,
        at: At,
        old: BlobHash,
        new: Bytes,
    ) -> Result<(), StorageError> {
        let content = Content::of_bytes(new).await?;
        let stored = self.put_blob(&content, Outage::Refuse).await?;
        self.write(move |call| {
            async move { cells::change_long_output(&call, at, old, stored.hash()).await }.boxed()
        })
        .await
    }

    async fn change_cells(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        self.write(move |call| {
            let changes = changes.clone();
            async move { cells::change_cells(&call, &changes).await }.boxed()
        })
        .await
    }
}
