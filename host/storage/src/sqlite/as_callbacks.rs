//! The backend as [`Callbacks`].

use async_trait::async_trait;

use super::{SqliteStorage, callbacks};
use crate::StorageError;
use crate::callbacks::{Callbacks, Delivery, DeliveryCounts, Hold, ToldAgain, Tried};
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::callback::{Callback, Lane, Told};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

#[async_trait]
impl Callbacks for SqliteStorage {
    async fn delivery_lanes(
        &self,
        after: Option<&Lane>,
        limit: u32,
    ) -> Result<Vec<(Lane, Timestamp)>, StorageError> {
        let after = after.cloned();
        self.readers
            .call(move |conn| callbacks::lanes(conn, after.as_ref(), limit))
            .await
    }

    async fn take_deliveries(
        &self,
        lane: &Lane,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Delivery>, StorageError> {
        let lane = lane.clone();
        self.writer
            .call(move |db| callbacks::take(&db.conn, &lane, limit, now, until))
            .await
    }

    async fn settle_delivery(&self, hold: Hold, tried: Tried) -> Result<bool, StorageError> {
        self.writer
            .call(move |db| callbacks::settle(&db.conn, hold, &tried))
            .await
    }

    async fn callback(
        &self,
        whose: &Whose,
        of: Subject,
    ) -> Result<Option<(Callback, Option<Told>)>, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| callbacks::callback(conn, &whose, of))
            .await
    }

    async fn tell_again(
        &self,
        whose: &Whose,
        of: Subject,
        now: Timestamp,
    ) -> Result<ToldAgain, StorageError> {
        let whose = whose.clone();
        self.writer
            .call(move |db| callbacks::tell_again(&db.conn, &whose, of, now))
            .await
    }

    async fn delivery_counts(&self, whose: &Whose) -> Result<DeliveryCounts, StorageError> {
        let whose = whose.clone();
        self.readers
            .call(move |conn| callbacks::counts(conn, &whose))
            .await
    }
}
