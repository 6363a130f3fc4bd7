//! The names of sessions: which one, and at which host.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use cofferdam_domain::attempt::WorkerId;

/// A session's name. Whoever of its tenant knows it may use the session, so its first part is drawn at
/// random. The second one is the process that keeps the session: so every host knows at once where it is, or that it
/// is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    own: Uuid,
    worker: WorkerId,
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.own, self.worker.0)
    }
}

impl SessionId {
    /// The name of a session that `worker` keeps; `own` is drawn at random.
    pub(crate) fn new(own: Uuid, worker: WorkerId) -> SessionId {
        SessionId { own, worker }
    }

    /// The session's public name, from which nobody can find the id.
    pub fn handle(self) -> String {
        let hash = Sha256::new()
            .chain_update(b"cofferdam session handle\0")
            .chain_update(self.own.as_bytes())
            .finalize();
        let digits = hash.iter().take(8).map(|byte| format!("{byte:02x}"));
        digits.collect()
    }

    /// Reads a name as it is written.
    pub fn parse(text: &str) -> Option<SessionId> {
        let uuid = |part: &str| {
            let uuid = Uuid::try_parse(part).ok()?;
            // Only the form with hyphens, which names a session in one way.
            (part.len() == uuid::fmt::Hyphenated::LENGTH).then_some(uuid)
        };
        let (own, worker) = text.split_once('.')?;
        Some(SessionId {
            own: uuid(own)?,
            worker: WorkerId(uuid(worker)?),
        })
    }

    /// What tells it from the others of its host.
    pub(crate) fn own(self) -> Uuid {
        self.own
    }

    /// The process that keeps it.
    pub fn worker(self) -> WorkerId {
        self.worker
    }
}
