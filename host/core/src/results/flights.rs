//! Runs that are under way and that others may wait for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::kept::Kept;
use super::key::Key;

type Landed = Option<Arc<Kept>>;

/// One for each key. Whoever leads one runs, so there are no more of them than runs.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, watch::Receiver<Landed>>>>);

/// What somebody does who asks for a key.
pub(super) enum Found {
    /// Runs it.
    Lead(Lead),
    /// Waits for whoever runs it.
    Join(Flight),
}

/// The one that runs. Those who wait are told when this is dropped, however that comes about.
pub(super) struct Lead {
    flights: Flights,
    key: Key,
    landed: watch::Sender<Landed>,
}

/// A wait for the one that runs.
pub(super) struct Flight(watch::Receiver<Landed>);

impl Flights {
    pub(super) fn find(&self, key: &Key) -> Found {
        match self.lock().entry(*key) {
            Entry::Occupied(flight) => Found::Join(Flight(flight.get().clone())),
            Entry::Vacant(place) => {
                let (landed, flight) = watch::channel(None);
                place.insert(flight);
                Found::Lead(Lead {
                    flights: self.clone(),
                    key: *key,
                    landed,
                })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Landed>>> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// It completed.
    pub(super) fn lands(self, kept: Arc<Kept>) {
        self.landed.send_replace(Some(kept));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

impl Flight {
    /// What it gave; nothing if it did not complete.
    pub(super) async fn landed(mut self) -> Landed {
        // The sender goes when the leader does, and what it said last is still there.
        let _gone = self.0.wait_for(Option::is_some).await.map(|_| ());
        self.0.borrow().clone()
    }
}
