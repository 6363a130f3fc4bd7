//! A result as it is written to a file, and read from it: a head in JSON that says whose it is, what it is the
//! result of, and until when; behind it the bytes as they are kept.
//!
//! The time in it is a calendar's, because it outlives the process. What does not fit together is no result.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Kept, Packed};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::time::Timestamp;

use crate::results::key::Key;

/// How a file begins; another version of this would begin otherwise.
const MAGIC: &[u8; 4] = b"cfr1";
/// The mark, and the length of the head.
const BEFORE_HEAD_BYTES: usize = MAGIC.len() + size_of::<u32>();
/// The longest head: the words of a content type are a guest's.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// From here on a file's head is whole.
pub(in crate::results) const BEGINNING_BYTES: usize = BEFORE_HEAD_BYTES + HEAD_BYTES_MAX;

/// What a file says of the result that is in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::results) struct Head {
    key: String,
    tenant: String,
    made_ms: i64,
    ttl_ms: u64,
    content_type: String,
    isolation: Option<String>,
    parts: [Part; 4],
}

/// The output, or one of the streams.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    bytes: usize,
    unpacked: Option<usize>,
    is_cut: bool,
}

impl Head {
    /// The head at the beginning of a file.
    pub(in crate::results) fn read(file: &[u8]) -> Option<Head> {
        Head::split(file).map(|(head, _)| head)
    }

    fn split(file: &[u8]) -> Option<(Head, usize)> {
        let rest = file.strip_prefix(MAGIC)?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let head = serde_json::from_slice(rest.get(..length)?).ok()?;
        Some((head, BEFORE_HEAD_BYTES + length))
    }

    pub(in crate::results) fn key(&self) -> Option<Key> {
        Key::parse(&self.key)
    }

    pub(in crate::results) fn tenant(&self) -> Option<Tenant> {
        Tenant::parse(&self.tenant).ok()
    }

    pub(in crate::results) fn made(&self) -> Timestamp {
        Timestamp::from_millis(self.made_ms)
    }

    /// How long it is still kept; not at all if it was made later than now, because then nobody knows.
    pub(in crate::results) fn left(&self, now: Timestamp) -> Duration {
        let ttl = Duration::from_millis(self.ttl_ms);
        match self.made() <= now {
            true => ttl.saturating_sub(now.since(self.made())),
            false => Duration::ZERO,
        }
    }
}

impl Kept {
    /// The parts of its file; none if its head would be too long.
    pub(in crate::results) fn written(&self, key: &Key, made: Timestamp) -> Option<Vec<Bytes>> {
        let part = |packed: &Packed, is_cut| Part {
            bytes: packed.bytes.len(),
            unpacked: packed.unpacked,
            is_cut,
        };
        let [out, err, log] = &self.streams;
        let head = Head {
            key: key.text(),
            tenant: self.tenant.as_str().to_owned(),
            made_ms: made.as_millis(),
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            content_type: self.content_type.clone(),
            isolation: self
                .isolation
                .map(|isolation| isolation.as_str().to_owned()),
            parts: [
                part(&self.output, false),
                part(&out.0, out.1),
                part(&err.0, err.1),
                part(&log.0, log.1),
            ],
        };
        let head = serde_json::to_vec(&head).ok()?;
        let length = u32::try_from(head.len()).ok()?;
        let begin = [MAGIC, length.to_le_bytes().as_slice(), &head].concat();
        let parts = [&self.output, &out.0, &err.0, &log.0].map(|packed| packed.bytes.clone());
        let all = std::iter::once(Bytes::from(begin)).chain(parts).collect();
        (head.len() <= HEAD_BYTES_MAX).then_some(all)
    }

    /// The result of this key and tenant that a file has; none if it is another's, or over.
    pub(in crate::results) fn read(
        file: Bytes,
        (key, tenant): (&Key, &Tenant),
        (now, today): (Instant, Timestamp),
    ) -> Option<Kept> {
        let (head, mut from) = Head::split(&file)?;
        let is_it = head.key()? == *key && head.tenant()? == *tenant;
        if !is_it || head.left(today).is_zero() {
            return None;
        }
        let isolation = match &head.isolation {
            None => None,
            Some(word) => Some(Isolation::parse(word)?),
        };
        let mut next = |part: &Part| {
            let until = from.checked_add(part.bytes)?;
            let bytes = (until <= file.len()).then(|| file.slice(from..until))?;
            from = until;
            let unpacked = part.unpacked;
            Some((Packed { bytes, unpacked }, part.is_cut))
        };
        let [output, out, err, log] = &head.parts;
        let output = next(output)?.0;
        let streams = [next(out)?, next(err)?, next(log)?];
        (from == file.len()).then_some(())?;
        Some(Kept {
            tenant: tenant.clone(),
            content_type: head.content_type.clone(),
            output,
            streams,
            isolation,
            read: now,
            age: today.since(head.made()),
            ttl: Duration::from_millis(head.ttl_ms),
        })
    }
}
