//! What hosts tell each other, and how it is written.
//!
//! A payload is the sender's name and words behind it: `w` for work, `*` for a look at everything, and
//! ids of tasks. A word that a host does not know is of a newer version, and is passed over.

use std::collections::HashSet;

use uuid::Uuid;

use crate::signals::Signal;
use cofferdam_domain::task::TaskId;

/// Ids in one payload; the server refuses payloads of 8000 bytes and more.
const IDS_MAX: usize = 200;
/// Tasks whose change is told by their ids; if there are more, everybody looks at everything.
const CHANGED_MAX: usize = 4 * IDS_MAX;

const WORK: &str = "w";
const EVERYTHING: &str = "*";

/// Signals that are to be sent together.
#[derive(Default)]
pub(super) struct Told {
    /// The host says that it is there.
    greets: bool,
    work: bool,
    everything: bool,
    changed: HashSet<TaskId>,
}

/// What a payload tells.
pub(super) enum Heard<S> {
    /// What this host said itself.
    Echo,
    /// What another host said.
    Signals(S),
}

impl Told {
    pub(super) fn add(&mut self, signal: Signal) {
        match signal {
            Signal::Work => self.work = true,
            Signal::Everything => self.everything = true,
            Signal::Changed(id) if !self.everything => {
                self.changed.insert(id);
                self.everything = self.changed.len() > CHANGED_MAX;
            }
            Signal::Changed(_) | Signal::Cut => {}
        }
        if self.everything {
            self.changed = HashSet::new();
        }
    }

    /// Says that the host is there, which nobody but the host itself heeds.
    pub(super) fn greet(&mut self) {
        self.greets = true;
    }

    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.greets && !self.work && !self.everything && self.changed.is_empty()
    }

    /// The same as payloads of the host of this name; none if there is nothing to tell.
    pub(super) fn payloads(self, sender: &str) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut first = vec![sender.to_owned()];
        first.extend(self.work.then(|| WORK.to_owned()));
        first.extend(self.everything.then(|| EVERYTHING.to_owned()));
        let ids: Vec<String> = self
            .changed
            .iter()
            .map(|id| id.0.simple().to_string())
            .collect();
        let mut parts = ids.chunks(IDS_MAX);
        first.extend(parts.next().unwrap_or_default().iter().cloned());
        let mut payloads = vec![first.join(" ")];
        payloads.extend(parts.map(|part| format!("{sender} {}", part.join(" "))));
        payloads
    }
}

/// Reads a payload that the host of the name `me` received.
pub(super) fn heard<'a>(payload: &'a str, me: &str) -> Heard<impl Iterator<Item = Signal> + 'a> {
    let mut words = payload.split(' ');
    if words.next() == Some(me) {
        return Heard::Echo;
    }
    Heard::Signals(words.filter_map(|word| match word {
        WORK => Some(Signal::Work),
        EVERYTHING => Some(Signal::Everything),
        id => Uuid::try_parse(id).ok().map(TaskId).map(Signal::Changed),
    }))
}
