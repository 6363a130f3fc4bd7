//! Refused tries, of which a caller or a guest can make any number: the first of its kind has an entry at once,
//! those like it within the minute share a second one, and what is too much for the hour is only counted.

use std::collections::HashMap;
use std::time::Duration;

use super::Act;
use cofferdam_domain::time::Timestamp;

/// For how long tries that are alike are counted together.
pub(super) const TOGETHER: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The entries that a kind of try takes of those of an hour: its first, and the one of all like it.
const ENTRIES: u64 = 2;
/// Kinds of tries that one run has in a minute; the rest of its tries are of one kind.
const KINDS_OF_RUN_MAX: usize = 8;

/// The tries of one class.
pub(super) struct Refusals {
    per_hour_max: u64,
    hour: Timestamp,
    /// Entries of this hour.
    entries: u64,
    minute: Timestamp,
    alike: HashMap<Alike, Tried>,
    /// Tries for which this hour has no entries left.
    others: u64,
}

/// What tries that are counted together have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Alike {
    /// Who tried: a network, a key, a run.
    pub(super) who: String,
    /// What they tried.
    pub(super) what: String,
}

impl Alike {
    pub(super) fn of(who: &str, what: &str) -> Alike {
        Alike {
            who: who.to_owned(),
            what: what.to_owned(),
        }
    }
}

struct Tried {
    act: Act,
    code: &'static str,
    /// Tries beyond the first.
    more: u64,
}

/// Tries that are to have an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The first of them; none if they are not alike.
    pub(super) of: Option<(Act, &'static str)>,
    /// How many.
    pub(super) count: u64,
}

impl Refusals {
    pub(super) fn new(per_hour_max: u64, now: Timestamp) -> Refusals {
        Refusals {
            per_hour_max,
            hour: now,
            entries: 0,
            minute: now,
            alike: HashMap::new(),
            others: 0,
        }
    }

    /// Takes a try; whether it is to have an entry of its own at once.
    pub(super) fn take(
        &mut self,
        alike: Alike,
        act: &Act,
        code: &'static str,
        now: Timestamp,
    ) -> bool {
        if let Some(tried) = self.alike.get_mut(&alike) {
            tried.more += 1;
            return false;
        }
        if now.since(self.hour) >= HOUR {
            (self.hour, self.entries) = (now, 0);
        }
        if self.entries + ENTRIES > self.per_hour_max {
            self.others += 1;
            return false;
        }
        self.entries += ENTRIES;
        let tried = Tried {
            act: act.clone(),
            code,
            more: 0,
        };
        self.alike.insert(alike, tried);
        true
    }

    /// The same for a try of a run, which may be of many kinds.
    pub(super) fn take_of_run(
        &mut self,
        alike: Alike,
        act: &Act,
        code: &'static str,
        now: Timestamp,
    ) -> bool {
        if self.alike.contains_key(&alike) {
            return self.take(alike, act, code, now);
        }
        let kinds = self.alike.keys().filter(|other| other.who == alike.who);
        let alike = match kinds.count() < KINDS_OF_RUN_MAX {
            true => alike,
            false => Alike {
                what: "anything else".to_owned(),
                ..alike
            },
        };
        self.take(alike, act, code, now)
    }

    /// An entry that could not be kept was counted for nothing.
    pub(super) fn give_back(&mut self) {
        self.others += 1;
    }

    /// What is to have an entry now: nothing until the minute is over, unless this is the end.
    pub(super) fn due(&mut self, now: Timestamp, is_end: bool) -> Vec<Due> {
        if now.since(self.minute) < TOGETHER && !is_end {
            return Vec::new();
        }
        self.minute = now;
        let tried = self.alike.drain().map(|(_, tried)| tried);
        let more = tried.filter(|tried| tried.more > 0).map(|tried| Due {
            of: Some((tried.act, tried.code)),
            count: tried.more,
        });
        let mut due: Vec<Due> = more.collect();
        let others = std::mem::take(&mut self.others);
        due.extend((others > 0).then_some(Due {
            of: None,
            count: others,
        }));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn alike(who: u32, what: u32) -> Alike {
        Alike {
            who: who.to_string(),
            what: what.to_string(),
        }
    }

    #[test]
    fn what_is_alike_has_two_entries_a_minute() {
        let mut refusals = Refusals::new(100, at(0));
        let act = Act::default();
        let mut take = |now| refusals.take(alike(1, 1), &act, "no", now);
        assert!(take(at(1)));
        assert!((0..9999).all(|_| !take(at(2))));
        assert_eq!(refusals.due(at(59), false), []);
        let due = refusals.due(at(60), false);
        let of = Some((act.clone(), "no"));
        assert_eq!(due, [Due { of, count: 9999 }]);
        assert_eq!(refusals.due(at(120), false), []);
        assert!(refusals.take(alike(1, 1), &act, "no", at(121)));
        assert_eq!(refusals.due(at(122), true), []);
    }

    #[test]
    fn an_hour_has_so_many_entries_whoever_tries() {
        let (mut refusals, act) = (Refusals::new(10, at(0)), Act::default());
        let mut entries = 0;
        for second in 0..3600 {
            let own = refusals.take(
                alike(u32::try_from(second).unwrap(), 1),
                &act,
                "no",
                at(second),
            );
            entries += usize::from(own);
            let due = refusals.due(at(second), false);
            entries += due.iter().filter(|due| due.of.is_some()).count();
        }
        assert_eq!(entries, 5);
        let due = refusals.due(at(3600), true);
        assert_eq!(due.iter().map(|due| &due.of).collect::<Vec<_>>(), [&None]);
        assert!(refusals.take(alike(0, 1), &act, "no", at(3600)));
    }

    #[test]
    fn a_run_has_few_kinds_of_tries() {
        let (mut refusals, act) = (Refusals::new(1000, at(0)), Act::default());
        let own = (0..100).filter(|what| refusals.take_of_run(alike(1, *what), &act, "no", at(0)));
        assert_eq!(own.count(), KINDS_OF_RUN_MAX + 1);
        assert!(refusals.take_of_run(alike(2, 0), &act, "no", at(0)));
        let due = refusals.due(at(60), false);
        assert_eq!(due.iter().map(|due| due.count).collect::<Vec<_>>(), [91]);
    }
}
