//! A run as it is sent to a process, with the pieces of bytes that go with it, and back.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::is_writable;
use crate::egress::Outward;
use crate::files::{InputContent, InputFile, InputPlace};
use crate::{GuestInput, Identity, Mount, RunSpec};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::grants::Access;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::processes) struct Spec {
    program: String,
    content_type: String,
    /// A file instead of the piece.
    input: Option<PathBuf>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    #[serde(with = "WireLimits")]
    limits: Limits,
    files: Vec<WireFile>,
    dirs: Vec<(PathBuf, String, bool)>,
    task_id: String,
    attempt: u32,
    pub(in crate::processes) stdin: WireStdin,
    /// What is left of its time.
    pub(in crate::processes) time: Duration,
    /// The host's clock.
    pub(in crate::processes) now_ms: i64,
    /// What it has of the host's memory to begin with.
    pub(in crate::processes) held_bytes: u64,
    /// Whether somebody hears what it says while it runs.
    pub(in crate::processes) heard: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::processes) enum WireStdin {
    Absent,
    Bytes,
    Live,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireFile {
    name: String,
    in_work: bool,
    /// A file instead of the piece.
    file: Option<PathBuf>,
}

/// The members of the domain's limits, which knows no wire.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Limits")]
struct WireLimits {
    timeout: Duration,
    cpu: Duration,
    fuel: Option<u64>,
    memory_bytes: u64,
    table_elements: u64,
    disk_bytes: u64,
    disk_files: u64,
    output_bytes: u64,
    stdout_bytes: u64,
    stderr_bytes: u64,
    log_bytes: u64,
    hostcall_bytes: u64,
    handles: u32,
    resources: u32,
    random_bytes: u64,
}

impl Spec {
    /// A run as it is sent, and its pieces. `stdin` is what it reads instead of its input.
    pub(in crate::processes) fn of(
        spec: RunSpec,
        stdin: WireStdin,
        bytes: Bytes,
    ) -> (Spec, Vec<Bytes>) {
        let (content_type, input, body) = match spec.input {
            GuestInput::Inline(payload) => (payload.content_type, None, payload.body),
            GuestInput::File { content_type, path } => (content_type, Some(path), Bytes::new()),
        };
        let mut pieces = vec![body, bytes];
        let mut files = Vec::new();
        for file in spec.files {
            let (bytes, path) = match file.content.clone() {
                InputContent::Bytes(bytes) => (bytes, None),
                InputContent::File(path) => (Bytes::new(), Some(path)),
            };
            pieces.push(bytes);
            files.push(WireFile {
                name: file.name().to_owned(),
                in_work: file.place == InputPlace::Work,
                file: path,
            });
        }
        let dirs = spec.dirs.into_iter().map(|mount| {
            let writable = is_writable(mount.access);
            (mount.path, mount.at, writable)
        });
        let told = Spec {
            program: spec.program,
            content_type: content_type.as_ref().to_owned(),
            input,
            args: spec.args,
            env: spec.env,
            limits: spec.limits,
            files,
            dirs: dirs.collect(),
            task_id: spec.identity.task_id,
            attempt: spec.identity.attempt,
            stdin,
            time: Duration::ZERO,
            now_ms: 0,
            held_bytes: 0,
            heard: false,
        };
        (told, pieces)
    }

    /// The run again, and the bytes of its standard input. `None` if it is not what [`Spec::of`] makes.
    pub(in crate::processes) fn into_spec(self, pieces: Vec<Bytes>) -> Option<(RunSpec, Bytes)> {
        let mut pieces = pieces.into_iter();
        let (body, stdin) = (pieces.next()?, pieces.next()?);
        let content_type = self.content_type.into();
        let input = match self.input {
            Some(path) => GuestInput::File { content_type, path },
            None => GuestInput::Inline(Payload { content_type, body }),
        };
        let mut files = Vec::new();
        for file in self.files {
            let bytes = pieces.next()?;
            let place = if file.in_work {
                InputPlace::Work
            } else {
                InputPlace::In
            };
            let content = match file.file {
                Some(path) => InputContent::File(path),
                None => InputContent::Bytes(bytes),
            };
            files.push(InputFile::new(&file.name, place, content).ok()?);
        }
        let dirs = self.dirs.into_iter().map(|(path, at, writable)| Mount {
            path,
            at,
            access: if writable {
                Access::Write
            } else {
                Access::Read
            },
        });
        let spec = RunSpec {
            program: self.program,
            input,
            args: self.args,
            env: self.env,
            limits: self.limits,
            files,
            dirs: dirs.collect(),
            // The host holds it.
            outward: Outward::default(),
            isolation: Isolation::Process,
            identity: Identity {
                task_id: self.task_id,
                attempt: self.attempt,
            },
        };
        Some((spec, stdin))
    }
}
