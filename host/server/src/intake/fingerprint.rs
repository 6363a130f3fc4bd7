//! Distinguishes two requests with one key by a hash of each unchanged request.

/// A hash of an arriving request.
#[derive(Default)]
pub(crate) struct Fingerprint(blake3::Hasher);

/// The hash of a complete request.
pub(crate) fn fingerprint(request: &[u8]) -> [u8; 16] {
    shorten(blake3::hash(request))
}

impl Fingerprint {
    /// The next piece.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// All of the query except how long the caller waits for the answer.
    pub(crate) fn add_query(&mut self, query: &str) {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name != "wait_ms" {
                for piece in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
                    self.add(piece);
                }
            }
        }
    }

    /// The hash of the whole.
    pub(crate) fn finish(self) -> [u8; 16] {
        shorten(self.0.finalize())
    }
}

/// The first half; two different requests have the same half with a probability of 1 in 2¹²⁸.
fn shorten(hash: blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}
