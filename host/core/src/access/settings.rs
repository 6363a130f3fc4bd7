//! `[access]`: the key that comes from outside.

use std::fmt;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use cofferdam_domain::caller::key::SecretHash;

/// The section.
#[derive(Clone, Debug, Default)]
pub struct AccessConfig {
    /// An administrator's key.
    pub admin_key: Option<AdminKey>,
    /// A file that has it; none if empty.
    pub admin_key_file: PathBuf,
}

/// An administrator's key that the operator chose. Only its hash is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AdminKey(SecretHash);

/// The text is not a key that an operator may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an administrator's key has {} to {} visible ASCII characters",
    AdminKey::BYTES_MIN,
    AdminKey::BYTES_MAX
)]
pub struct BadAdminKey;

impl AdminKey {
    /// The shortest key: nobody guesses 32 characters.
    pub const BYTES_MIN: usize = 32;
    /// The longest.
    pub const BYTES_MAX: usize = 256;

    /// Reads a key, and forgets its text.
    pub fn parse(text: &str) -> Result<AdminKey, BadAdminKey> {
        let is_long = (AdminKey::BYTES_MIN..=AdminKey::BYTES_MAX).contains(&text.len());
        match is_long && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(AdminKey(SecretHash(Sha256::digest(text).into()))),
            false => Err(BadAdminKey),
        }
    }

    pub(super) fn hash(self) -> SecretHash {
        self.0
    }
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrators_key_cannot_be_guessed_or_misread() {
        for good in ["x".repeat(32), "~!".repeat(128)] {
            assert!(AdminKey::parse(&good).is_ok(), "{good}");
        }
        let spaced = format!("{} ", "x".repeat(40));
        for bad in [
            "",
            &"x".repeat(31),
            &"x".repeat(257),
            &spaced,
            &"é".repeat(20),
        ] {
            assert_eq!(AdminKey::parse(bad), Err(BadAdminKey), "{bad}");
        }
    }
}
