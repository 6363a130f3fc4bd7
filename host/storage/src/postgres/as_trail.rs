//! The backend as [`Trail`].

use async_trait::async_trait;
use futures_util::FutureExt;

use super::tx::{Mode, reading};
use super::{PostgresStorage, trail};
use crate::StorageError;
use crate::trail::{Trail, TrailPage, Wanted};
use cofferdam_domain::audit::Note;
use cofferdam_domain::time::Timestamp;

#[async_trait]
impl Trail for PostgresStorage {
    async fn append(&self, notes: Vec<Note>) -> Result<(), StorageError> {
        self.write(move |call| {
            let notes = notes.clone();
            async move { trail::append(&call, notes).await }.boxed()
        })
        .await
    }

    async fn entries(&self, wanted: &Wanted, limit: u32) -> Result<TrailPage, StorageError> {
        let wanted = wanted.clone();
        self.read(move |call| {
            let wanted = wanted.clone();
            async move { reading!(call, tx, trail::entries(&mut tx, &wanted, limit)) }.boxed()
        })
        .await
    }

    async fn shorten(
        &self,
        kept_since: Timestamp,
        rows_max: u64,
        note: Note,
    ) -> Result<u64, StorageError> {
        self.write(move |call| {
            let note = note.clone();
            async move { trail::shorten(&call, kept_since, rows_max, note).await }.boxed()
        })
        .await
    }
}
