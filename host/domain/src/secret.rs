//! Secrets: what a tenant entrusts to the host, which uses it at a door and shows it to nobody.
//!
//! Here are a secret's name and its value in memory. How it is kept is storage's, and where it is used is
//! not known here.

use std::fmt;

use zeroize::Zeroizing;

use crate::time::Timestamp;

/// The name of a secret among those of its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

impl SecretName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Reads a name: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    pub fn parse(text: &str) -> Result<SecretName, BadSecretName> {
        let bytes = text.as_bytes();
        let starts_well = bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
        match starts_well && bytes.len() <= SecretName::BYTES_MAX && bytes.iter().all(allowed) {
            true => Ok(SecretName(text.to_owned())),
            false => Err(BadSecretName),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a secret's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret's name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or digit")]
pub struct BadSecretName;

/// The value of a secret. It is wiped from memory when it is dropped, and nothing of it is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// The largest value, in bytes: a private key in PEM fits.
    pub const BYTES_MAX: usize = 8192;

    /// Takes a value.
    pub fn new(bytes: Vec<u8>) -> Result<SecretValue, BadSecretValue> {
        let bytes = Zeroizing::new(bytes);
        match (1..=SecretValue::BYTES_MAX).contains(&bytes.len()) {
            true => Ok(SecretValue(bytes)),
            false => Err(BadSecretValue),
        }
    }

    /// The value, for whoever has to use it. Copies are the caller's to wipe.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The bytes cannot be a secret's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret's value has 1 to {} bytes", SecretValue::BYTES_MAX)]
pub struct BadSecretValue;

/// What may be told of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownSecret {
    /// Its name.
    pub name: SecretName,
    /// When there first was one of that name.
    pub created_at: Timestamp,
    /// When its value was put last.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_plain_names() {
        let longest = "a".repeat(64);
        for good in ["token", "API_TOKEN", "0", "a.b-c", &longest] {
            assert_eq!(SecretName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".a", "-a", "_a", "a/b", "a b", "é", &"a".repeat(65)] {
            assert_eq!(SecretName::parse(bad), Err(BadSecretName), "{bad}");
        }
    }

    #[test]
    fn a_value_is_bounded_and_never_shown() {
        let value = SecretValue::new(b"hunter2".to_vec()).unwrap();
        assert_eq!(value.reveal(), b"hunter2");
        assert_eq!(format!("{value:?}"), "***");
        for bad in [0, SecretValue::BYTES_MAX + 1] {
            assert_eq!(SecretValue::new(vec![7; bad]), Err(BadSecretValue));
        }
        assert!(SecretValue::new(vec![7; SecretValue::BYTES_MAX]).is_ok());
    }
}
