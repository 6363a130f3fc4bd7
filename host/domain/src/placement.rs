//! Which workers a task is for: what they must have, and whose it is at first.
//!
//! Who can run it is decided here, once for every database and for what a task's status says.

use std::time::Duration;

use crate::attempt::WorkerId;
use crate::worker::{BadName, Capability, Profile, WorkerName};

/// The most capabilities that a task may require.
pub const REQUIRES_MAX: usize = 16;

/// A worker by its id or by its name: both are written in the characters of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferred(WorkerName);

impl Preferred {
    /// Reads an id or a name.
    pub fn parse(text: &str) -> Result<Preferred, BadName> {
        Ok(Preferred(WorkerName::parse(text)?))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn is(&self, id: WorkerId, name: &WorkerName) -> bool {
        self.0 == *name || self.as_str().eq_ignore_ascii_case(&id.0.to_string())
    }
}

/// Which workers a task is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    requires: Vec<Capability>,
    preferred: Option<Preferred>,
}

/// Whether a worker may take a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayTake {
    /// It lacks something.
    Never,
    /// As soon as it is due.
    WhenDue,
    /// Another is preferred: when it has been due for so long.
    After(Duration),
}

impl Placement {
    /// For workers that have all of these, and at first for the one that is preferred.
    pub fn new(mut requires: Vec<Capability>, preferred: Option<Preferred>) -> Placement {
        requires.sort_unstable();
        requires.dedup();
        Placement {
            requires,
            preferred,
        }
    }

    /// What a worker must have; in order, each once.
    pub fn requires(&self) -> &[Capability] {
        &self.requires
    }

    /// Whose it is at first.
    pub fn preferred(&self) -> Option<&Preferred> {
        self.preferred.as_ref()
    }

    /// What of it tells workers apart: without what every worker has.
    pub fn distinctive(&self) -> Placement {
        let common = Capability::of_every_worker();
        let requires = self.requires.iter();
        let requires = requires.filter(|capability| !common.contains(capability));
        Placement {
            requires: requires.cloned().collect(),
            preferred: self.preferred.clone(),
        }
    }

    /// Whether any worker may take it at once.
    pub fn is_open(&self) -> bool {
        self.requires.is_empty() && self.preferred.is_none()
    }

    /// Whether a worker has everything that is required.
    pub fn is_met_by(&self, profile: &Profile) -> bool {
        let common = Capability::of_every_worker();
        let has =
            |capability| profile.capabilities.contains(capability) || common.contains(capability);
        self.requires.iter().all(has)
    }

    /// Whether a worker may take it; others than the preferred one wait for `grace`.
    pub fn may_be_taken_by(&self, id: WorkerId, profile: &Profile, grace: Duration) -> MayTake {
        match &self.preferred {
            _ if !self.is_met_by(profile) => MayTake::Never,
            Some(preferred) if !preferred.is(id, &profile.name) => MayTake::After(grace),
            Some(_) | None => MayTake::WhenDue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const ID: WorkerId = WorkerId(uuid::Uuid::from_u128(0xabc));
    const GRACE: Duration = Duration::from_secs(5);

    fn profile(capabilities: &[&str]) -> Profile {
        Profile {
            name: WorkerName::parse("Big-1").unwrap(),
            address: None,
            capabilities: all(capabilities),
            version: String::new(),
            started_at: Timestamp::EPOCH,
        }
    }

    fn all(names: &[&str]) -> Vec<Capability> {
        let names = names.iter().map(|name| Capability::parse(name).unwrap());
        names.collect()
    }

    fn preferring(text: &str) -> Option<Preferred> {
        Some(Preferred::parse(text).unwrap())
    }

    #[test]
    fn a_worker_needs_all_that_is_required() {
        let placement = Placement::new(all(&["gpu", "group:eu", "cpu", "gpu"]), None);
        assert_eq!(placement.requires(), all(&["cpu", "gpu", "group:eu"]));
        let may =
            |capabilities: &[&str]| placement.may_be_taken_by(ID, &profile(capabilities), GRACE);
        assert_eq!(may(&["gpu", "group:eu", "x"]), MayTake::WhenDue);
        assert_eq!(may(&["gpu"]), MayTake::Never);
        assert_eq!(may(&[]), MayTake::Never);
        assert!(Placement::new(all(&["cpu", "sandbox"]), None).is_met_by(&profile(&[])));
    }

    #[test]
    fn others_wait_for_the_preferred_worker_by_id_or_by_name() {
        let may = |text: &str| {
            let placement = Placement::new(Vec::new(), preferring(text));
            placement.may_be_taken_by(ID, &profile(&[]), GRACE)
        };
        assert_eq!(may("Big-1"), MayTake::WhenDue);
        assert_eq!(may("big-1"), MayTake::After(GRACE));
        assert_eq!(
            may("00000000-0000-0000-0000-000000000ABC"),
            MayTake::WhenDue
        );
        assert_eq!(
            may("00000000-0000-0000-0000-000000000abd"),
            MayTake::After(GRACE)
        );
        let both = Placement::new(all(&["gpu"]), preferring("Big-1"));
        assert_eq!(
            both.may_be_taken_by(ID, &profile(&[]), GRACE),
            MayTake::Never
        );
        assert_eq!(Preferred::parse("a b"), Err(BadName));
    }

    #[test]
    fn what_every_worker_has_tells_none_apart() {
        let common = Placement::new(all(&["cpu", "sandbox"]), None);
        assert!(!common.is_open() && common.distinctive().is_open());
        assert!(Placement::default().is_open());
        let preferred = Placement::new(all(&["cpu"]), preferring("a"));
        let kept = preferred.distinctive();
        assert!(!kept.is_open());
        assert_eq!(kept.preferred(), preferring("a").as_ref());
        let gpu = Placement::new(all(&["cpu", "gpu"]), None);
        assert_eq!(gpu.distinctive(), Placement::new(all(&["gpu"]), None));
    }
}
