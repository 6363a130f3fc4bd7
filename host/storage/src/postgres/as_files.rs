//! The backend as [`SharedFiles`].

use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures_util::FutureExt;
use uuid::Uuid;

use super::blobs::Outage;
use super::files::Row;
use super::tx::{Mode, reading};
use super::{PostgresStorage, files, shared_bytes};
use crate::StorageError;
use crate::blobs::content::Content;
use crate::files::cache::Address;
use crate::files::shared::{Found, NewContent, NewFile, Owner, SharedFiles};
use cofferdam_domain::task::BlobId;

/// Executions removed in one transaction, and transactions of one call.
const EXECUTIONS_MAX: i64 = 200;
const ROUNDS_MAX: u32 = 50;

impl fmt::Debug for PostgresStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").finish_non_exhaustive()
    }
}

impl PostgresStorage {
    /// Refuses bytes for which there is no room. Those who ask at the same moment do not see each other.
    async fn check_room(&self, more: u64) -> Result<(), StorageError> {
        let used = self
            .read(|call| async move { reading!(call, tx, shared_bytes::bytes(&mut tx)) }.boxed())
            .await?;
        let (known, limit) = &self.shared_bytes;
        known.store(used, Ordering::Relaxed);
        match used.saturating_add(more) <= *limit {
            true => Ok(()),
            false => Err(StorageError::Full(format!(
                "{used} of {limit} bytes for what hosts share are in use, and {more} more are needed"
            ))),
        }
    }
}

#[async_trait]
impl SharedFiles for PostgresStorage {
    async fn put_input(&self, id: BlobId, content: Content) -> Result<(), StorageError> {
        self.check_room(content.size_bytes()).await?;
        let stored = self.put_blob(&content, Outage::Refuse).await?;
        let size_bytes = content.size_bytes();
        self.write(move |call| {
            async move { files::put_input(&call, id, stored.hash(), size_bytes).await }.boxed()
        })
        .await
    }

    async fn find_input(&self, id: BlobId) -> Result<Option<Address>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, files::find_input(&mut tx, id)) }.boxed()
        })
        .await
    }

    async fn put_files(&self, owner: Owner, new: Vec<NewFile>) -> Result<(), StorageError> {
        let sizes = new.iter().map(|file| file.content.size_bytes());
        self.check_room(sizes.fold(0, u64::saturating_add)).await?;
        let mut rows = Vec::with_capacity(new.len());
        for NewFile { path, content } in new {
            if let NewContent::Long(content) = &content {
                self.put_blob(content, Outage::Database).await?;
            }
            rows.push(Row::new(path, &content)?);
        }
        let rows = Arc::new(rows);
        self.write(move |call| {
            let rows = Arc::clone(&rows);
            async move { files::put_files(&call, owner, &rows).await }.boxed()
        })
        .await
    }

    async fn find_file(&self, owner: Owner, path: &str) -> Result<Option<Found>, StorageError> {
        let path = path.to_owned();
        self.read(move |call| {
            let path = path.clone();
            async move { reading!(call, tx, files::find_file(&mut tx, owner, path)) }.boxed()
        })
        .await
    }

    async fn files_of(
        &self,
        execution: Uuid,
    ) -> Result<Option<Vec<(String, Found)>>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, files::files_of(&mut tx, execution)) }.boxed()
        })
        .await
    }

    async fn remove_executions(&self, before: Uuid) -> Result<(), StorageError> {
        for _ in 0..ROUNDS_MAX {
            let removing = self.write(move |call| {
                async move { files::remove_executions(&call, before, EXECUTIONS_MAX).await }.boxed()
            });
            if removing.await? < EXECUTIONS_MAX {
                break;
            }
        }
        // So that a host hears of the bytes although it keeps none itself.
        self.check_room(0).await.or(Ok(()))
    }

    async fn fetch(&self, from: Address, to: File) -> Result<(), StorageError> {
        self.blob_into(from, to).await
    }

    fn usage(&self) -> (u64, u64) {
        let (known, limit) = &self.shared_bytes;
        (known.load(Ordering::Relaxed), *limit)
    }
}
