//! A line in which parties take turns: first come, first served within a party, one each between
//! parties.

use std::collections::{HashMap, VecDeque};

/// The line.
pub(super) struct Line<T> {
    parties: HashMap<u64, VecDeque<(u64, T)>>,
    /// The parties that wait, the next one first; each occurs once.
    turns: VecDeque<u64>,
    len: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line {
            parties: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Line<T> {
    /// Appends a waiter to its party's part of the line.
    pub(super) fn push(&mut self, party: u64, ticket: u64, waiter: T) {
        let waiting = self.parties.entry(party).or_default();
        if waiting.is_empty() {
            self.turns.push_back(party);
        }
        waiting.push_back((ticket, waiter));
        self.len += 1;
    }

    /// The waiter whose turn it is.
    pub(super) fn first(&self) -> Option<&T> {
        let party = self.turns.front()?;
        self.parties.get(party)?.front().map(|(_, waiter)| waiter)
    }

    /// Takes out the waiter whose turn it is; its party's next turn comes after those of all
    /// others.
    pub(super) fn pop(&mut self) -> Option<T> {
        let party = self.turns.pop_front()?;
        let waiting = self.parties.get_mut(&party)?;
        let (_, waiter) = waiting.pop_front()?;
        self.len -= 1;
        if waiting.is_empty() {
            self.parties.remove(&party);
        } else {
            self.turns.push_back(party);
        }
        Some(waiter)
    }

    /// Takes out a waiter, if it still waits.
    pub(super) fn remove(&mut self, party: u64, ticket: u64) {
        let Some(waiting) = self.parties.get_mut(&party) else {
            return;
        };
        // Tickets grow, so each party's part is sorted by them.
        let Ok(place) = waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else {
            return;
        };
        waiting.remove(place);
        self.len -= 1;
        if waiting.is_empty() {
            self.parties.remove(&party);
            self.turns.retain(|other| *other != party);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}
