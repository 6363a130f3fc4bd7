//! Places of one kind that callers take turns for, where nothing else is admitted: no pool of
//! instances, no memory.

use crate::admission::{Admission, Admitted, Door, Need, NoRoom, NotAdmitted, Patience};
use cofferdam_domain::memory::{Budget, Share, Shares};

/// The places.
pub struct Places(Admission);

/// A place, given up when dropped.
#[must_use]
pub struct Taken {
    _admitted: Admitted,
}

impl Places {
    /// So many places, at least one. No caller has more than `waiting_max` waiting for one.
    pub fn new(count: usize, waiting_max: usize) -> Places {
        let no_memory = Shares {
            guests: Share::NONE,
            compiles: Share::NONE,
            bodies: Share::NONE,
        };
        let slots = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let memory = Budget::new(0, no_memory);
        Places(Admission::with_line([slots, 0, 0], memory, 0, waiting_max))
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.occupancy().waiting
    }

    /// A place, for which it waits as long as `patience` says.
    pub async fn take(&self, patience: &Patience) -> Result<Taken, NoRoom> {
        let need = Need {
            memory_bytes: 0,
            slots: 1,
        };
        match self.0.admit(Door::Guests, need, patience).await {
            Ok(admitted) => Ok(Taken {
                _admitted: admitted,
            }),
            Err(NotAdmitted::NoRoom(no_room)) => Err(no_room),
            Err(NotAdmitted::Never(never)) => {
                unreachable!("there is at least one place: {never}")
            }
        }
    }
}
