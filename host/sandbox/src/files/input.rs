//! Files that are put into a run's directories before its guest starts.
//!
//! A name is parsed here, once; a parsed name cannot lead out of its directory.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use cofferdam_domain::attempt::ARTIFACT_PATH_BYTES_MAX;

/// A file the guest finds when it starts.
#[derive(Clone, Debug)]
pub struct InputFile {
    name: String,
    /// Where it is put.
    pub place: InputPlace,
    /// What is in it.
    pub content: InputContent,
}

/// Where an input file is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputPlace {
    /// Below `/in`, read-only and outside the quota.
    In,
    /// Below `/work`: a copy that the guest may change and that counts against its quota.
    Work,
}

/// What is in an input file.
#[derive(Clone, Debug)]
pub enum InputContent {
    /// These bytes.
    Bytes(Bytes),
    /// The content of a file of the host.
    File(PathBuf),
}

/// A name that is not a plain relative path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a relative path of plain names, of at most {ARTIFACT_PATH_BYTES_MAX} bytes"
)]
pub struct BadInputName {
    name: String,
}

/// The longest single name that file systems accept.
const NAME_BYTES_MAX: usize = 255;

impl InputFile {
    /// A file called `name`, a path with `/` between its parts. Any file that a run may leave may
    /// be given to another run.
    pub fn new(
        name: &str,
        place: InputPlace,
        content: InputContent,
    ) -> Result<InputFile, BadInputName> {
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..") && part.len() <= NAME_BYTES_MAX && !part.contains('\0')
        };
        if name.len() > ARTIFACT_PATH_BYTES_MAX || !name.split('/').all(plain) {
            return Err(BadInputName {
                name: name.to_owned(),
            });
        }
        Ok(InputFile {
            name: name.to_owned(),
            place,
            content,
        })
    }

    /// The path below its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directories above it, the outermost first, below `root`.
    pub(super) fn parents(&self, root: &Path) -> Vec<PathBuf> {
        let mut parents = Vec::new();
        let mut at = root.to_owned();
        let mut parts = self.name.split('/').peekable();
        while let Some(part) = parts.next() {
            at.push(part);
            if parts.peek().is_some() {
                parents.push(at.clone());
            }
        }
        parents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_names_are_taken() {
        let parse = |name: &str| {
            InputFile::new(name, InputPlace::Work, InputContent::Bytes(Bytes::new())).is_ok()
        };
        assert!(parse("main.py") && parse("pkg/data/a b.csv") && parse("..."));
        assert!(parse("back\\slash") && parse(&("d/".repeat(500) + "f")));
        for bad in [
            "",
            "/etc/passwd",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "a\0",
            "..",
        ] {
            assert!(!parse(bad), "{bad:?}");
        }
        assert!(!parse(&("d/".repeat(512) + "f")) && !parse(&"n".repeat(256)));
    }
}
