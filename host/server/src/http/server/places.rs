//! Places for connections: how many are open in all and from one peer, and which one is closed when
//! there are too many.
//!
//! A newcomer never waits behind idle connections. If all places are taken, the connection that has
//! been silent for longest is closed for it, or else one that sends a body, or takes an answer,
//! below the minimum rate. If all connections are busy, a few reserved places are left: operations
//! are answered there, and every other request gets 503.
//!
//! A request of HTTP/2 has a place as a connection of HTTP/1.1 has one, because that serves one request
//! after the other: the first of a connection has the place of its connection, and each beside it one of its
//! own. So the limits mean the same whichever protocol clients speak.
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
    seats: HashMap<u64, Seat>,
    by_peer: HashMap<Origin, usize>,
    reserved: usize,
    /// Connections that are not counted, because their requests are.
    lent: usize,
    next: u64,
}

/// Who has a place.
#[derive(Debug)]
struct Seat {
    card: Arc<Card>,
    /// Requests that have places of their own. While there are any, the connection is not counted.
    requests: usize,
    /// The connection of a request.
    of: Option<u64>,
}

/// The place of a connection, or of a request beside others; free again when this is dropped.
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
        self.seat(&mut taken, from, is_reserved, None)
    }

    /// The same for a request of a connection that has others at the same time.
    fn admit_request(&self, connection: &Place) -> Option<Place> {
        let mut taken = self.lock();
        // One that was closed for another has nothing to lend.
        taken.lend(connection.number)?;
        let from = connection.card.from;
        let is_reserved =
            connection.card.is_reserved() || !self.has_room(&mut taken, from.network());
        let place = self.seat(&mut taken, from, is_reserved, Some(connection.number));
        if place.is_none() {
            taken.take_back(connection.number);
        }
        place
    }

    fn seat(
        &self,
        taken: &mut Taken,
        from: Origin,
        is_reserved: bool,
        of: Option<u64>,
    ) -> Option<Place> {
        if is_reserved && taken.reserved >= self.0.limits.reserved {
            let now = self.0.epoch.elapsed();
            let oldest = self.first_to_go(taken, now, |card| card.is_reserved())?;
            self.evict(taken, oldest);
        }
        let card = Arc::new(Card::new(from, self.0.epoch, is_reserved));
        let number = taken.enter(&card, of);
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
        let in_all = taken.seats.len() - taken.reserved - taken.lent;
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
        // A connection that is not counted would leave no place.
        let counted = taken.seats.iter().filter(|(_, seat)| seat.requests == 0);
        let candidates = counted.filter(|(_, seat)| may_go(&seat.card));
        let ranked =
            candidates.filter_map(|(number, seat)| Some((self.rank(&seat.card, now)?, *number)));
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

impl Place {
    /// The place of a request that its connection serves beside others; `None` if there is none.
    pub(super) fn of_request(&self) -> Option<Place> {
        self.places.admit_request(self)
    }
}

impl Taken {
    fn enter(&mut self, card: &Arc<Card>, of: Option<u64>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.count(card);
        let seat = Seat {
            card: Arc::clone(card),
            requests: 0,
            of,
        };
        self.seats.insert(number, seat);
        number
    }

    /// Gives a place back; `None` if another connection already has it.
    fn leave(&mut self, number: u64) -> Option<Arc<Card>> {
        let Seat { card, requests, of } = self.seats.remove(&number)?;
        match requests {
            0 => self.uncount(&card),
            _ => self.lent -= 1,
        }
        if let Some(connection) = of {
            self.take_back(connection);
        }
        Some(card)
    }

    /// Counts a connection's requests instead of the connection.
    fn lend(&mut self, connection: u64) -> Option<()> {
        let seat = self.seats.get_mut(&connection)?;
        seat.requests += 1;
        if seat.requests == 1 {
            let card = Arc::clone(&seat.card);
            self.lent += 1;
            self.uncount(&card);
        }
        Some(())
    }

    /// One of its requests has gone.
    fn take_back(&mut self, connection: u64) {
        // A connection may be closed before its requests know.
        let Some(seat) = self.seats.get_mut(&connection) else {
            return;
        };
        seat.requests -= 1;
        if seat.requests == 0 {
            let card = Arc::clone(&seat.card);
            self.lent -= 1;
            self.count(&card);
        }
    }

    fn count(&mut self, card: &Card) {
        match card.is_reserved() {
            true => self.reserved += 1,
            false => *self.by_peer.entry(card.peer).or_default() += 1,
        }
    }

    fn uncount(&mut self, card: &Card) {
        if card.is_reserved() {
            self.reserved -= 1;
        } else if let Some(count) = self.by_peer.get_mut(&card.peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&card.peer);
            }
        }
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
        assert!(places.lock().seats.is_empty());
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

    #[test]
    fn requests_at_once_have_places_as_connections_have() {
        let places = later(2, 2);
        let connection = places.admit(peer(1)).unwrap();
        connection.card.enter_at(Phase::Working, Duration::ZERO);
        let first = connection.of_request().unwrap();
        first.card.enter_at(Phase::Working, Duration::ZERO);
        let second = connection.of_request().unwrap();
        second.card.enter_at(Phase::Working, Duration::ZERO);
        assert!(!first.card.is_reserved() && !second.card.is_reserved());
        // Both places are taken, for requests and for connections.
        assert!(connection.of_request().unwrap().card.is_reserved());
        assert!(places.admit(peer(1)).unwrap().card.is_reserved());
        drop(first);
        assert!(!connection.of_request().unwrap().card.is_reserved());
        drop(second);
        // It has a place itself when it has no request.
        let other = places.admit(peer(1)).unwrap();
        assert!(!other.card.is_reserved());
        other.card.enter_at(Phase::Working, Duration::ZERO);
        assert!(places.admit(peer(1)).unwrap().card.is_reserved());
        drop((connection, other));
        let taken = places.lock();
        assert!(taken.seats.is_empty() && taken.by_peer.is_empty());
        assert_eq!((taken.reserved, taken.lent), (0, 0));
    }

    #[test]
    fn a_slow_request_goes_and_those_beside_it_stay() {
        let places = later(2, 2);
        let connection = places.admit(peer(1)).unwrap();
        connection.card.enter_at(Phase::Working, Duration::ZERO);
        let slow = connection.of_request().unwrap();
        slow.card.enter_at(Phase::Receiving, Duration::ZERO);
        let busy = connection.of_request().unwrap();
        busy.card.enter_at(Phase::Working, Duration::ZERO);
        assert!(!places.admit(peer(1)).unwrap().card.is_reserved());
        assert!(slow.card.close.is_cancelled());
        assert!(!busy.card.close.is_cancelled() && !connection.card.close.is_cancelled());
        // A connection that was closed has no place for requests.
        connection.card.close.cancel();
        drop((slow, busy));
        places.lock().leave(connection.number);
        assert!(connection.of_request().is_none());
    }
}
