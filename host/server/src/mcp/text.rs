//! Text for a model: long text is cut, with a note of how much is missing and where all of it is.
//!
//! Models read results, and clients refuse results above half a megabyte. The whole of a cut text
//! is kept like a file that the guest wrote, and for as long.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;

use crate::mcp::Parts;
use cofferdam::executions::files_url;
use cofferdam_domain::caller::Caller;

/// Bytes of the end of a cut text that are shown; the rest of its share is the beginning.
const TAIL_PART: usize = 4;
/// A file takes up whole blocks.
const BLOCK_BYTES: u64 = 4096;

/// The place of the whole texts of one result.
pub(super) struct Kept<'a> {
    parts: &'a Parts,
    caller: &'a Caller,
    /// The host's own address as this client called it.
    base: &'a str,
}

impl<'a> Kept<'a> {
    pub(super) fn new(parts: &'a Parts, caller: &'a Caller, base: &'a str) -> Kept<'a> {
        Kept {
            parts,
            caller,
            base,
        }
    }

    /// The text, or its beginning and end within `bytes`; all of it is then kept as `name`.
    pub(super) async fn cut(&self, name: &'static str, text: &str, bytes: usize) -> String {
        if text.len() <= bytes {
            return text.to_owned();
        }
        let (head, tail) = ends(text, bytes);
        let left_out = text.len() - head.len() - tail.len();
        let whole = match self
            .keep(name, Bytes::copy_from_slice(text.as_bytes()))
            .await
        {
            Some(url) => format!("all of it: {url}"),
            None => "there is no room to keep it".to_owned(),
        };
        format!(
            "{head}\n[… {left_out} of {} bytes left out; {whole} …]\n{tail}",
            text.len()
        )
    }

    /// Keeps bytes and returns their address.
    pub(super) async fn keep(&self, name: &'static str, bytes: Bytes) -> Option<String> {
        let files = &self.parts.files;
        let id = files.new_execution(self.parts.clock.now());
        // The file and its directory.
        let occupied_bytes = (bytes.len() as u64).next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES;
        let put = move |target: &Path| {
            let mut options = std::fs::OpenOptions::new();
            let options = options.write(true).create_new(true).mode(0o600);
            options.open(target.join(name))?.write_all(&bytes)
        };
        let keeping = async {
            let tenant = self.caller.tenant();
            let kept = files
                .keep_execution(tenant, id, occupied_bytes, put)
                .await?;
            kept.stay().await
        };
        match keeping.await {
            Ok(()) => Some(format!("{}{}{name}", self.base, files_url(id))),
            Err(error) => {
                tracing::warn!(%error, "the whole of a cut result could not be kept");
                None
            }
        }
    }
}

/// The beginning and the end of a text, together at most this many bytes.
fn ends(text: &str, bytes: usize) -> (&str, &str) {
    let tail = bytes / TAIL_PART;
    let head = text.floor_char_boundary(bytes - tail);
    let tail = text.ceil_char_boundary(text.len() - tail);
    (&text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_whole_characters() {
        let text = "é".repeat(100);
        let (head, tail) = ends(&text, 41);
        assert_eq!((head.len(), tail.len()), (30, 10));
        assert!(text.starts_with(head) && text.ends_with(tail));
    }
}
