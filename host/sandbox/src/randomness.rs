//! The metered engine's randomness: a stream that is the same in every run.
//!
//! It is the output of BLAKE3 over a fixed seed, so it looks random to the guest and is no secret.
//! The fast engine uses the operating system's randomness.

use std::convert::Infallible;

use rand_core::TryRng;

/// The seed of every metered run.
const SEED: &[u8] = b"cofferdam metered randomness";

/// Seeds `wasi:random/insecure-seed` of every metered run.
pub(crate) const INSECURE_SEED: u128 = 0x636f_6666_6572_6461_6d20_6d65_7465_7265;

/// The stream.
pub(crate) struct Seeded(blake3::OutputReader);

impl Seeded {
    /// The stream from its beginning. Streams with different labels are unrelated.
    pub(crate) fn new(label: &str) -> Seeded {
        let mut hasher = blake3::Hasher::new();
        hasher.update(SEED).update(label.as_bytes());
        Seeded(hasher.finalize_xof())
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}
