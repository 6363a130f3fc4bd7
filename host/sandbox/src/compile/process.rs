//! The parent's side of one compilation: starts the child, feeds it, takes its answer, and makes
//! sure that the child is gone afterwards, whatever happened.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::protocol::{Accepted, Confinement, Header, Orders, Rejection, Verdict, read_answer};
use super::{COMMAND, no_room};
use crate::CompileError;
use crate::cache::Draft;

/// Makes the text parser also accept the older syntax of components; the parser has no other switch
/// for it.
const OLD_TEXT: (&str, &str) = ("WAST_STRICT_COMPONENT_INDICES", "0");
/// How much of the child's standard error is kept.
const STDERR_BYTES_MAX: u64 = 16 * 1024;

/// The result of a child that ended by itself.
pub(super) struct Answer {
    /// Its confinement on this machine.
    pub(super) confinement: Confinement,
    /// The verdict and the code, written but not yet sealed.
    pub(super) result: Result<(Verdict, Draft), Failed>,
}

/// Why a child gave no code.
#[derive(Debug)]
pub(super) enum Failed {
    /// It used up its memory.
    OutOfMemory,
    /// It used up its time.
    OutOfTime,
    /// The disk has no room for the code.
    NoRoom {
        /// The code is no shorter than this.
        code_bytes: u64,
        /// What the disk said.
        why: String,
    },
    /// Anything else.
    Otherwise(CompileError),
}

impl From<CompileError> for Failed {
    fn from(error: CompileError) -> Failed {
        Failed::Otherwise(error)
    }
}

/// Compiles `wasm` in a child of `program`; the code goes to `draft`.
///
/// Dropping the future kills the child.
pub(super) async fn compile(
    program: &Path,
    orders: Orders,
    time: Duration,
    wasm: Bytes,
    draft: Draft,
) -> Result<Answer, Failed> {
    let host = |error: io::Error| CompileError::Host(error.to_string());
    let child = Command::new(program)
        .arg(COMMAND)
        .args(orders.to_args())
        .env_clear()
        .env(OLD_TEXT.0, OLD_TEXT.1)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| CompileError::Host(format!("{} {COMMAND}: {error}", program.display())))?;
    let mut group = Group(child);
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (
        group.0.stdin.take(),
        group.0.stdout.take(),
        group.0.stderr.take(),
    ) else {
        return Err(CompileError::Host("the child has no pipes".to_owned()).into());
    };
    let stdout = File::from(stdout.into_owned_fd().map_err(host)?);
    let code_max = orders.memory_bytes;
    // This ends with the child's standard output, at the latest when the child is killed.
    let receiver = tokio::task::spawn_blocking(move || receive(stdout, draft, code_max));
    let talk = async {
        // A child that refuses early does not read to the end; its answer says more than this
        // error.
        let send = async { stdin.write_all(&wasm).await.ok() };
        let (_sent, complaint, received) = tokio::join!(send, first_of(stderr), receiver);
        (complaint, received, group.0.wait().await)
    };
    let Ok((complaint, received, status)) = tokio::time::timeout(time, talk).await else {
        group.end().await;
        return Err(Failed::OutOfTime);
    };
    let status = status.map_err(host)?;
    let received = received.map_err(|error| CompileError::Host(error.to_string()))?;
    match received {
        // This is checked before the child's end, which follows when nobody takes its answer.
        Err(Broken { code_bytes, error }) if no_room(&error) => Err(Failed::NoRoom {
            code_bytes,
            why: error.to_string(),
        }),
        Ok(_) | Err(_) if !status.success() => Err(died(status, &complaint)),
        Ok((header, draft)) => Ok(answer(header, draft)),
        Err(Broken { error, .. }) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let cut_short = "the child's answer was cut short".to_owned();
            Err(CompileError::Host(cut_short).into())
        }
        Err(Broken { error, .. }) => Err(host(error).into()),
    }
}

fn answer(header: Header, draft: Draft) -> Answer {
    let result = match header.answer {
        Ok(Accepted { verdict, .. }) => Ok((verdict, draft)),
        Err(Rejection::Refused(why)) => Err(CompileError::Refused(why).into()),
        Err(Rejection::Limit(why)) => Err(CompileError::Limit(why).into()),
        Err(Rejection::OutOfMemory) => Err(Failed::OutOfMemory),
        Err(Rejection::Failed(why)) => Err(CompileError::Host(why).into()),
    };
    Answer {
        confinement: header.confinement,
        result,
    }
}

/// An answer that did not come whole.
struct Broken {
    /// The code that came so far, with the piece that there was no room for.
    code_bytes: u64,
    error: io::Error,
}

/// Takes the child's answer: the header, and exactly the promised bytes of code straight to disk.
fn receive(mut from: File, mut draft: Draft, code_max: u64) -> Result<(Header, Draft), Broken> {
    let mut code_bytes = 0;
    let read = read_answer(&mut from, code_max, |piece| {
        code_bytes += piece.len() as u64;
        draft.write(piece)
    });
    match read {
        Ok(header) => Ok((header, draft)),
        Err(error) => Err(Broken { code_bytes, error }),
    }
}

/// The start of the child's standard error.
async fn first_of(stderr: tokio::process::ChildStderr) -> String {
    let mut bytes = Vec::new();
    // The part that could be read has to do.
    let _partial = stderr.take(STDERR_BYTES_MAX).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Why a child without an answer died.
fn died(status: ExitStatus, complaint: &str) -> Failed {
    let signal = status.signal().and_then(Signal::from_named_raw);
    // Only whole lines of the Rust runtime count: other output may quote names from the module. Two
    // threads that fail at once may write into each other's line.
    let says = |begin: &str, end: &str| {
        let mut lines = complaint.lines();
        lines.clone().any(|line| line.starts_with(begin)) && lines.any(|line| line.ends_with(end))
    };
    let out_of_memory = says("memory allocation of ", " bytes failed");
    let overflow = says("thread '", " has overflowed its stack");
    match signal {
        Some(signal) if signal == Signal::XCPU => Failed::OutOfTime,
        Some(signal) if signal == Signal::ABORT && out_of_memory => Failed::OutOfMemory,
        Some(signal) if signal == Signal::ABORT && overflow => CompileError::Limit(
            "the module nests so deeply that the compiler ran out of stack".to_owned(),
        )
        .into(),
        Some(_) | None => {
            let first = complaint
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("");
            CompileError::Host(format!("{status}: {first}")).into()
        }
    }
}

/// A child that leads its own process group; dropping this value kills it.
struct Group(Child);

impl Group {
    /// Kills and reaps it.
    async fn end(&mut self) {
        self.kill();
        // A killed child is reaped at once; an error means that it has been already.
        let _reaped = self.0.wait().await;
    }

    fn kill(&self) {
        // The id exists until the child is reaped, so it cannot name another process.
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _gone_already = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The runtime reaps the killed child.
        self.kill();
    }
}
