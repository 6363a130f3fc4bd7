//! Schedules: what is submitted again and again, and when.
//!
//! The instants themselves are computed in `core`, which knows time zones; storage keeps what is here and finds
//! what is due.

use std::time::Duration;

use crate::caller::Tenant;
use crate::task::TaskId;
use crate::time::Timestamp;
use crate::workflow::WorkflowId;

/// A schedule's name within its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleName(String);

impl ScheduleName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Reads a name: `[a-z0-9][a-z0-9._-]{0,127}`.
    pub fn parse(text: &str) -> Result<ScheduleName, BadScheduleName> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts_well = text.bytes().next().is_some_and(plain);
        let allowed = |byte: u8| plain(byte) || b"._-".contains(&byte);
        match starts_well && text.len() <= ScheduleName::BYTES_MAX && text.bytes().all(allowed) {
            true => Ok(ScheduleName(text.to_owned())),
            false => Err(BadScheduleName),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not a schedule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a schedule's name is 1 to 128 of a-z 0-9 . _ - and begins with a letter or digit")]
pub struct BadScheduleName;

/// The instants of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timetable {
    /// Those of a cron pattern.
    Cron {
        /// Five fields, or six with seconds.
        pattern: String,
        /// The name of the time zone whose clock it goes by.
        time_zone: String,
    },
    /// One after the other, from when the schedule was put.
    Every(Duration),
}

/// What becomes of instants at which nobody was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// They are passed over.
    #[default]
    None,
    /// The last of them is made up for.
    One,
    /// All of them are, in their order.
    All,
}

impl CatchUp {
    /// Every word.
    pub const ALL: [CatchUp; 3] = [CatchUp::None, CatchUp::One, CatchUp::All];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            CatchUp::None => "none",
            CatchUp::One => "one",
            CatchUp::All => "all",
        }
    }

    /// What that word means.
    pub fn parse(word: &str) -> Option<CatchUp> {
        CatchUp::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// What becomes of a firing while the task of the last one is not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Both go on.
    #[default]
    Allow,
    /// There is none.
    Skip,
    /// The last task is cancelled.
    Cancel,
}

impl Overlap {
    /// Every word.
    pub const ALL: [Overlap; 3] = [Overlap::Allow, Overlap::Skip, Overlap::Cancel];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Overlap::Allow => "allow",
            Overlap::Skip => "skip",
            Overlap::Cancel => "cancel",
        }
    }

    /// What that word means.
    pub fn parse(word: &str) -> Option<Overlap> {
        Overlap::ALL.into_iter().find(|it| it.as_str() == word)
    }
}

/// What a tenant says of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// When it fires.
    pub timetable: Timetable,
    /// What is submitted.
    pub what: Scheduled,
    /// What becomes of missed instants.
    pub catch_up: CatchUp,
    /// What becomes of a firing while the last task goes on.
    pub overlap: Overlap,
    /// Whether it fires at all.
    pub paused: bool,
}

/// What a schedule submits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// A task, as the JSON of a submission.
    Task(String),
    /// A workflow, the same.
    Workflow(String),
}

impl Scheduled {
    /// The JSON.
    pub fn text(&self) -> &str {
        match self {
            Scheduled::Task(text) | Scheduled::Workflow(text) => text,
        }
    }
}

/// What was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A task.
    Task(TaskId),
    /// A workflow.
    Workflow(WorkflowId),
}

/// A schedule as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name.
    pub name: ScheduleName,
    /// What was said of it.
    pub plan: Plan,
    /// Differs each time that it is put, so that no firing of an earlier one is taken for one of this.
    pub revision: u64,
    /// The instant that is next; none if it is paused or has no more.
    pub next_at: Option<Timestamp>,
    /// The last instant that something came of.
    pub last: Option<Firing>,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last put.
    pub updated_at: Timestamp,
}

/// What came of an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    /// The instant, as it was planned.
    pub at: Timestamp,
    /// What was done.
    pub outcome: Fired,
}

/// What was done at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// This was submitted.
    Submitted(Work),
    /// Nothing, because what an earlier firing submitted went on: this.
    Skipped(Work),
    /// It could not be submitted, for this reason.
    Refused(String),
}

impl Fired {
    /// The word of the API.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Fired::Submitted(_) => "submitted",
            Fired::Skipped(_) => "skipped",
            Fired::Refused(_) => "refused",
        }
    }

    /// What the schedule submitted last.
    pub const fn work(&self) -> Option<Work> {
        match self {
            Fired::Submitted(work) | Fired::Skipped(work) => Some(*work),
            Fired::Refused(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "nightly-report_2.1", &"a".repeat(128)] {
            assert_eq!(ScheduleName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a/b", "a b", "é", &"a".repeat(129)] {
            assert_eq!(ScheduleName::parse(bad), Err(BadScheduleName), "{bad}");
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in CatchUp::ALL {
            assert_eq!(CatchUp::parse(word.as_str()), Some(word));
        }
        for word in Overlap::ALL {
            assert_eq!(Overlap::parse(word.as_str()), Some(word));
        }
        assert_eq!((CatchUp::parse("two"), Overlap::parse("")), (None, None));
    }
}
