//! The data that a tool promised, in the answer as its module wrote it.
//!
//! The protocol's crate keeps JSON as values, in which numbers are at most 64 bits long. So the crate
//! is given a mark, and the data takes the mark's place when the answer's bytes leave. No text of a
//! guest's can be taken for the mark, because quotes inside of JSON texts are escaped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// The member with the mark, as the crate writes it.
const MARKED: &[u8] = br#""structuredContent":"cofferdam:data""#;
/// Its name and the colon, which stay.
const NAME_BYTES: usize = br#""structuredContent":"#.len();
/// The mark.
const MARK: &str = "cofferdam:data";

/// The place for the data of one answer. All clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Exact(Arc<Mutex<Option<Bytes>>>);

impl Exact {
    /// Keeps JSON text for the answer, and gives what stands for it until then.
    pub(super) fn keep(&self, json: &Bytes) -> Value {
        // Between two values a space is worth as much as a line's end, which would end the event. JSON
        // texts hold no line's end.
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let line = match json.iter().any(is_end) {
            false => json.clone(),
            true => json
                .iter()
                .map(|byte| if is_end(byte) { b' ' } else { *byte })
                .collect(),
        };
        *self.lock() = Some(line);
        Value::String(MARK.to_owned())
    }

    /// The length of the data that waits for its place.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().as_ref().map_or(0, |data| data.len() as u64)
    }

    /// Whether data waits for its place.
    pub(super) fn waits(&self) -> bool {
        self.lock().is_some()
    }

    /// Puts the data in the mark's place, if it is in these bytes.
    pub(super) fn put(&self, bytes: Bytes) -> Bytes {
        let mut kept = self.lock();
        let Some(data) = kept.as_ref() else {
            return bytes;
        };
        let place = bytes
            .windows(MARKED.len())
            .position(|window| window == MARKED);
        let Some(place) = place else {
            return bytes;
        };
        let mut whole = BytesMut::with_capacity(bytes.len() + data.len());
        whole.extend_from_slice(&bytes[..place + NAME_BYTES]);
        whole.extend_from_slice(data);
        whole.extend_from_slice(&bytes[place + MARKED.len()..]);
        *kept = None;
        whole.freeze()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_takes_the_marks_place_once_and_in_one_line() {
        let exact = Exact::default();
        let quoted = r#"{"text":"\"structuredContent\":\"cofferdam:data\""}"#;
        assert_eq!(exact.put(quoted.into()), quoted);
        let mark = exact.keep(&Bytes::from_static(b"{\"n\":\r\n18446744073709551617}"));
        assert_eq!(exact.put(quoted.into()), quoted);
        assert!(exact.waits());
        let message = json!({"content": [quoted], "structuredContent": mark}).to_string();
        let told = exact.put(message.clone().into());
        let told = std::str::from_utf8(&told).unwrap();
        let end = r#""structuredContent":{"n":  18446744073709551617}}"#;
        assert!(told.ends_with(end), "{told}");
        assert!(!exact.waits());
        assert_eq!(exact.put(message.clone().into()), message);
    }
}
