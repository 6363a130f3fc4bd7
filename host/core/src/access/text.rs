//! The text of a key, `cfd_ID_SECRET`: how it is made and read. It is shown once, to whom it is made for.

use std::fmt;

use rand::RngCore;
use sha2::{Digest, Sha256};

use cofferdam_domain::caller::key::{KeyId, SecretHash, from_hex};

/// What a key begins with, so that one is recognised where it does not belong.
const PREFIX: &str = "cfd_";
/// The bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A whole key.
pub struct KeyText {
    id: KeyId,
    secret: [u8; SECRET_BYTES],
}

impl KeyText {
    /// A new key.
    pub(super) fn mint(random: &mut impl RngCore) -> KeyText {
        let (mut id, mut secret) = ([0; KeyId::BYTES], [0; SECRET_BYTES]);
        random.fill_bytes(&mut id);
        random.fill_bytes(&mut secret);
        KeyText {
            id: KeyId::from_bytes(id),
            secret,
        }
    }

    /// Reads a key; `None` if it has another form.
    pub fn parse(text: &str) -> Option<KeyText> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        Some(KeyText {
            id: KeyId::parse(id)?,
            secret: from_hex(secret)?,
        })
    }

    /// Its public part.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What is kept of its secret.
    pub(super) fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.secret).into())
    }

    /// The whole text.
    pub fn reveal(&self) -> String {
        use fmt::Write;
        let mut text = format!("{PREFIX}{}_", self.id);
        for byte in self.secret {
            write!(text, "{byte:02x}").expect("a String takes it");
        }
        text
    }
}

/// Nothing of the secret is shown.
impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_revealed() {
        let key = KeyText::mint(&mut StdRng::seed_from_u64(7));
        let text = key.reveal();
        assert_eq!(text.len(), 4 + 16 + 1 + 64);
        let read = KeyText::parse(&text).unwrap();
        assert_eq!((read.id(), read.hash()), (key.id(), key.hash()));
        let secret = &text[21..];
        assert!(!format!("{key:?}").contains(secret));
        for bad in [
            "",
            "cfd_",
            "cfd__",
            &text[1..],
            &text[..84],
            &format!("{text}0"),
            &text.to_uppercase(),
        ] {
            assert!(KeyText::parse(bad).is_none(), "{bad}");
        }
    }
}
