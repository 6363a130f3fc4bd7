//! A line in which callers take turns, and the modules of each caller: one run each between callers,
//! one each between the modules of one, and first come, first served within a module.

use std::collections::{HashMap, VecDeque};

/// With whom a run stands in line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Whose run it is.
    pub caller: u64,
    /// What it runs.
    pub module: u64,
}

/// The line.
pub(super) struct Line<T> {
    callers: HashMap<u64, Of<T>>,
    /// The callers that wait, the next one first; each occurs once.
    turns: VecDeque<u64>,
    len: usize,
}

/// What one caller has in the line.
struct Of<T> {
    modules: HashMap<u64, VecDeque<(u64, T)>>,
    /// The modules that wait, the next one first; each occurs once.
    turns: VecDeque<u64>,
    len: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line {
            callers: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Line<T> {
    /// Appends a waiter to its party's part of the line.
    pub(super) fn push(&mut self, party: Party, ticket: u64, waiter: T) {
        let of = self.callers.entry(party.caller).or_insert_with(|| Of {
            modules: HashMap::new(),
            turns: VecDeque::new(),
            len: 0,
        });
        if of.len == 0 {
            self.turns.push_back(party.caller);
        }
        let waiting = of.modules.entry(party.module).or_default();
        if waiting.is_empty() {
            of.turns.push_back(party.module);
        }
        waiting.push_back((ticket, waiter));
        of.len += 1;
        self.len += 1;
    }

    /// The waiter whose turn it is.
    pub(super) fn first(&self) -> Option<&T> {
        let of = self.callers.get(self.turns.front()?)?;
        let waiting = of.modules.get(of.turns.front()?)?;
        waiting.front().map(|(_, waiter)| waiter)
    }

    /// Takes out the waiter whose turn it is. The next turn of its caller comes after those of all
    /// others, and that of its module after those of the caller's other modules.
    pub(super) fn pop(&mut self) -> Option<T> {
        let caller = self.turns.pop_front()?;
        let of = self.callers.get_mut(&caller)?;
        let module = of.turns.pop_front()?;
        let waiting = of.modules.get_mut(&module)?;
        let (_, waiter) = waiting.pop_front()?;
        match waiting.is_empty() {
            true => drop(of.modules.remove(&module)),
            false => of.turns.push_back(module),
        }
        of.len -= 1;
        match of.len {
            0 => drop(self.callers.remove(&caller)),
            _ => self.turns.push_back(caller),
        }
        self.len -= 1;
        Some(waiter)
    }

    /// Takes out a waiter, if it still waits.
    pub(super) fn remove(&mut self, party: Party, ticket: u64) {
        let Some(of) = self.callers.get_mut(&party.caller) else {
            return;
        };
        let Some(waiting) = of.modules.get_mut(&party.module) else {
            return;
        };
        // Tickets grow, so each part is sorted by them.
        let Ok(place) = waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) else {
            return;
        };
        waiting.remove(place);
        if waiting.is_empty() {
            of.modules.remove(&party.module);
            of.turns.retain(|other| *other != party.module);
        }
        of.len -= 1;
        if of.len == 0 {
            self.callers.remove(&party.caller);
            self.turns.retain(|other| *other != party.caller);
        }
        self.len -= 1;
    }

    /// How many of a caller's wait.
    pub(super) fn len_of(&self, caller: u64) -> usize {
        self.callers.get(&caller).map_or(0, |of| of.len)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}
