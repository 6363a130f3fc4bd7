//! The audit trail: who changed what, from where, and how it ended; and what was refused.
//!
//! Whoever is about to change something takes a [`Place`] first, so that nothing is changed while the trail
//! cannot be written, and ends it before the change is acknowledged: [`Place::end`] returns when the entry is
//! durable. Of what changed nothing the entry follows ([`Place::end_soon`]). A place that is dropped, because its caller went away, leaves an entry that says so. One task
//! (`writer`) appends the notes of this host, many in a transaction; it has nothing to do with those of tasks.
//! A host that is killed between a change and its entry has not acknowledged the change, and leaves no entry.
//!
//! What was refused has entries, too, but nobody waits for them, and their number is bounded (`refusals`),
//! because strangers and guests choose how often they try.

mod refusals;
pub mod settings;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore};
use tokio::sync::{mpsc, oneshot};

use self::refusals::{Alike, Due, Refusals};
use self::settings::AuditConfig;
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use cofferdam_domain::audit::{Note, Outcome, Text};
use cofferdam_domain::caller::{Caller, Origin, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_sandbox::egress::{EgressEvent, Watch};
use cofferdam_storage::StorageError;
use cofferdam_storage::trail::{Trail, TrailPage, Wanted};

/// Notes that wait to be appended.
const WAITING_MAX: usize = 1024;
/// How long changes wait: for an entry longer than storage tries to write it.
const PATIENCE: Patience = Patience {
    place: Duration::from_secs(5),
    entry: Duration::from_secs(20),
};

/// The audit trail of this host.
pub struct Audit {
    notes: mpsc::Sender<Waiting>,
    /// Refused tries, by their class.
    refused: [Mutex<Refusals>; Refused::ALL.len()],
    storage: Arc<dyn Trail>,
    clock: Clock,
    random: Mutex<StdRng>,
    metrics: Arc<Metrics>,
    config: AuditConfig,
    patience: Patience,
}

/// How long changes wait.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For a place, before they begin.
    place: Duration,
    /// For their entry, once they are done.
    entry: Duration,
}

/// Who did what, while it is not known how it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Act {
    /// Whose right it was.
    pub tenant: Text,
    /// Who.
    pub actor: Text,
    /// From where.
    pub origin: Text,
    /// What.
    pub action: Text,
    /// To what.
    pub resource: Text,
}

/// A class of tries that are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// Somebody showed no key that opens anything.
    Authentication,
    /// A key has not the scope.
    Scope,
    /// A guest wanted to reach what it may not.
    Egress,
}

impl Refused {
    const ALL: [Refused; 3] = [Refused::Authentication, Refused::Scope, Refused::Egress];

    const fn class(self) -> &'static str {
        match self {
            Refused::Authentication => "refused_authentication",
            Refused::Scope => "refused_scope",
            Refused::Egress => "refused_egress",
        }
    }
}

/// What is done, as far as the trail is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It reads, and has no entry.
    Read,
    /// It runs or submits something; it has an entry if the operator wishes.
    Work,
    /// It changes something, and always has an entry.
    Change,
}

/// The trail cannot be written at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritten {
    /// So nothing was done.
    #[error("the audit trail cannot be written, so nothing was changed")]
    NotDone,
    /// So what was done is not acknowledged. Its entry is appended as soon as that can be.
    #[error("it may have been done, but the audit trail cannot be written yet")]
    NotNoted,
}

/// A note on its way to the trail.
struct Waiting {
    note: Note,
    class: &'static str,
    /// Who waits until it is there.
    written: Option<oneshot::Sender<()>>,
}

impl Audit {
    /// The trail in `storage`, which is written until `end` is requested.
    pub fn start(
        storage: Arc<dyn Trail>,
        clock: Clock,
        random: StdRng,
        metrics: Arc<Metrics>,
        config: AuditConfig,
        end: &Shutdown,
    ) -> Arc<Audit> {
        Audit::start_with(PATIENCE, (storage, clock, metrics, config), random, end)
    }

    fn start_with(
        patience: Patience,
        (storage, clock, metrics, config): (Arc<dyn Trail>, Clock, Arc<Metrics>, AuditConfig),
        random: StdRng,
        end: &Shutdown,
    ) -> Arc<Audit> {
        let (notes, waiting) = mpsc::channel(WAITING_MAX);
        let per_hour_max = config.refusals_per_hour_max;
        let refused = Refused::ALL.map(|_| Mutex::new(Refusals::new(per_hour_max, clock.now())));
        let audit = Arc::new(Audit {
            notes,
            refused,
            storage,
            clock,
            random: Mutex::new(random),
            metrics,
            config,
            patience,
        });
        let stop = end.clone();
        end.spawn("audit", writer::run(Arc::clone(&audit), waiting, stop));
        audit
    }

    /// Entries of the trail.
    pub async fn entries(&self, wanted: &Wanted, limit: u32) -> Result<TrailPage, StorageError> {
        self.storage.entries(wanted, limit).await
    }

    /// Whether what is of this kind has entries.
    pub fn notes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Read => false,
            Kind::Work => self.config.runs,
            Kind::Change => true,
        }
    }

    /// A place for what is about to be done.
    pub async fn place(&self, kind: Kind, act: Act) -> Result<Place, Unwritten> {
        let reserved = self.notes.clone().reserve_owned();
        let reserved = tokio::time::timeout(self.patience.place, reserved).await;
        let Ok(Ok(permit)) = reserved else {
            return Err(Unwritten::NotDone);
        };
        let note = self.note(act, Outcome::Abandoned);
        let class = match kind {
            Kind::Read | Kind::Work => "work",
            Kind::Change => "change",
        };
        Ok(Place(Some(Reserved {
            permit,
            note,
            class,
            clock: self.clock.clone(),
            patience: self.patience.entry,
        })))
    }

    /// Notes that a caller was refused, if there were not too many such tries. `code` says why.
    pub fn not_allowed(&self, act: Act, status: u16, code: &'static str) {
        let alike = Alike::of(act.actor.as_str(), act.action.as_str());
        self.refused(Refused::Scope, alike, act, status, code);
    }

    /// The same for somebody who is not known, whatever they tried.
    pub fn not_known(&self, from: Origin, act: Act, status: u16, code: &'static str) {
        let alike = Alike::of(&from.network().to_string(), code);
        self.refused(Refused::Authentication, alike, act, status, code);
    }

    fn refused(&self, class: Refused, alike: Alike, act: Act, status: u16, code: &'static str) {
        let mut refusals = self.refusals(class);
        let now = self.clock.now();
        let has_own = match class {
            Refused::Authentication | Refused::Scope => refusals.take(alike, &act, code, now),
            Refused::Egress => refusals.take_of_run(alike, &act, code, now),
        };
        if !has_own {
            return;
        }
        let note = Note {
            status,
            detail: Text::of(code),
            ..self.note(act, Outcome::Refused)
        };
        let waiting = Waiting {
            note,
            class: class.class(),
            written: None,
        };
        if self.notes.try_send(waiting).is_err() {
            refusals.give_back();
        }
    }

    /// The notes of refused tries that were counted until now.
    fn due(&self, is_end: bool) -> Vec<Waiting> {
        let now = self.clock.now();
        let mut all = Vec::new();
        for class in Refused::ALL {
            let due = self.refusals(class).due(now, is_end);
            all.extend(due.into_iter().map(|due| self.of_many(class, due)));
        }
        all
    }

    fn of_many(&self, class: Refused, due: Due) -> Waiting {
        let (act, detail) = match due.of {
            Some((act, code)) => (act, format!("{code}; more of the same within a minute")),
            None => {
                let act = Act {
                    actor: Text::of("several"),
                    action: Text::of(class.class()),
                    ..Act::default()
                };
                (act, "too many for entries of their own".to_owned())
            }
        };
        Waiting {
            note: Note {
                count: due.count,
                detail: Text::of(&detail),
                ..self.note(act, Outcome::Refused)
            },
            class: class.class(),
            written: None,
        }
    }

    fn note(&self, act: Act, outcome: Outcome) -> Note {
        let at = self.clock.now();
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = [0; 10];
        random.fill_bytes(&mut bytes);
        drop(random);
        Note {
            id: at.uuid(&bytes),
            at,
            tenant: act.tenant,
            actor: act.actor,
            origin: act.origin,
            action: act.action,
            resource: act.resource,
            outcome,
            status: 0,
            count: 1,
            detail: Text::default(),
        }
    }

    fn refusals(&self, class: Refused) -> std::sync::MutexGuard<'_, Refusals> {
        let refused = &self.refused[class as usize];
        refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wait of about this length, so that hosts do not all come back in the same moment.
    fn jittered(&self, wait: Duration) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        wait.mul_f64(random.random_range(0.5..1.0))
    }
}

impl Act {
    /// What a caller does. `operator` is what a caller without a key of storage's is called who asks from
    /// elsewhere.
    pub fn of(caller: &Caller, operator: &str, action: &str, resource: &str) -> Act {
        let key = caller.key().map(|key| key.to_string());
        let actor = match (&key, caller.from()) {
            (Some(key), _) => key.as_str(),
            (None, Origin::Here) => "host",
            (None, Origin::Peer(_)) => operator,
        };
        Act {
            tenant: Text::of(caller.tenant().as_str()),
            actor: Text::of(actor),
            origin: Text::of(&caller.from().to_string()),
            action: Text::of(action),
            resource: Text::of(resource),
        }
    }
}

/// A place in the trail for something that is about to be done.
pub struct Place(Option<Reserved>);

struct Reserved {
    permit: mpsc::OwnedPermit<Waiting>,
    note: Note,
    class: &'static str,
    clock: Clock,
    patience: Duration,
}

/// How what was done ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whether it was done.
    pub outcome: Outcome,
    /// The status of its answer.
    pub status: u16,
    /// The code of a refusal or failure.
    pub code: Option<&'static str>,
    /// What came of it, if the act did not name that.
    pub made: Option<Text>,
}

impl Place {
    /// Notes how it ended, and waits until the entry is durable.
    pub async fn end(mut self, ended: Ended) -> Result<(), Unwritten> {
        let patience = self
            .0
            .as_ref()
            .map_or(PATIENCE.entry, |place| place.patience);
        let (written, waits) = oneshot::channel();
        self.send(Some(ended), Some(written));
        let waited = tokio::time::timeout(patience, waits).await;
        match waited {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unwritten::NotNoted),
        }
    }

    /// Notes how it ended. The entry is durable a moment later.
    pub fn end_soon(mut self, ended: Ended) {
        self.send(Some(ended), None);
    }

    fn send(&mut self, ended: Option<Ended>, written: Option<oneshot::Sender<()>>) {
        let Some(reserved) = self.0.take() else {
            return;
        };
        let mut note = Note {
            at: reserved.clock.now(),
            ..reserved.note
        };
        if let Some(ended) = ended {
            (note.outcome, note.status) = (ended.outcome, ended.status);
            note.detail = Text::of(ended.code.unwrap_or_default());
            note.resource = ended.made.unwrap_or(note.resource);
        }
        reserved.permit.send(Waiting {
            note,
            class: reserved.class,
            written,
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.send(None, None);
    }
}

/// Hears of callbacks that a rule kept back as they were to be sent: a task or batch has at most one host to be told,
/// so what a tenant has refused at one place is alike.
pub struct OfCallbacks(pub Arc<Audit>);

impl Watch for OfCallbacks {
    fn refused(&self, event: &EgressEvent<'_>) {
        let tenant = event.tenant.map_or("", Tenant::as_str);
        let act = Act {
            tenant: Text::of(tenant),
            actor: Text::of("callback"),
            origin: Text::of(&format!("{} {}", event.method, event.place)),
            action: Text::of(Refused::Egress.class()),
            resource: Text::of(event.run),
        };
        let code = event.error.code().as_str();
        let alike = Alike::of(&format!("callbacks of {tenant}"), event.place);
        self.0.refused(Refused::Egress, alike, act, 0, code);
    }
}

impl Watch for Audit {
    fn refused(&self, event: &EgressEvent<'_>) {
        let resource = match event.run {
            "" => format!("a run of {}", event.program),
            task => format!("/v1/tasks/{task}"),
        };
        let act = Act {
            tenant: Text::of(event.tenant.map_or("", Tenant::as_str)),
            actor: Text::of("guest"),
            // Where it was to go; it came from the guest.
            origin: Text::of(&format!("{} {}", event.method, event.place)),
            action: Text::of(Refused::Egress.class()),
            resource: Text::of(&resource),
        };
        let code = event.error.code().as_str();
        let alike = Alike::of(&resource, event.place);
        Audit::refused(self, Refused::Egress, alike, act, 0, code);
    }
}
