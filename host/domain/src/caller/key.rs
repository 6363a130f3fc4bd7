//! Keys: what callers show at the door, as far as it is kept.
//!
//! Of a key's secret only a hash is here. How keys are made, read and compared is the door's.

use std::fmt;

use crate::caller::{Scopes, Tenant};
use crate::rate::Rate;
use crate::time::Timestamp;

/// The public part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KeyId::BYTES]);

impl KeyId {
    /// Bytes of an id; its text has twice as many digits.
    pub const BYTES: usize = 8;

    /// From random bytes.
    pub const fn from_bytes(bytes: [u8; KeyId::BYTES]) -> KeyId {
        KeyId(bytes)
    }

    /// Reads 16 hexadecimal digits, in lower case.
    pub fn parse(text: &str) -> Option<KeyId> {
        from_hex(text).map(KeyId)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; KeyId::BYTES] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads hexadecimal digits in lower case, as many as `N` bytes have.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The SHA-256 of a secret. It is not shown, because nobody needs to see it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// What people call a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName(String);

/// The text is not a key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key's name is 1 to {} bytes without control characters",
    KeyName::BYTES_MAX
)]
pub struct BadKeyName;

impl KeyName {
    /// The longest name.
    pub const BYTES_MAX: usize = 128;

    /// Reads a name.
    pub fn parse(text: &str) -> Result<KeyName, BadKeyName> {
        let is_short = (1..=KeyName::BYTES_MAX).contains(&text.len());
        match is_short && !text.chars().any(char::is_control) {
            true => Ok(KeyName(text.to_owned())),
            false => Err(BadKeyName),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its public part.
    pub id: KeyId,
    /// What its secret is compared with.
    pub hash: SecretHash,
    /// For whom it speaks.
    pub tenant: Tenant,
    /// What people call it.
    pub name: KeyName,
    /// What it may do.
    pub scopes: Scopes,
    /// How many requests it may make; any number if absent.
    pub rate: Option<Rate>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ceases to open anything.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The key that was made in its place.
    pub replaced_by: Option<KeyId>,
}

/// Whether a key opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It does.
    Live,
    /// Its time is over.
    Expired,
    /// Somebody revoked it.
    Revoked,
}

impl KeyState {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Live => "live",
            KeyState::Expired => "expired",
            KeyState::Revoked => "revoked",
        }
    }
}

impl Key {
    /// Whether it opens anything.
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked_at.is_some() {
            return KeyState::Revoked;
        }
        match self.expires_at.is_some_and(|at| at <= now) {
            true => KeyState::Expired,
            false => KeyState::Live,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_it_was_read() {
        let id = KeyId::from_bytes([0, 1, 0xab, 0xff, 9, 0x90, 0x0f, 0xf0]);
        assert_eq!(id.to_string(), "0001abff09900ff0");
        assert_eq!(KeyId::parse("0001abff09900ff0"), Some(id));
        for bad in [
            "",
            "0",
            "0001abff09900ff",
            "0001ABFF09900ff0",
            "0001abff09900fg0",
            "é001abff09900f",
        ] {
            assert_eq!(KeyId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "a".repeat(128);
        for good in ["a", "CI of team A", "schlüssel", &longest] {
            assert_eq!(KeyName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\n", "\u{7f}", &"a".repeat(129)] {
            assert_eq!(KeyName::parse(bad), Err(BadKeyName), "{bad}");
        }
    }

    #[test]
    fn a_key_is_live_until_it_is_revoked_or_its_time_is_over() {
        let at = Timestamp::from_millis;
        let key = |expires_at, revoked_at| Key {
            id: KeyId::from_bytes([0; 8]),
            hash: SecretHash([7; 32]),
            tenant: Tenant::default(),
            name: KeyName::parse("a").unwrap(),
            scopes: Scopes::default(),
            rate: None,
            created_at: at(0),
            expires_at,
            revoked_at,
            replaced_by: None,
        };
        assert_eq!(key(None, None).state(at(9)), KeyState::Live);
        assert_eq!(key(Some(at(10)), None).state(at(9)), KeyState::Live);
        assert_eq!(key(Some(at(9)), None).state(at(9)), KeyState::Expired);
        assert_eq!(
            key(Some(at(1)), Some(at(5))).state(at(9)),
            KeyState::Revoked
        );
        let words = [KeyState::Live, KeyState::Expired, KeyState::Revoked].map(KeyState::as_str);
        assert_eq!(words, ["live", "expired", "revoked"]);
        assert!(!format!("{:?}", key(None, None)).contains('7'));
    }
}
