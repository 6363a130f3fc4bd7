//! How callers name definitions of workflows: by a name, and if need be by the exact version, as modules are named.

use std::fmt;

use crate::module::Digest;

/// A definition's name within its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionName(String);

impl DefinitionName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// Reads a name: `[a-z0-9][a-z0-9._-]{0,127}`.
    pub fn parse(text: &str) -> Result<DefinitionName, BadDefinitionRef> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts_well = text.bytes().next().is_some_and(plain);
        let allowed = |byte: u8| plain(byte) || b"._-".contains(&byte);
        match starts_well && text.len() <= DefinitionName::BYTES_MAX && text.bytes().all(allowed) {
            true => Ok(DefinitionName(text.to_owned())),
            false => Err(BadDefinitionRef::Name),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DefinitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a caller means: a name, and the version if it is not the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionRef {
    /// The name.
    pub name: DefinitionName,
    /// The version; the newest if absent.
    pub digest: Option<Digest>,
}

impl DefinitionRef {
    /// Reads `name` or `name@sha256:…`.
    pub fn parse(text: &str) -> Result<DefinitionRef, BadDefinitionRef> {
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => {
                let digest = Digest::parse(digest).ok_or(BadDefinitionRef::Digest)?;
                (name, Some(digest))
            }
        };
        let name = DefinitionName::parse(name)?;
        Ok(DefinitionRef { name, digest })
    }
}

impl fmt::Display for DefinitionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            None => self.name.fmt(f),
            Some(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

/// The text does not name a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDefinitionRef {
    /// The part before `@`.
    #[error("a definition's name is 1 to 128 of a-z 0-9 . _ - and begins with a letter or digit")]
    Name,
    /// The part after `@`.
    #[error("'@' is followed by sha256: and 64 lower-case hexadecimal digits")]
    Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_named_with_or_without_its_version() {
        let pinned = format!("a.b-c_1@sha256:{}", "0a".repeat(32));
        for text in ["a", "0", &*"x".repeat(128), &*pinned] {
            assert_eq!(DefinitionRef::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "-a", "A", "a/b", "a b", &*"x".repeat(129), "@sha256:"] {
            assert!(DefinitionRef::parse(text).is_err(), "{text:?}");
        }
        for text in ["a@", "a@sha256:0a", &*pinned.to_uppercase()] {
            assert!(DefinitionRef::parse(text).is_err(), "{text:?}");
        }
    }
}
