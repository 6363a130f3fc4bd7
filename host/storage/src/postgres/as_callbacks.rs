//! The backend as [`Callbacks`].

use async_trait::async_trait;
use futures_util::FutureExt;

use super::tx::{Mode, reading};
use super::{PostgresStorage, callbacks};
use crate::StorageError;
use crate::callbacks::{Callbacks, Delivery, DeliveryCounts, Hold, ToldAgain, Tried};
use cofferdam_domain::callback::event::Subject;
use cofferdam_domain::callback::{Callback, Lane, Told};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;

#[async_trait]
impl Callbacks for PostgresStorage {
    async fn delivery_lanes(
        &self,
        after: Option<&Lane>,
        limit: u32,
    ) -> Result<Vec<(Lane, Timestamp)>, StorageError> {
        let after = after.cloned();
        self.read(move |call| {
            let after = after.clone();
            async move { reading!(call, tx, callbacks::lanes(&mut tx, after.as_ref(), limit)) }
                .boxed()
        })
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
        self.write(move |call| {
            let lane = lane.clone();
            async move { callbacks::take(&call, &lane, limit, now, until).await }.boxed()
        })
        .await
    }

    async fn settle_delivery(&self, hold: Hold, tried: Tried) -> Result<bool, StorageError> {
        self.write(move |call| {
            let tried = tried.clone();
            async move { callbacks::settle(&call, hold, &tried).await }.boxed()
        })
        .await
    }

    async fn callback(
        &self,
        whose: &Whose,
        of: Subject,
    ) -> Result<Option<(Callback, Option<Told>)>, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, callbacks::callback(&mut tx, of)) }.boxed()
        })
        .await
    }

    async fn tell_again(
        &self,
        whose: &Whose,
        of: Subject,
        now: Timestamp,
    ) -> Result<ToldAgain, StorageError> {
        self.write_of(whose, move |call| {
            async move { callbacks::tell_again(&call, of, now).await }.boxed()
        })
        .await
    }

    async fn delivery_counts(&self, whose: &Whose) -> Result<DeliveryCounts, StorageError> {
        self.read_of(whose, move |call| {
            async move { reading!(call, tx, callbacks::counts(&mut tx)) }.boxed()
        })
        .await
    }
}
