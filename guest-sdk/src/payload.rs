//! [`Payload`]: bytes with a media type, which is all that host and guest exchange. What the bytes
//! mean is decided in `convert`.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// Where an input is found that is too large to be handed over: a read-only file.
pub const LARGE_INPUT: &str = "/in/payload";

/// An input or an output as the host carries it: bytes and what they are.
///
/// A task that takes or returns a `Payload` works on raw bytes; no schema is published for it.
///
/// ```
/// use cofferdam_guest::Payload;
///
/// #[cofferdam_guest::task]
/// fn shout(input: Payload) -> Payload {
///     Payload::new("text/plain", input.body.to_ascii_uppercase())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// The media type, `application/json` unless the submitter said otherwise.
    pub content_type: String,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Payload {
    /// Bytes of the given media type.
    pub fn new(content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type: content_type.into(),
            body: body.into(),
        }
    }

    /// Bytes that are already JSON text.
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::new("application/json", body)
    }

    /// Plain text in UTF-8.
    pub fn text(body: impl Into<String>) -> Self {
        Self::new("text/plain; charset=utf-8", body.into())
    }

    /// Bytes of which nothing is known.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::new("application/octet-stream", body)
    }

    /// The payload with its body in memory: an input above the host's inline limit comes with an
    /// empty body and is read from [`LARGE_INPUT`]. Whoever wants to stream opens that file.
    pub fn load(mut self) -> io::Result<Self> {
        // Without a large input there is no such file, and often no `/in` to look for it.
        if self.body.is_empty()
            && let Ok(mut file) = File::open(LARGE_INPUT)
        {
            file.read_to_end(&mut self.body)?;
        }
        Ok(self)
    }

    /// The media type without parameters, in lower case: `text/plain` for
    /// `Text/Plain; charset=utf-8`.
    pub fn essence(&self) -> String {
        let essence = self.content_type.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }
}

/// The body is shown as text where it is text, and as its length where it is not.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Payload");
        shown.field("content_type", &self.content_type);
        match std::str::from_utf8(&self.body) {
            Ok(text) => shown.field("body", &text),
            Err(_) => shown.field("body_bytes", &self.body.len()),
        };
        shown.finish()
    }
}
