//! The operator's keys, and what is derived from them.

use std::fmt;
use std::sync::Arc;

use aes_gcm_siv::{Aes256GcmSiv, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// `storage.encryption_keys`: the first seals, all of them open.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EncryptionKeys(Vec<EncryptionKey>);

/// Nothing is sealed with a key that was derived for another purpose or another version of this form.
const SALT: &[u8] = b"cofferdam storage 1";

impl EncryptionKeys {
    /// The most keys: one seals, and the others are on their way out.
    pub const MAX: usize = 16;

    /// Reads keys, each of 32 bytes in base64 or in hexadecimal digits. `None` if one has another form or
    /// comes twice, or there are more than [`MAX`](EncryptionKeys::MAX).
    pub fn parse<'w>(words: impl IntoIterator<Item = &'w str>) -> Option<EncryptionKeys> {
        let keys: Option<Vec<_>> = words.into_iter().map(EncryptionKey::parse).collect();
        let keys = keys?;
        let is_repeated = |(place, key): (usize, &EncryptionKey)| keys[..place].contains(key);
        let fits = keys.len() <= EncryptionKeys::MAX && !keys.iter().enumerate().any(is_repeated);
        fits.then_some(EncryptionKeys(keys))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &EncryptionKey> {
        self.0.iter()
    }
}

/// Only their number is shown.
impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKeys({})", self.0.len())
    }
}

/// One key. Its bytes are in memory once, however often it is cloned, and are wiped at the end.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct EncryptionKey(Arc<Zeroizing<[u8; 32]>>);

impl EncryptionKey {
    fn parse(text: &str) -> Option<EncryptionKey> {
        let mut key = Zeroizing::new([0; 32]);
        match text.len() {
            64 => {
                let digits = text.as_bytes().chunks_exact(2);
                for (byte, pair) in key.iter_mut().zip(digits) {
                    let digit = |digit: u8| char::from(digit).to_digit(16);
                    let value = digit(pair[0])? * 16 + digit(pair[1])?;
                    *byte = u8::try_from(value).ok()?;
                }
            }
            length => {
                let engine = if length == 44 {
                    STANDARD
                } else {
                    STANDARD_NO_PAD
                };
                let bytes = Zeroizing::new(engine.decode(text).ok()?);
                if bytes.len() != key.len() {
                    return None;
                }
                key.copy_from_slice(&bytes);
            }
        }
        Some(EncryptionKey(Arc::new(key)))
    }

    /// What names the key where something was sealed with it.
    pub(super) fn id(&self) -> KeyId {
        let mut id = [0; 8];
        self.derive(&[b"key id"], &mut id);
        KeyId(id)
    }

    /// The cipher for what is a tenant's.
    pub(super) fn cipher(&self, tenant: &str) -> Aes256GcmSiv {
        let mut key = Zeroizing::new([0; 32]);
        self.derive(&[b"tenant ", tenant.as_bytes()], &mut *key);
        Aes256GcmSiv::new((&*key).into())
    }

    /// The cipher for a file, which has its own `salt`.
    pub(super) fn cipher_of_file(&self, salt: &[u8]) -> Aes256GcmSiv {
        let mut key = Zeroizing::new([0; 32]);
        self.derive(&[b"file ", salt], &mut *key);
        Aes256GcmSiv::new((&*key).into())
    }

    fn derive(&self, purpose: &[&[u8]], output: &mut [u8]) {
        Hkdf::<Sha256>::new(Some(SALT), &**self.0)
            .expand_multi_info(purpose, output)
            .expect("HKDF gives as many bytes as any key has");
    }
}

/// What tells keys apart. It is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_bytes_in_base64_or_hexadecimal_digits() {
        let bytes = [0xab; 32];
        let (hex, padded) = ("ab".repeat(32), STANDARD.encode(bytes));
        let bare = STANDARD_NO_PAD.encode(bytes);
        let one = EncryptionKeys::parse([hex.as_str()]).unwrap();
        for same in [hex.to_uppercase(), padded.clone(), bare] {
            assert_eq!(EncryptionKeys::parse([same.as_str()]).unwrap(), one);
        }
        for bad in [
            "",
            "ab",
            &hex[1..],
            &padded[4..],
            &format!("{}zz", &hex[2..]),
        ] {
            assert!(EncryptionKeys::parse([bad]).is_none(), "{bad}");
        }
        assert!(EncryptionKeys::parse([hex.as_str(), padded.as_str()]).is_none());
        assert!(!format!("{one:?}").to_lowercase().contains("ab"));
        assert!(EncryptionKeys::parse([]).unwrap().is_empty());
    }

    #[test]
    fn no_more_keys_than_there_may_be() {
        let keys: Vec<String> = (0..17).map(|n| format!("{n:064x}")).collect();
        let all = |count: usize| EncryptionKeys::parse(keys[..count].iter().map(String::as_str));
        assert_eq!(all(16).unwrap().len(), EncryptionKeys::MAX);
        assert!(all(17).is_none());
    }
}
