//! A secret that the hosts of one database share.

use std::fmt;

/// What only the database and its hosts know.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A secret of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Secret {
        Secret(bytes)
    }

    /// Its bytes; keys are derived from them, each for one purpose.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Nothing of it is shown.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}
