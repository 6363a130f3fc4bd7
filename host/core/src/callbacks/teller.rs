//! The worker: looks for lanes with something due, takes as much as there are places for, and sends it.
//!
//! A lane is a tenant and a place. Lanes that are held back are passed over, so that what is due there uses
//! up no try and is in nobody's way. Places are given to the tenant that has the fewest under way, and no
//! tenant has more than half of them, so that one whose hosts never answer does not stop the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{Id, JoinSet};

use super::Callbacks;
use crate::breaker::Pass;
use crate::shutdown::Shutdown;
use cofferdam_domain::callback::Lane;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::StorageError;

/// Lanes of one look. What is beyond them is looked at next.
const LANES_LOOKED: u32 = 256;
/// The longest wait between two looks: signals may be lost, and others may have died.
const LOOK_MAX: Duration = Duration::from_secs(1);
/// The shortest one, however much ends.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// The same while nothing is under way: other tasks end all the time.
const LOOK_IDLE_MIN: Duration = Duration::from_millis(100);
/// How long what is under way may take at the end of the host; the rest is due again elsewhere.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// What a try needs besides the time of its request.
const AROUND: Duration = Duration::from_secs(10);

/// What goes on, and where the next look begins.
#[derive(Default)]
struct Desk {
    sending: JoinSet<()>,
    under_way: HashMap<Id, Lane>,
    /// Behind which lane.
    after: Option<Lane>,
}

/// Tells what is due until shutdown is requested, and then finishes what is under way.
pub(super) async fn serve(callbacks: Arc<Callbacks>, shutdown: Shutdown) {
    let mut desk = Desk::default();
    loop {
        let looked = Instant::now();
        let next = match desk.look(&callbacks).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "what is to be told of ended tasks could not be looked for");
                LOOK_MAX
            }
        };
        let until = looked + next.clamp(LOOK_MIN, LOOK_MAX);
        if !desk.wait(&callbacks, &shutdown, until).await {
            break;
        }
        // However much ends, there is a pause between two looks.
        let pause = match desk.sending.is_empty() {
            true => LOOK_IDLE_MIN,
            false => LOOK_MIN,
        };
        tokio::time::sleep_until((looked + pause).into()).await;
    }
    let rest = async { while desk.sending.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, rest).await.is_err() {
        tracing::info!("some callbacks were not answered in time; they are sent again");
    }
}

impl Desk {
    /// Waits until it is time to look, or something may be due; false if the host ends.
    async fn wait(&mut self, callbacks: &Callbacks, shutdown: &Shutdown, until: Instant) -> bool {
        tokio::select! {
            () = shutdown.requested() => false,
            () = tokio::time::sleep_until(until.into()) => true,
            () = callbacks.wake.notified() => true,
            Some(ended) = self.sending.join_next_with_id() => {
                let id = ended.map_or_else(|panicked| panicked.id(), |(id, ())| id);
                self.under_way.remove(&id);
                true
            }
        }
    }

    /// Begins what is due and has a place; tells when to look again.
    async fn look(&mut self, callbacks: &Arc<Callbacks>) -> Result<Duration, StorageError> {
        let places = callbacks.config.concurrency;
        if self.sending.len() >= places {
            return Ok(LOOK_MAX);
        }
        let lanes = callbacks
            .kept
            .delivery_lanes(self.after.as_ref(), LANES_LOOKED)
            .await?;
        let is_all = lanes.len() < LANES_LOOKED as usize;
        self.after = match (is_all, lanes.last()) {
            (false, Some((last, _))) => Some(last.clone()),
            (true, _) | (_, None) => None,
        };
        let now = callbacks.clock.now();
        let first_later = lanes.iter().map(|(_, due_at)| due_at.since(now));
        let first_later = first_later.filter(|wait| !wait.is_zero()).min();
        let mut due: Vec<(Lane, Timestamp)> = lanes;
        due.retain(|(_, due_at)| *due_at <= now);
        due.sort_by_key(|(_, due_at)| *due_at);
        while let Some(place) = self.fairest(&due) {
            let (lane, _) = due.remove(place);
            let room = self.room(callbacks, &lane);
            self.take(callbacks, lane, room, now).await?;
        }
        match self.after {
            Some(_) => Ok(LOOK_MIN),
            None => Ok(first_later.unwrap_or(LOOK_MAX)),
        }
    }

    /// The lane whose tenant has the fewest under way, and of those the one that is due longest.
    fn fairest(&self, due: &[(Lane, Timestamp)]) -> Option<usize> {
        let fewest = due
            .iter()
            .enumerate()
            .min_by_key(|(_, (lane, _))| self.of_tenant(&lane.tenant));
        fewest.map(|(place, _)| place)
    }

    fn of_tenant(&self, tenant: &Tenant) -> usize {
        let own = self.under_way.values();
        own.filter(|lane| lane.tenant == *tenant).count()
    }

    /// How many more may be sent in a lane.
    fn room(&self, callbacks: &Callbacks, lane: &Lane) -> usize {
        let config = &callbacks.config;
        let left = |most: usize, used: usize| most.saturating_sub(used);
        let in_lane = self.under_way.values().filter(|it| *it == lane).count();
        left(config.concurrency, self.sending.len())
            .min(left(config.concurrency_per_host, in_lane))
            .min(left(
                config.concurrency.div_ceil(2),
                self.of_tenant(&lane.tenant),
            ))
    }

    /// Takes up to `room` of a lane, unless it is held back, and begins to send them.
    async fn take(
        &mut self,
        callbacks: &Arc<Callbacks>,
        lane: Lane,
        room: usize,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let enter = |_| callbacks.breakers.enter(lane.clone(), Instant::now()).ok();
        let passes: Vec<Pass<Lane>> = (0..room).map_while(enter).collect();
        if passes.is_empty() {
            return Ok(());
        }
        let limit = u32::try_from(passes.len()).unwrap_or(u32::MAX);
        let until = now.plus(callbacks.config.timeout + AROUND);
        let taken = callbacks.kept.take_deliveries(&lane, limit, now, until);
        for (delivery, pass) in taken.await?.into_iter().zip(passes) {
            let callbacks = Arc::clone(callbacks);
            let telling = async move { callbacks.tell(delivery, pass).await };
            let id = self.sending.spawn(telling).id();
            self.under_way.insert(id, lane.clone());
        }
        Ok(())
    }
}
