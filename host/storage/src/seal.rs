//! Sealing: bytes are kept so that only a host with the operator's keys can read them, and so that what was
//! changed or put in another's place is noticed.
//!
//! Each value is sealed by itself with AES-256-GCM-SIV under a key of its tenant, which HKDF derives from one
//! of the operator's; its place (table, column, row) is authenticated with it. A sealed value begins with a
//! mark, so that what was written before there were keys is read as it is; a value that begins with the mark
//! by itself gets it once more. What is sealed where is not known here.

pub(crate) mod keys;
pub(crate) mod pieces;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aes_gcm_siv::{AeadInOut, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

pub use self::keys::EncryptionKeys;
use self::keys::{EncryptionKey, KeyId};
use crate::StorageError;

/// How every value begins that is not kept as it came.
const MARK: &[u8; 6] = b"\0cfd\xff\x5e";
/// Behind the mark: a plain value that begins with the mark.
const PLAIN: u8 = 0;
/// Behind the mark: a sealed value of this version.
const SEALED: u8 = 1;

/// The same for texts, whose sealed form is in base64; the last character is that of a plain one.
const TEXT_MARK: &str = "\u{1}cfd:";
const PLAIN_TEXT: char = '=';

const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// The head without the tenant's name: the mark, the version, the key's id, the length of that name.
const HEAD_BYTES: usize = MARK.len() + 1 + ID_BYTES + 1;

/// Whether a kept value is sealed.
pub(crate) fn is_sealed(kept: &[u8]) -> bool {
    kept.strip_prefix(MARK)
        .is_some_and(|rest| rest.first() == Some(&SEALED))
}

/// How long a kept value is once it is opened.
pub(crate) fn plain_bytes(kept: &[u8]) -> usize {
    let sealed = is_sealed(kept).then(|| Parts::of(kept)).flatten();
    sealed.map_or(kept.len(), |parts| parts.body.len())
}

/// Whether a kept value is not as it came.
pub(crate) fn is_marked(kept: &[u8]) -> bool {
    kept.starts_with(MARK)
}

/// Whether a kept text is sealed.
pub(crate) fn is_sealed_text(kept: &str) -> bool {
    kept.strip_prefix(TEXT_MARK)
        .is_some_and(|rest| !rest.starts_with(PLAIN_TEXT))
}

/// Where a value is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// Whose it is; empty where that does not matter.
    pub(crate) tenant: &'a str,
    /// The table, and the column.
    pub(crate) column: (&'static str, &'static str),
    /// What names the row among those of its table.
    pub(crate) row: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place {
            tenant,
            column: (table, column),
            row,
        } = self;
        write!(f, "{column} of {row} in {table}")?;
        match tenant.is_empty() {
            true => Ok(()),
            false => write!(f, " of the tenant {tenant}"),
        }
    }
}

/// Seals and opens with the operator's keys.
pub(crate) struct Sealer {
    keys: Vec<(KeyId, EncryptionKey)>,
    random: Mutex<StdRng>,
}

/// Nothing of the keys is shown.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.keys.len())
    }
}

/// One without keys.
impl Default for Sealer {
    fn default() -> Sealer {
        Sealer::new(&EncryptionKeys::default(), StdRng::seed_from_u64(0))
    }
}

impl Sealer {
    /// A sealer with these keys. `random` makes the nonces.
    pub(crate) fn new(keys: &EncryptionKeys, random: StdRng) -> Sealer {
        Sealer {
            keys: keys.iter().map(|key| (key.id(), key.clone())).collect(),
            random: Mutex::new(random),
        }
    }

    fn random(&self) -> MutexGuard<'_, StdRng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has a key to seal with.
    pub(crate) fn seals(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether something may be sealed with a key that seals no more.
    pub(crate) fn has_others(&self) -> bool {
        self.keys.len() > 1
    }

    /// Whether a value is sealed with the key that seals now.
    pub(crate) fn is_newest(&self, sealed: &[u8]) -> bool {
        let id = Parts::of(sealed).map(|parts| parts.id);
        self.keys.first().map(|(newest, _)| *newest) == id
    }

    /// How everything begins that is sealed with the first key; `None` without keys.
    pub(crate) fn begins(&self) -> Option<Begins> {
        let (id, _) = self.keys.first()?;
        let bytes = [MARK.as_slice(), &[SEALED], &id.0].concat();
        let text = STANDARD_NO_PAD.encode(&bytes);
        Some(Begins { bytes, text })
    }

    /// The sealed form; `None` without keys.
    pub(crate) fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Option<Vec<u8>> {
        let (id, key) = self.keys.first()?;
        let name = place.tenant.as_bytes();
        let mut nonce = [0; NONCE_BYTES];
        self.random().fill_bytes(&mut nonce);
        let length = HEAD_BYTES + name.len() + NONCE_BYTES + plain.len() + TAG_BYTES;
        let mut sealed = Vec::with_capacity(length);
        sealed.extend_from_slice(MARK);
        sealed.push(SEALED);
        sealed.extend_from_slice(&id.0);
        sealed.push(u8::try_from(name.len()).expect("a tenant's name has at most 64 bytes"));
        sealed.extend_from_slice(name);
        let with = associated(place, &sealed);
        sealed.extend_from_slice(&nonce);
        let begin = sealed.len();
        sealed.extend_from_slice(plain);
        let tag = key
            .cipher(place.tenant)
            .encrypt_inout_detached(&Nonce::from(nonce), &with, (&mut sealed[begin..]).into())
            .expect("no value comes near 64 GiB");
        sealed.extend_from_slice(&tag);
        Some(sealed)
    }

    /// What a value is kept as: sealed if there are keys.
    pub(crate) fn keep(&self, place: &Place<'_>, plain: Bytes) -> Bytes {
        match self.seal(place, &plain) {
            Some(sealed) => sealed.into(),
            None if plain.starts_with(MARK) => [MARK.as_slice(), &[PLAIN], &plain].concat().into(),
            None => plain,
        }
    }

    /// The value that was kept.
    pub(crate) fn open(&self, place: &Place<'_>, kept: Bytes) -> Result<Bytes, StorageError> {
        let Some(rest) = kept.strip_prefix(MARK) else {
            return Ok(kept);
        };
        match rest.first() {
            Some(&PLAIN) => Ok(kept.slice(MARK.len() + 1..)),
            Some(&SEALED) => self.unseal(place, &kept).map(Bytes::from),
            Some(version) => Err(StorageError::corrupt(format_args!(
                "{place} is sealed in version {version}, which this host does not know"
            ))),
            None => Err(spoilt(place)),
        }
    }

    /// What a text is kept as.
    pub(crate) fn keep_text(&self, place: &Place<'_>, plain: &str) -> String {
        match self.seal(place, plain.as_bytes()) {
            Some(sealed) => format!("{TEXT_MARK}{}", STANDARD_NO_PAD.encode(sealed)),
            None if plain.starts_with(TEXT_MARK) => format!("{TEXT_MARK}{PLAIN_TEXT}{plain}"),
            None => plain.to_owned(),
        }
    }

    /// The text that was kept.
    pub(crate) fn open_text(&self, place: &Place<'_>, kept: &str) -> Result<String, StorageError> {
        let Some(rest) = kept.strip_prefix(TEXT_MARK) else {
            return Ok(kept.to_owned());
        };
        if let Some(plain) = rest.strip_prefix(PLAIN_TEXT) {
            return Ok(plain.to_owned());
        }
        let sealed = STANDARD_NO_PAD.decode(rest).map_err(|_| spoilt(place))?;
        String::from_utf8(self.unseal(place, &sealed)?).map_err(|_| spoilt(place))
    }

    /// The value in a sealed form; anything else was spoilt.
    pub(crate) fn unseal(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
        let Parts {
            head,
            id,
            tenant,
            nonce,
            body,
            tag,
        } = Parts::of(sealed).ok_or_else(|| spoilt(place))?;
        let known = self.keys.iter().find(|(known, _)| *known == id);
        let (_, key) = known.ok_or_else(|| missing(place, id))?;
        if tenant != place.tenant.as_bytes() {
            return Err(spoilt(place));
        }
        let mut plain = body.to_vec();
        key.cipher(place.tenant)
            .decrypt_inout_detached(
                &Nonce::from(nonce),
                &associated(place, head),
                (&mut plain[..]).into(),
                &Tag::from(tag),
            )
            .map_err(|_| spoilt(place))?;
        Ok(plain)
    }
}

/// How sealed values begin: bytes, and texts behind their mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begins {
    pub(crate) bytes: Vec<u8>,
    pub(crate) text: String,
}

/// A sealed value, taken apart.
struct Parts<'a> {
    /// All before the nonce.
    head: &'a [u8],
    id: KeyId,
    tenant: &'a [u8],
    nonce: [u8; NONCE_BYTES],
    body: &'a [u8],
    tag: [u8; TAG_BYTES],
}

impl Parts<'_> {
    fn of(sealed: &[u8]) -> Option<Parts<'_>> {
        let rest = sealed.strip_prefix(MARK)?.strip_prefix(&[SEALED])?;
        let (id, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (tenant, rest) = rest.split_at_checked(usize::from(*length))?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (body, tag) = rest.split_last_chunk()?;
        Some(Parts {
            head: &sealed[..HEAD_BYTES + tenant.len()],
            id: KeyId(*id),
            tenant,
            nonce: *nonce,
            body,
            tag: *tag,
        })
    }
}

/// What is authenticated with a value: its head and its place, each part with its length before it.
fn associated(place: &Place<'_>, head: &[u8]) -> Vec<u8> {
    let (table, column) = place.column;
    let mut bytes = Vec::new();
    for part in [
        head,
        table.as_bytes(),
        column.as_bytes(),
        place.row.as_bytes(),
    ] {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

fn missing(place: &Place<'_>, key: KeyId) -> StorageError {
    StorageError::KeyMissing {
        place: place.to_string(),
        key: key.to_string(),
    }
}

fn spoilt(place: &Place<'_>) -> StorageError {
    StorageError::corrupt(format_args!(
        "{place} was changed since it was sealed, or belongs elsewhere"
    ))
}
