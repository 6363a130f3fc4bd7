//! The budget of a check, counted while it works.
//!
//! Every step of a check is paid for in advance, so a check ends soon after its budget does,
//! whatever the schema and the input are. The budget does not read a clock: the caller decides what
//! happens when the granted steps are used up.

/// Steps of one grant, which take some hundred microseconds.
const GRANT_STEPS: u64 = 10_000;

/// The budget of one check.
pub(super) struct Budget<'a> {
    left: u64,
    more: &'a mut dyn FnMut() -> bool,
}

/// Why a check ended without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its budget is used up.
    Spent,
    /// The input nests deeper than a check follows.
    TooDeep,
}

impl<'a> Budget<'a> {
    /// A budget of `steps`, after which `more` says whether the check goes on.
    pub(super) fn new(steps: u64, more: &'a mut dyn FnMut() -> bool) -> Budget<'a> {
        Budget { left: steps, more }
    }

    /// Pays for `steps`.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Stopped> {
        let mut owed = steps;
        while owed > self.left {
            owed -= self.left;
            self.left = 0;
            if !(self.more)() {
                return Err(Stopped::Spent);
            }
            // A step that costs more than a grant is still one step, because it cannot be
            // interrupted.
            self.left = GRANT_STEPS.max(owed);
        }
        self.left -= owed;
        Ok(())
    }

    /// Pays for work on a number of bytes that costs almost nothing for each byte.
    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), Stopped> {
        self.spend(1 + bytes as u64 / 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_spent_that_was_not_given() {
        let mut asked = 0;
        let mut more = || {
            asked += 1;
            asked < 3
        };
        let mut budget = Budget::new(5, &mut more);
        assert_eq!(budget.spend(3), Ok(()));
        assert_eq!(budget.spend(4), Ok(()));
        assert_eq!(budget.spend(GRANT_STEPS - 2), Ok(()));
        assert_eq!(budget.spend(GRANT_STEPS), Ok(()));
        assert_eq!(budget.spend(1), Err(Stopped::Spent));
        assert_eq!(asked, 3);
    }

    #[test]
    fn bytes_cost_a_step_and_another_for_each_32() {
        for (bytes, steps) in [(0, 1), (31, 1), (32, 2), (640, 21)] {
            let mut more = || false;
            assert_eq!(Budget::new(steps, &mut more).spend_bytes(bytes), Ok(()));
            let mut less = Budget::new(steps - 1, &mut more);
            assert_eq!(less.spend_bytes(bytes), Err(Stopped::Spent));
        }
    }
}
