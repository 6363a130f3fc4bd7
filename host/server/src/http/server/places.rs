//! Places for connections: how many are open in all and from one peer, and which one is closed when
//! there are too many.
//!
//! A newcomer never waits behind idle connections. If all places are taken, the connection that has
//! been silent for longest is closed for it, or else one that sends a body, or takes an answer,
//! below the minimum rate. If all connections are busy, a few reserved places are left: operations
//! are answered there, and every other request gets 503.
//!
//! All serving threads share the places; a connection's state is kept in its `Card` without a lock.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::server::card::{Card, Phase};
use crate::http::settings::HttpConfig;
use cofferdam_domain::caller::Origin;

/// Additional places, in which only operations are answered.
pub const RESERVED: usize = 16;

/// How long a new connection keeps its place in any case: a request in transit must not lose its
/// connection to the next newcomer.
const GRACE: Duration = Duration::from_secs(1);

/// How many connections may be open.
#[derive(Clone, Copy, Debug)]
pub struct PlaceLimits {
    /// In all, without the reserved ones.
    pub in_all: usize,
    /// From one address (IPv6: one network of 64 bits).
    pub per_peer: usize,
    /// Beyond them, for operations only.
    pub reserved: usize,
    /// The rate below which a busy connection may be closed for another.
    pub bytes_per_second_min: u64,
}

/// All places of a listener, over all threads.
#[derive(Clone, Debug)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: PlaceLimits,
    epoch: Instant,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    cards: HashMap<u64, Arc<Card>>,
    by_peer: HashMap<Origin, usize>,
    reserved: usize,
    next: u64,
}

/// A connection's place, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    pub(super) card: Arc<Card>,
}

impl PlaceLimits {
    /// The limits of the API's own listener; `in_all` is the number that the descriptors allow.
    pub fn of(config: &HttpConfig, in_all: usize) -> PlaceLimits {
        PlaceLimits {
            in_all,
            per_peer: config.connections_per_peer_max,
            reserved: RESERVED,
            bytes_per_second_min: config.bytes_per_second_min,
        }
    }

    /// The limits of a listener that answers operations only.
    pub fn of_operations(config: &HttpConfig) -> PlaceLimits {
        PlaceLimits {
            in_all: 0,
            per_peer: 0,
            reserved: RESERVED,
            bytes_per_second_min: config.bytes_per_second_min,
        }
    }
}

impl Places {
    /// Without connections.
    pub fn new(limits: PlaceLimits) -> Places {
        Places(Arc::new(Inner {
            limits,
            epoch: Instant::now(),
            taken: Mutex::default(),
        }))
    }

    /// A place for a newcomer; `None` if busy connections take even the reserved ones.
    pub(super) fn admit(&self, peer: IpAddr) -> Option<Place> {
        let from = Origin::Peer(peer);
        let mut taken = self.lock();
        let is_reserved = !self.has_room(&mut taken, from.network());
        if is_reserved && taken.reserved >= self.0.limits.reserved {
            let now = self.0.epoch.elapsed();
            let oldest = self.first_to_go(&taken, now, |card| card.is_reserved())?;
            self.evict(&mut taken, oldest);
        }
        let card = Arc::new(Card::new(from, self.0.epoch, is_reserved));
        let number = taken.next;
        taken.next += 1;
        taken.enter(number, &card);
        Some(Place {
            places: self.clone(),
            number,
            card,
        })
    }

    /// Whether an ordinary place is free, or was made free by closing another connection.
    fn has_room(&self, taken: &mut Taken, peer: Origin) -> bool {
        let limits = &self.0.limits;
        let of_peer = taken.by_peer.get(&peer).copied().unwrap_or(0);
        let in_all = taken.cards.len() - taken.reserved;
        let (peer_is_full, all_is_full) = (of_peer >= limits.per_peer, in_all >= limits.in_all);
        if !peer_is_full && !all_is_full {
            return true;
        }
        let now = self.0.epoch.elapsed();
        let goes = |card: &Card| !card.is_reserved() && (!peer_is_full || card.peer == peer);
        match self.first_to_go(taken, now, goes) {
            Some(number) => {
                self.evict(taken, number);
                true
            }
            None => false,
        }
    }

    /// The connection to close: the one that has been silent for longest, else the slowest.
    fn first_to_go(
        &self,
        taken: &Taken,
        now: Duration,
        may_go: impl Fn(&Card) -> bool,
    ) -> Option<u64> {
        let candidates = taken.cards.iter().filter(|(_, card)| may_go(card));
        let ranked = candidates.filter_map(|(number, card)| Some((self.rank(card, now)?, *number)));
        ranked.min().map(|(_, number)| number)
    }

    /// The lower, the sooner it is closed; `None` for a connection that keeps its place.
    fn rank(&self, card: &Card, now: Duration) -> Option<(u8, u64)> {
        let slower = |since: Duration, class: u8| {
            let age = now.saturating_sub(since);
            let rate = per_second(card.moved_bytes(), age);
            let is_slow = age >= GRACE && rate < self.0.limits.bytes_per_second_min;
            is_slow.then_some((class, rate))
        };
        // The end of an answer may still be in transit while the connection is otherwise silent.
        if let Some(since) = card.blocked_since() {
            return slower(since, 2);
        }
        match card.phase() {
            Phase::Silent if now.saturating_sub(card.since()) >= GRACE => {
                Some((0, millis(card.since())))
            }
            Phase::Receiving => slower(card.since(), 1),
            Phase::Silent | Phase::Working | Phase::Answering => None,
        }
    }

    fn evict(&self, taken: &mut Taken, number: u64) {
        if let Some(card) = taken.leave(number) {
            card.close.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn enter(&mut self, number: u64, card: &Arc<Card>) {
        match card.is_reserved() {
            true => self.reserved += 1,
            false => *self.by_peer.entry(card.peer).or_default() += 1,
        }
        self.cards.insert(number, Arc::clone(card));
    }

    /// Gives a place back; `None` if another connection already has it.
    fn leave(&mut self, number: u64) -> Option<Arc<Card>> {
        let card = self.cards.remove(&number)?;
        if card.is_reserved() {
            self.reserved -= 1;
        } else if let Some(count) = self.by_peer.get_mut(&card.peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&card.peer);
            }
        }
        Some(card)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _evicted_before = self.places.lock().leave(self.number);
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    bytes.saturating_mul(1000) / millis(time).max(1)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(in_all: usize, per_peer: usize) -> Places {
        Places::new(PlaceLimits {
            in_all,
            per_peer,
            reserved: 1,
            bytes_per_second_min: 1000,
        })
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    fn silent(place: &Place, since_ms: u64) {
        place
            .card
            .enter_at(Phase::Silent, Duration::from_millis(since_ms));
    }

    /// Places whose clock is well after every `since` of a test.
    fn later(in_all: usize, per_peer: usize) -> Places {
        let Places(inner) = places(in_all, per_peer);
        let epoch = Instant::now()
            .checked_sub(Duration::from_secs(100))
            .unwrap();
        Places(Arc::new(Inner {
            limits: inner.limits,
            epoch,
            taken: Mutex::default(),
        }))
    }

    #[test]
    fn the_longest_silent_connection_goes_first() {
        let places = later(2, 2);
        let (older, newer) = (
            places.admit(peer(1)).unwrap(),
            places.admit(peer(1)).unwrap(),
        );
        silent(&older, 10);
        silent(&newer, 20);
        let newcomer = places.admit(peer(1)).unwrap();
        assert!(!newcomer.card.is_reserved());
        assert!(older.card.close.is_cancelled() && !newer.card.close.is_cancelled());
        drop((older, newer, newcomer));
        assert!(places.lock().cards.is_empty());
        assert!(places.lock().by_peer.is_empty());
    }

    #[test]
    fn where_everybody_is_busy_only_the_reserve_is_left() {
        let places = later(1, 1);
        let busy = places.admit(peer(1)).unwrap();
        busy.card.enter_at(Phase::Working, Duration::ZERO);
        let reserve = places.admit(peer(1)).unwrap();
        assert!(reserve.card.is_reserved() && !busy.card.close.is_cancelled());
        reserve.card.enter_at(Phase::Working, Duration::ZERO);
        assert!(places.admit(peer(1)).is_none());
        silent(&reserve, 0);
        assert!(places.admit(peer(1)).unwrap().card.is_reserved());
        assert!(reserve.card.close.is_cancelled());
    }

    #[test]
    fn one_peer_has_not_all_places() {
        let places = later(2, 1);
        let first = places.admit(peer(1)).unwrap();
        first.card.enter_at(Phase::Working, Duration::ZERO);
        assert!(places.admit(peer(1)).unwrap().card.is_reserved());
        assert!(!places.admit(peer(2)).unwrap().card.is_reserved());
    }

    #[test]
    fn a_dripped_body_goes_and_a_fast_one_stays() {
        let places = later(1, 1);
        let body = places.admit(peer(1)).unwrap();
        body.card.enter_at(Phase::Receiving, Duration::ZERO);
        body.card.moved(10 << 20);
        assert!(places.admit(peer(1)).unwrap().card.is_reserved());
        body.card.enter_at(Phase::Receiving, Duration::ZERO);
        body.card.moved(10);
        assert!(!places.admit(peer(1)).unwrap().card.is_reserved());
        assert!(body.card.close.is_cancelled());
    }
}
