//! How short a host is of memory, as far as that decides what it takes.
//!
//! One part of the host decides it from figures; those that claim, admit and answer ask. There is nothing to
//! wait for here: whoever is refused comes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What a host does about it. Each level includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// It gives up what it keeps to be faster: caches, and interpreters that nobody uses.
    Shed,
    /// It claims no tasks.
    Hold,
    /// It refuses new work.
    Refuse,
}

impl Level {
    /// Every level, the mildest first.
    pub const ALL: [Level; 4] = [Level::None, Level::Shed, Level::Hold, Level::Refuse];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Shed => "shed",
            Level::Hold => "hold",
            Level::Refuse => "refuse",
        }
    }

    /// The next worse level.
    pub fn up(self) -> Level {
        match self {
            Level::None => Level::Shed,
            Level::Shed => Level::Hold,
            Level::Hold | Level::Refuse => Level::Refuse,
        }
    }

    /// The next milder level.
    pub fn down(self) -> Level {
        match self {
            Level::None | Level::Shed => Level::None,
            Level::Hold => Level::Shed,
            Level::Refuse => Level::Hold,
        }
    }
}

/// The level at present. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<AtomicU8>);

/// A host is too short of memory to take new work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this host is short of memory and takes no new work at present (alerts.memory_critical_percent, alerts.memory_critical_bytes)"
)]
pub struct Pressed;

impl Pressure {
    /// The level.
    pub fn level(&self) -> Level {
        let number = usize::from(self.0.load(Ordering::Relaxed));
        Level::ALL.get(number).copied().unwrap_or_default()
    }

    /// Sets it.
    pub fn set(&self, level: Level) {
        self.0.store(level as u8, Ordering::Relaxed);
    }

    /// Whether tasks may be claimed.
    pub fn lets_claim(&self) -> bool {
        self.level() < Level::Hold
    }

    /// Refuses new work while it is too much.
    pub fn lets_in(&self) -> Result<(), Pressed> {
        match self.level() < Level::Refuse {
            true => Ok(()),
            false => Err(Pressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_includes_those_before_it() {
        let pressure = Pressure::default();
        let now = |level| {
            pressure.clone().set(level);
            (pressure.lets_claim(), pressure.lets_in().is_ok())
        };
        let found = Level::ALL.map(now);
        assert_eq!(
            found,
            [(true, true), (true, true), (false, true), (false, false)]
        );
        let (mut up, mut down) = (Level::None, Level::Refuse);
        for level in Level::ALL {
            assert_eq!(level, up);
            up = up.up();
        }
        for level in Level::ALL.into_iter().rev() {
            assert_eq!(level, down);
            down = down.down();
        }
    }
}
