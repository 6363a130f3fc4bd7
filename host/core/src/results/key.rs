//! What a run is made of, as one number: equal only for runs that may give the same.
//!
//! It is a hash over every part with its length, so that no two different runs have one by chance or by
//! design. It begins with the tenant: what is another's cannot be asked for.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::Digest;
use cofferdam_sandbox::Mount;
use cofferdam_sandbox::files::{InputContent, InputFile, InputPlace};

/// Up to here hashing is too short to be worth a hop to another thread.
const AT_ONCE_BYTES: usize = 64 << 10;

/// The number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Its words, which [`Key::parse`] reads.
    pub(super) fn text(&self) -> String {
        Digest::from_bytes(self.0).to_string()
    }

    pub(super) fn parse(text: &str) -> Option<Key> {
        Digest::parse(text).map(|digest| Key(*digest.as_bytes()))
    }
}

/// What kind of work it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door {
    /// A module.
    Module,
    /// Code, by its interpreter.
    Code,
}

/// What a run is made of.
pub(crate) struct KeyParts {
    pub(crate) tenant: Tenant,
    pub(crate) door: Door,
    /// The module, or the interpreter.
    pub(crate) digest: Digest,
    /// What the guest is told that it is called.
    pub(crate) program: String,
    pub(crate) content_type: String,
    pub(crate) input: Bytes,
    pub(crate) stdin: Option<Bytes>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) files: Vec<InputFile>,
    pub(crate) limits: Limits,
    /// What the run reads of the operator's.
    pub(crate) dirs: Vec<Mount>,
    pub(crate) isolation: Option<Isolation>,
}

impl KeyParts {
    /// The key; none if a part of it can be read only once, or is not in memory.
    pub(crate) async fn key(self) -> Option<Key> {
        let content = |file: &InputFile| match &file.content {
            InputContent::Bytes(bytes) => Some(bytes.len()),
            InputContent::File(_) => None,
        };
        let files: Option<Vec<usize>> = self.files.iter().map(content).collect();
        let stdin = self.stdin.as_ref().map_or(0, Bytes::len);
        let bytes = self.input.len() + stdin + files?.iter().sum::<usize>();
        match bytes <= AT_ONCE_BYTES {
            true => Some(self.hash()),
            false => tokio::task::spawn_blocking(move || self.hash()).await.ok(),
        }
    }

    fn hash(&self) -> Key {
        let mut hash = Parts(Sha256::new());
        hash.part(self.tenant.as_str().as_bytes());
        hash.part(match self.door {
            Door::Module => b"module",
            Door::Code => b"code",
        });
        hash.part(self.digest.as_bytes());
        hash.part(self.program.as_bytes());
        hash.part(self.content_type.as_bytes());
        hash.part(&self.input);
        hash.list(self.stdin.iter().map(|bytes| &**bytes));
        hash.list(self.args.iter().map(String::as_bytes));
        let env = self.env.iter().flat_map(|(name, value)| [name, value]);
        hash.list(env.map(String::as_bytes));
        hash.count(self.files.len());
        for file in &self.files {
            hash.part(file.name().as_bytes());
            hash.part(match file.place {
                InputPlace::In => b"in",
                InputPlace::Work => b"work",
            });
            if let InputContent::Bytes(bytes) = &file.content {
                hash.part(bytes);
            }
        }
        // Every field of these, in the form in which a log would show it.
        hash.part(format!("{:?}", self.limits).as_bytes());
        hash.count(self.dirs.len());
        for dir in &self.dirs {
            hash.part(format!("{dir:?}").as_bytes());
        }
        hash.part(format!("{:?}", self.isolation).as_bytes());
        Key(hash.0.finalize().into())
    }
}

/// A hash of parts of any length.
struct Parts(Sha256);

impl Parts {
    fn part(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn list<'p>(&mut self, parts: impl Iterator<Item = &'p [u8]>) {
        let parts: Vec<&[u8]> = parts.collect();
        self.count(parts.len());
        parts.into_iter().for_each(|part| self.part(part));
    }

    /// How many parts follow.
    fn count(&mut self, parts: usize) {
        self.0.update((parts as u64).to_le_bytes());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use cofferdam_domain::grants::Access;
    use cofferdam_domain::limits::LimitPolicy;

    pub(in crate::results) fn parts() -> KeyParts {
        KeyParts {
            tenant: Tenant::DEFAULT,
            door: Door::Module,
            digest: Digest::from_bytes([1; 32]),
            program: "m".to_owned(),
            content_type: "text/plain".to_owned(),
            input: Bytes::from_static(b"input"),
            stdin: None,
            args: vec!["ab".to_owned(), "c".to_owned()],
            env: vec![("K".to_owned(), "V".to_owned())],
            files: Vec::new(),
            limits: LimitPolicy::default().defaults,
            dirs: Vec::new(),
            isolation: None,
        }
    }

    #[tokio::test]
    async fn every_part_counts_and_nothing_else() {
        let of = async |change: fn(&mut KeyParts)| {
            let mut parts = parts();
            change(&mut parts);
            parts.key().await.unwrap()
        };
        let plain = of(|_| {}).await;
        assert!(of(|_| {}).await == plain);
        let changes: [fn(&mut KeyParts); 15] = [
            |it| it.program = "n".to_owned(),
            |it| it.tenant = Tenant::parse("other").unwrap(),
            |it| it.door = Door::Code,
            |it| it.digest = Digest::from_bytes([2; 32]),
            |it| it.content_type = "text/html".to_owned(),
            |it| it.input = Bytes::from_static(b"inpuu"),
            |it| it.input = Bytes::from(vec![b'x'; 2 * AT_ONCE_BYTES]),
            |it| it.stdin = Some(Bytes::new()),
            |it| it.args = vec!["a".to_owned(), "bc".to_owned()],
            |it| it.args = vec!["abc".to_owned()],
            |it| it.env = vec![("K".to_owned(), "W".to_owned())],
            |it| it.limits.log_bytes += 1,
            |it| it.limits.fuel = Some(7),
            |it| {
                it.dirs = vec![Mount {
                    path: "/srv".into(),
                    at: "/data".to_owned(),
                    access: Access::Read,
                }];
            },
            |it| it.isolation = Some(Isolation::Process),
        ];
        let mut seen = vec![plain];
        for change in changes {
            let key = of(change).await;
            assert!(!seen.contains(&key));
            seen.push(key);
        }
    }

    #[tokio::test]
    async fn files_count_if_they_are_in_memory() {
        let with = async |name: &str, place, content| {
            let mut parts = parts();
            parts.files = vec![InputFile::new(name, place, content).unwrap()];
            parts.key().await
        };
        let bytes = |text: &'static str| InputContent::Bytes(Bytes::from_static(text.as_bytes()));
        let keys = [
            with("a", InputPlace::Work, bytes("x")).await.unwrap(),
            with("b", InputPlace::Work, bytes("x")).await.unwrap(),
            with("a", InputPlace::In, bytes("x")).await.unwrap(),
            with("a", InputPlace::Work, bytes("y")).await.unwrap(),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key));
        }
        let on_disk = InputContent::File("/a".into());
        assert!(with("a", InputPlace::Work, on_disk).await.is_none());
    }
}
