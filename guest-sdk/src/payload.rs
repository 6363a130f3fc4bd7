//! [`Payload`]: bytes with a media type, which is all that host and guest exchange. `convert`
//! decides what the bytes mean.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use crate::dirs;

/// Where a sandbox has an input that is too large to be handed over: a read-only file.
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

    /// Bytes of an unknown kind.
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::new("application/octet-stream", body)
    }

    /// The payload with its body in memory. A task that takes a `Payload` has it already; one that
    /// takes an [`Unread`] reads it here.
    pub fn load(mut self) -> io::Result<Self> {
        // Without a large input the file does not exist, and often `/in` does not either.
        if self.body.is_empty()
            && let Ok(mut file) = File::open(dirs::input().join("payload"))
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

/// An input whose body, if it is large, is not in memory: for a task that streams it.
///
/// ```
/// use std::io::BufRead;
/// use cofferdam_guest::{Failure, Unread};
///
/// #[cofferdam_guest::task]
/// fn lines(input: Unread) -> Result<usize, Failure> {
///     Ok(std::io::BufReader::new(input.reader()?).lines().count())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread(pub Payload);

impl Unread {
    /// Reads the body from wherever it is.
    pub fn reader(self) -> io::Result<Box<dyn Read>> {
        let path = dirs::input().join("payload");
        match self.0.body.is_empty() && path.exists() {
            true => Ok(Box::new(File::open(path)?)),
            false => Ok(Box::new(io::Cursor::new(self.0.body))),
        }
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
