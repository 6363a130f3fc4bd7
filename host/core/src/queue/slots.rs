//! How many attempts may run at once here: between two bounds, as many as there is work for.
//!
//! The number only bounds what is claimed. Attempts that run when it falls go on.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number and its bounds.
#[derive(Debug)]
pub(crate) struct Slots {
    min: usize,
    max: usize,
    now: AtomicUsize,
}

impl Slots {
    /// At first as few as may be; `min` is no more than `max`, and both are at least 1.
    pub(crate) fn between(min: usize, max: usize) -> Slots {
        let max = max.max(1);
        let min = min.clamp(1, max);
        Slots {
            min,
            max,
            now: AtomicUsize::new(min),
        }
    }

    /// How many there are.
    pub(crate) fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    /// How many there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Whether there are as many as there may be.
    pub(crate) fn are_all(&self) -> bool {
        self.now() == self.max
    }

    /// Whether their number never changes.
    pub(crate) fn are_fixed(&self) -> bool {
        self.min == self.max
    }

    /// Twice as many, as far as there may be.
    pub(crate) fn grow(&self) -> usize {
        self.set(self.now().saturating_mul(2).min(self.max))
    }

    /// Half as many, as far as there must be.
    pub(crate) fn shrink(&self) -> usize {
        self.set((self.now() / 2).max(self.min))
    }

    fn set(&self, slots: usize) -> usize {
        self.now.store(slots, Ordering::SeqCst);
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_double_and_halve_between_their_bounds() {
        let slots = Slots::between(3, 10);
        assert_eq!(
            (slots.now(), slots.are_all(), slots.are_fixed()),
            (3, false, false)
        );
        assert_eq!([slots.grow(), slots.grow(), slots.grow()], [6, 10, 10]);
        assert!(slots.are_all());
        assert_eq!([slots.shrink(), slots.shrink(), slots.shrink()], [5, 3, 3]);
        let fixed = Slots::between(7, 7);
        assert!(fixed.are_fixed() && fixed.are_all());
        assert_eq!((fixed.grow(), fixed.shrink(), fixed.max()), (7, 7, 7));
        assert_eq!(Slots::between(9, 4).now(), 4);
        assert_eq!(Slots::between(0, 0).now(), 1);
    }
}
