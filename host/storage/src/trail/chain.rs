//! The chain: what the hash of an entry is made of, how an entry is named by it, and what can be wrong with one.

use std::fmt;

use sha2::{Digest, Sha256};

use super::{Entry, Hash, Link};
use cofferdam_domain::audit::{Note, Text};

/// What these hashes are for, so that they are those of nothing else.
const PURPOSE: &[u8] = b"cofferdam: an entry of the audit trail, version 1";
/// The action of the entry that stands for those that were removed.
pub(super) const PRUNED: &str = "prune_audit";

/// The hash of a note in its place. Each text goes with its length, so that no two notes are the same bytes.
pub(super) fn hash(seq: u64, note: &Note, previous: &Hash) -> Hash {
    let Note {
        id,
        at,
        tenant,
        actor,
        origin,
        action,
        resource,
        outcome,
        status,
        count,
        detail,
    } = note;
    let mut hash = Sha256::new_with_prefix(PURPOSE);
    hash.update(previous);
    hash.update(seq.to_be_bytes());
    hash.update(id.as_bytes());
    hash.update(at.as_millis().to_be_bytes());
    hash.update(status.to_be_bytes());
    hash.update(count.to_be_bytes());
    let texts = [tenant, actor, origin, action, resource, detail];
    for text in texts
        .map(Text::as_str)
        .into_iter()
        .chain([outcome.as_str()])
    {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

/// The entry that a note becomes after `last`.
pub(crate) fn after(last: Link, note: Note) -> Entry {
    let seq = last.seq + 1;
    Entry {
        hash: hash(seq, &note, &last.hash),
        previous: last.hash,
        seq,
        note,
    }
}

/// The note of what was removed, up to `gone`.
pub(crate) fn pruned(note: Note, gone: Link, count: u64) -> Note {
    Note {
        action: Text::of(PRUNED),
        resource: Text::of(&format!("entries up to {}", gone.seq)),
        detail: Text::of(&gone.to_string()),
        count,
        ..note
    }
}

impl Entry {
    /// Its number and hash.
    pub fn link(&self) -> Link {
        Link {
            seq: self.seq,
            hash: self.hash,
        }
    }
}

/// The number and the hash, as `NUMBER:HEX`.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seq)?;
        self.hash
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not NUMBER:HASH, as `audit verify` prints it")]
pub struct BadLink;

impl std::str::FromStr for Link {
    type Err = BadLink;

    fn from_str(text: &str) -> Result<Link, BadLink> {
        let (seq, hex) = text.split_once(':').ok_or(BadLink)?;
        let seq = seq.parse().map_err(|_| BadLink)?;
        let mut hash = [0; 32];
        if hex.len() != 2 * hash.len() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadLink);
        }
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| BadLink)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| BadLink)?;
        }
        Ok(Link { seq, hash })
    }
}

/// Where a trail is broken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq}: {fault}")]
pub struct Broken {
    /// The number of the entry.
    pub seq: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It was changed.
    #[error("its contents do not have the hash that it was kept with: it was changed")]
    Changed,
    /// It does not follow from the one before.
    #[error(
        "it does not follow from the entry before: one of them was changed with its hash, inserted or moved"
    )]
    Unlinked,
    /// It is not there.
    #[error("it is missing: it was removed, or moved to another place")]
    Missing,
    /// It is there, but what is before it is gone and nobody noted that.
    #[error("what was before it is gone, and the trail itself does not tell of that")]
    Unfounded,
    /// It is behind the last one.
    #[error("it is behind the newest entry that the trail knows of: it was inserted")]
    Surplus,
    /// It has another hash than somebody noted elsewhere.
    #[error("it has another hash than the one that you noted: the trail was made anew")]
    NotAsNoted,
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_domain::audit::Outcome;
    use cofferdam_domain::time::Timestamp;
    use uuid::Uuid;

    fn note(number: u128) -> Note {
        Note {
            id: Uuid::from_u128(number),
            at: Timestamp::from_millis(7),
            tenant: Text::of("default"),
            actor: Text::of("local"),
            origin: Text::of("127.0.0.1"),
            action: Text::of("put_module"),
            resource: Text::of("/v1/modules/echo"),
            outcome: Outcome::Done,
            status: 201,
            count: 1,
            detail: Text::default(),
        }
    }

    #[test]
    fn every_field_is_in_the_hash_and_none_flows_into_the_next() {
        let first = after(Link::default(), note(1));
        let same = |changed: Note| after(Link::default(), changed).hash == first.hash;
        assert!(same(note(1)));
        assert!(!same(note(2)));
        let changes: [fn(&mut Note); 10] = [
            |note| note.at = Timestamp::from_millis(8),
            |note| note.tenant = Text::of("other"),
            |note| note.actor = Text::of("other"),
            |note| note.origin = Text::of("other"),
            |note| note.action = Text::of("other"),
            |note| note.resource = Text::of("other"),
            |note| note.detail = Text::of("other"),
            |note| note.outcome = Outcome::Failed,
            |note| note.status = 200,
            |note| note.count = 2,
        ];
        for change in changes {
            let mut changed = note(1);
            change(&mut changed);
            assert!(!same(changed));
        }
        let (mut one, mut other) = (note(1), note(1));
        (one.tenant, one.actor) = (Text::of("ab"), Text::of("c"));
        (other.tenant, other.actor) = (Text::of("a"), Text::of("bc"));
        let hash = |note| after(Link::default(), note).hash;
        assert_ne!(hash(one), hash(other));
    }

    #[test]
    fn a_link_is_written_and_read() {
        let link = after(Link::default(), note(1)).link();
        assert_eq!(link.to_string().parse(), Ok(link));
        let text = link.to_string();
        for bad in [
            "",
            "1",
            "1:",
            &text[..20],
            &format!("{text}0"),
            "x:00",
            &text.replace(':', ":+"),
        ] {
            assert_eq!(bad.parse::<Link>(), Err(BadLink), "{bad}");
        }
    }
}
