//! Which passes were used, for as long as they would be accepted again.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use cofferdam_domain::time::Timestamp;

/// The most that are remembered. Only hosts of the same database can use them up.
const SEEN_MAX: usize = 100_000;

/// Why a pass is not noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it was used before")]
    Used,
    #[error("too many were used lately")]
    Crowded,
}

/// The nonces of genuine passes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    nonces: HashSet<Uuid>,
    /// In the order of their use, with the moment from which on each is refused for its age.
    in_order: VecDeque<(Timestamp, Uuid)>,
}

impl Seen {
    /// Notes a pass that is accepted until `until`; refuses one that was noted before.
    pub(super) fn note(
        &mut self,
        nonce: Uuid,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Unfit> {
        while self.in_order.front().is_some_and(|(until, _)| *until < now) {
            if let Some((_, old)) = self.in_order.pop_front() {
                self.nonces.remove(&old);
            }
        }
        if self.nonces.contains(&nonce) {
            return Err(Unfit::Used);
        }
        if self.in_order.len() >= SEEN_MAX {
            return Err(Unfit::Crowded);
        }
        self.nonces.insert(nonce);
        self.in_order.push_back((until, nonce));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_passes_that_are_remembered_is_bounded() {
        let mut seen = Seen::default();
        let at = Timestamp::from_millis;
        for number in 0..SEEN_MAX {
            let nonce = Uuid::from_u128(number as u128);
            assert_eq!(seen.note(nonce, at(10), at(0)), Ok(()));
        }
        let next = Uuid::from_u128(u128::MAX);
        assert_eq!(seen.note(next, at(10), at(10)), Err(Unfit::Crowded));
        assert_eq!(seen.note(next, at(21), at(11)), Ok(()));
        assert_eq!(seen.nonces.len(), 1);
        assert_eq!(seen.note(next, at(21), at(21)), Err(Unfit::Used));
    }
}
