//! The backend as [`Trail`].

use async_trait::async_trait;

use super::{SqliteStorage, trail};
use crate::StorageError;
use crate::trail::{Trail, TrailPage, Wanted};
use cofferdam_domain::audit::Note;
use cofferdam_domain::time::Timestamp;

#[async_trait]
impl Trail for SqliteStorage {
    async fn append(&self, notes: Vec<Note>) -> Result<(), StorageError> {
        self.writer
            .call(move |db| trail::append(&db.conn, &notes))
            .await
    }

    async fn entries(&self, wanted: &Wanted, limit: u32) -> Result<TrailPage, StorageError> {
        let wanted = wanted.clone();
        self.readers
            .call(move |conn| trail::entries(conn, &wanted, limit))
            .await
    }

    async fn shorten(
        &self,
        kept_since: Timestamp,
        rows_max: u64,
        note: Note,
    ) -> Result<u64, StorageError> {
        self.writer
            .call(move |db| trail::shorten(&db.conn, kept_since, rows_max, &note))
            .await
    }
}
