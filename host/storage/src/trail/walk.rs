//! The walk over a trail that finds where it was tampered with.
//!
//! Whoever can write into the database and make hashes can make a whole new chain, so a chain alone proves
//! nothing against them: they are found out by a [`Link`] that somebody noted elsewhere.

use super::chain::{Broken, Fault, PRUNED, hash};
use super::{Ends, Entry, Link, TrailPage};
use cofferdam_domain::audit::Text;

/// What a walk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries it took.
    pub entries: u64,
    /// The ends of the trail when it ended.
    pub ends: Ends,
    /// Where the trail is broken first.
    pub broken: Option<Broken>,
}

/// Walks over a trail, of which `page` gives the entries behind a number, oldest first.
pub fn walk<E>(
    noted: Option<Link>,
    mut page: impl FnMut(Option<u64>) -> Result<TrailPage, E>,
) -> Result<Verified, E> {
    let mut current = page(None)?;
    let mut walk = Walk::from(current.ends, noted);
    loop {
        walk.catch_up(current.ends);
        let broken = current
            .entries
            .iter()
            .find_map(|entry| walk.take(entry).err());
        let (entries, ends) = (walk.entries, current.ends);
        let broken = match (broken, current.next) {
            (None, Some(next)) => {
                current = page(Some(next))?;
                continue;
            }
            (None, None) => walk.end(ends).err(),
            (Some(broken), _) => Some(broken),
        };
        return Ok(Verified {
            entries,
            ends,
            broken,
        });
    }
}

/// A walk over a trail, oldest entry first.
#[derive(Debug)]
struct Walk {
    last: Link,
    entries: u64,
    /// What the trail itself says was removed.
    told: Option<Text>,
    noted: Option<Link>,
}

impl Walk {
    /// From where the trail begins. `noted` is an entry as somebody noted it elsewhere.
    fn from(ends: Ends, noted: Option<Link>) -> Walk {
        Walk {
            last: ends.gone,
            entries: 0,
            told: None,
            noted,
        }
    }

    /// Goes on from where the trail begins by now, if what comes next went meanwhile.
    fn catch_up(&mut self, ends: Ends) {
        if ends.gone.seq > self.last.seq {
            self.last = ends.gone;
        }
    }

    /// Takes the next entry.
    fn take(&mut self, entry: &Entry) -> Result<(), Broken> {
        let expected = self.last.seq + 1;
        if entry.seq != expected {
            return broken(expected, Fault::Missing);
        }
        if hash(entry.seq, &entry.note, &entry.previous) != entry.hash {
            return broken(entry.seq, Fault::Changed);
        }
        if entry.previous != self.last.hash {
            return broken(entry.seq, Fault::Unlinked);
        }
        if entry.note.action.as_str() == PRUNED {
            self.told = Some(entry.note.detail.clone());
        }
        self.last = entry.link();
        self.entries += 1;
        self.check_noted(self.last)
    }

    fn check_noted(&self, link: Link) -> Result<(), Broken> {
        match self.noted {
            Some(noted) if noted.seq == link.seq && noted.hash != link.hash => {
                broken(link.seq, Fault::NotAsNoted)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the walk, with the ends of the trail as they were when its last entry was read.
    fn end(self, ends: Ends) -> Result<(), Broken> {
        let (last, gone) = (self.last.seq, ends.gone.seq);
        if last < ends.head.seq {
            return broken(last + 1, Fault::Missing);
        }
        if last > ends.head.seq {
            return broken(ends.head.seq + 1, Fault::Surplus);
        }
        if self.last.hash != ends.head.hash {
            return broken(last, Fault::Unlinked);
        }
        let is_told = self
            .told
            .is_some_and(|told| told.as_str() == ends.gone.to_string());
        if gone > 0 && !is_told {
            return broken(gone + 1, Fault::Unfounded);
        }
        self.noted.map_or(Ok(()), |noted| {
            // One that was removed since cannot be compared any more.
            match noted.seq > last {
                true => broken(last + 1, Fault::Missing),
                false => Ok(()),
            }
        })
    }
}

fn broken(seq: u64, fault: Fault) -> Result<(), Broken> {
    Err(Broken { seq, fault })
}
