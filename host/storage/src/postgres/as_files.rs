//! The backend as [`SharedFiles`].

use std::fmt;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use futures_util::FutureExt;
use uuid::Uuid;

use super::blobs::Outage;
use super::files::{Row, anew};
use super::tx::{Mode, reading};
use super::{PostgresStorage, files, shared_bytes};
use crate::StorageError;
use crate::blobs::content::Content;
use crate::files::cache::Address;
use crate::files::shared::{Found, NewContent, NewFile, Owner, SharedFiles, Which};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::task::BlobId;
use cofferdam_domain::whose::Whose;

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
            let owner = owner.clone();
            async move { files::put_files(&call, &owner, &rows).await }.boxed()
        })
        .await
    }

    async fn find_file(&self, owner: Owner, path: &str) -> Result<Option<Found>, StorageError> {
        let wanted = Arc::new((owner, path.to_owned()));
        self.read(move |call| {
            let wanted = Arc::clone(&wanted);
            async move { reading!(call, tx, files::find_file(&mut tx, &wanted.0, &wanted.1)) }
                .boxed()
        })
        .await
    }

    async fn files_of(
        &self,
        tenant: &Tenant,
        execution: Uuid,
    ) -> Result<Option<Vec<(String, Found)>>, StorageError> {
        self.read_of(&Whose::One(tenant.clone()), move |call| {
            async move { reading!(call, tx, files::files_of(&mut tx, execution)) }.boxed()
        })
        .await
    }

    async fn remove_executions(
        &self,
        before: Uuid,
        of: Option<Tenant>,
    ) -> Result<(), StorageError> {
        let whose = of.map_or(Whose::All, Whose::One);
        for _ in 0..ROUNDS_MAX {
            let removing = self.write_of(&whose, move |call| {
                async move { files::remove_executions(&call, before, EXECUTIONS_MAX).await }.boxed()
            });
            if removing.await? < EXECUTIONS_MAX {
                break;
            }
        }
        // So that a host hears of the bytes although it keeps none itself.
        self.check_room(0).await.or(Ok(()))
    }

    async fn inputs_after(
        &self,
        after: Option<BlobId>,
        limit: u32,
    ) -> Result<Vec<BlobId>, StorageError> {
        self.read(move |call| {
            async move { reading!(call, tx, anew::inputs_after(&mut tx, after, limit)) }.boxed()
        })
        .await
    }

    async fn owners_after(
        &self,
        after: Option<Owner>,
        which: Which,
        limit: u32,
    ) -> Result<Vec<Owner>, StorageError> {
        let wanted = Arc::new((after, which));
        self.read(move |call| {
            let wanted = Arc::clone(&wanted);
            async move {
                let (after, which) = (wanted.0.as_ref(), &wanted.1);
                reading!(call, tx, anew::owners_after(&mut tx, after, which, limit))
            }
            .boxed()
        })
        .await
    }

    async fn files_after(
        &self,
        owner: Owner,
        path: &str,
        which: Which,
        limit: u32,
    ) -> Result<Vec<(String, Found)>, StorageError> {
        let wanted = Arc::new((owner, path.to_owned(), which));
        self.read(move |call| {
            let wanted = Arc::clone(&wanted);
            async move {
                let (owner, path, which) = (&wanted.0, &*wanted.1, &wanted.2);
                reading!(
                    call,
                    tx,
                    anew::files_after(&mut tx, owner, path, which, limit)
                )
            }
            .boxed()
        })
        .await
    }

    async fn change_input(
        &self,
        id: BlobId,
        old: Address,
        new: Content,
    ) -> Result<(), StorageError> {
        let stored = self.put_blob(&new, Outage::Refuse).await?;
        let (old, new) = (old.hash, (stored.hash(), new.size_bytes()));
        self.write(move |call| async move { anew::change_input(&call, id, old, new).await }.boxed())
            .await
    }

    async fn change_file(
        &self,
        owner: Owner,
        path: &str,
        old: Found,
        new: NewContent,
    ) -> Result<(), StorageError> {
        if let NewContent::Long(content) = &new {
            self.put_blob(content, Outage::Refuse).await?;
        }
        let change = Arc::new((owner, path.to_owned(), old, new));
        self.write(move |call| {
            let change = Arc::clone(&change);
            async move {
                let (owner, path, old, new) = &*change;
                anew::change_file(&call, (owner, path), old, new).await
            }
            .boxed()
        })
        .await
    }

    async fn fetch(&self, from: Address, to: File) -> Result<(), StorageError> {
        self.blob_into(from, to).await
    }

    fn usage(&self) -> (u64, u64) {
        let (known, limit) = &self.shared_bytes;
        (known.load(Ordering::Relaxed), *limit)
    }
}
