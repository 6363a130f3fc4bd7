//! The tasks of one tenant that may be claimed, from all of its lanes, in order.

use std::collections::HashSet;

use super::{Candidate, Standing};
use cofferdam_domain::task::ClaimOrder;

/// The sort key, smallest first.
type Key = (u8, i64, i64);

/// One tenant's candidates.
pub(super) struct Line<'a> {
    pub(super) tenant: &'a str,
    pub(super) standing: Standing,
    /// Whether nothing is known of what it has had.
    pub(super) comes_anew: bool,
    /// Whether it has nothing more that may be claimed.
    pub(super) is_done: bool,
    room: u32,
    /// With the place of each one's lane; the next is the last.
    in_order: Vec<(Key, i64, usize)>,
    by_age: Vec<(Key, i64, usize)>,
    taken: HashSet<i64>,
}

impl<'a> Line<'a> {
    pub(super) fn new(
        tenant: &'a str,
        standing: Standing,
        comes_anew: bool,
        room: u32,
    ) -> Line<'a> {
        Line {
            tenant,
            standing,
            comes_anew,
            is_done: false,
            room,
            in_order: Vec::new(),
            by_age: Vec::new(),
            taken: HashSet::new(),
        }
    }

    /// Adds what was found in the lane at that place.
    pub(super) fn extend(&mut self, found: &[Candidate], place: usize, order: ClaimOrder) {
        for candidate in found {
            let Candidate {
                seq, rank, run_at, ..
            } = *candidate;
            match candidate.is_aged {
                true => self.by_age.push(((0, run_at, seq), seq, place)),
                false => self
                    .in_order
                    .push((key(order, rank, run_at, seq), seq, place)),
            }
        }
    }

    pub(super) fn sort(&mut self) {
        let last_first = |a: &(Key, i64, usize), b: &(Key, i64, usize)| b.cmp(a);
        self.in_order.sort_unstable_by(last_first);
        self.by_age.sort_unstable_by(last_first);
    }

    /// The next task, the place of its lane and whether its age brought it here, as far as there is room in
    /// the lanes.
    pub(super) fn next(&mut self, for_age: bool, room: &mut [u32]) -> Option<(i64, usize, bool)> {
        if self.room == 0 {
            return None;
        }
        let found = match for_age {
            true => {
                take(&mut self.by_age, &self.taken, room).map(|(seq, place)| (seq, place, true))
            }
            false => None,
        };
        let next = found.or_else(|| {
            let next = take(&mut self.in_order, &self.taken, room);
            next.map(|(seq, place)| (seq, place, false))
        })?;
        let (seq, place, _) = next;
        self.room -= 1;
        room[place] = room[place].saturating_sub(1);
        self.taken.insert(seq);
        Some(next)
    }
}

fn take(
    from: &mut Vec<(Key, i64, usize)>,
    taken: &HashSet<i64>,
    room: &[u32],
) -> Option<(i64, usize)> {
    while let Some((_, seq, place)) = from.pop() {
        if room[place] > 0 && !taken.contains(&seq) {
            return Some((seq, place));
        }
    }
    None
}

fn key(order: ClaimOrder, rank: u8, run_at: i64, seq: i64) -> Key {
    match order {
        ClaimOrder::Priority => (rank, run_at, seq),
        ClaimOrder::Fifo => (0, run_at, seq),
        ClaimOrder::Lifo => (0, run_at.saturating_neg(), -seq),
    }
}
