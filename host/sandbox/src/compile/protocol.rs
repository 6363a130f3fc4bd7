//! The protocol between parent and child.
//!
//! The parent gives the child its orders as arguments and the module on standard input. The child
//! answers on standard output with one frame: a magic word, the length of a JSON header, the
//! header, and behind it, if the module was accepted, exactly as many bytes of code as the header
//! promises. The parent checks every length before it trusts the answer.

use std::ffi::OsString;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::EngineClass;
use cofferdam_domain::module::ModuleKind;

/// Marks the start of a frame, so that a stray line on standard output is not taken for an answer.
const MAGIC: [u8; 4] = *b"CFD1";
/// The longest header. 50 000 imports with long names fit.
const HEADER_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// The code is taken in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;
/// A reason that users see is cut to this length.
pub(super) const REASON_BYTES_MAX: usize = 2048;

/// The child's orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orders {
    /// The engine to compile for.
    pub(super) class: EngineClass,
    /// Part of the engine's shape.
    pub(super) stack_bytes: usize,
    /// The length of the module on standard input.
    pub(super) input_bytes: u64,
    /// Address space it may use beyond that of the program itself.
    pub(super) memory_bytes: u64,
    /// CPU seconds it may use, all threads together.
    pub(super) cpu_s: u64,
    /// Threads to compile on.
    pub(super) threads: usize,
}

impl Orders {
    /// As arguments.
    pub(super) fn to_args(self) -> [String; 6] {
        [
            self.class.as_str().to_owned(),
            self.stack_bytes.to_string(),
            self.input_bytes.to_string(),
            self.memory_bytes.to_string(),
            self.cpu_s.to_string(),
            self.threads.to_string(),
        ]
    }

    /// Reads arguments; `None` if they are not exactly those that [`Orders::to_args`] makes.
    pub(super) fn from_args(args: impl IntoIterator<Item = OsString>) -> Option<Orders> {
        let mut args = args.into_iter().map(|arg| arg.into_string().ok());
        let mut next = || args.next().flatten();
        let class = next()?;
        let orders = Orders {
            class: EngineClass::ALL
                .into_iter()
                .find(|known| known.as_str() == class)?,
            stack_bytes: next()?.parse().ok()?,
            input_bytes: next()?.parse().ok()?,
            memory_bytes: next()?.parse().ok()?,
            cpu_s: next()?.parse().ok()?,
            threads: next()?.parse().ok()?,
        };
        next().is_none().then_some(orders)
    }
}

/// Why the child made no code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rejection {
    /// The module is at fault.
    Refused(String),
    /// It is too large or too costly.
    Limit(String),
    /// The child ran out of memory.
    OutOfMemory,
    /// The child could not do its work.
    Failed(String),
}

/// The kind of a module: the domain's kinds on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Task,
    Command,
    CoreCommand,
}

impl From<Kind> for ModuleKind {
    fn from(kind: Kind) -> ModuleKind {
        match kind {
            Kind::Task => ModuleKind::Task,
            Kind::Command => ModuleKind::Command,
            Kind::CoreCommand => ModuleKind::CoreCommand,
        }
    }
}

/// The result of the inspection. It is kept beside the code, under the same MAC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) kind: Kind,
    /// Sorted, without repetition.
    pub(super) imports: Vec<String>,
    /// Sorted, without repetition.
    pub(super) needs: Vec<String>,
}

impl Verdict {
    pub(super) fn new(kind: Kind, mut imports: Vec<String>, mut needs: Vec<String>) -> Verdict {
        imports.sort_unstable();
        imports.dedup();
        needs.sort_unstable();
        needs.dedup();
        Verdict {
            kind,
            imports,
            needs,
        }
    }
}

/// The child's confinement besides its limits. A kernel may offer one, both or none of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Landlock: no file can be opened, no port bound or connected.
    pub landlock: bool,
    /// Seccomp: only memory, waiting of threads, and reading and writing open pipes are allowed.
    pub seccomp: bool,
}

/// The header of the child's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) confinement: Confinement,
    pub(super) answer: Result<Accepted, Rejection>,
}

/// The good answer: code follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub(super) verdict: Verdict,
    pub(super) code_bytes: u64,
}

/// Writes the frame's start; the code is written behind it.
pub(super) fn write_header(out: &mut impl Write, header: &Header) -> io::Result<()> {
    let json = serde_json::to_vec(header)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    out.write_all(&MAGIC)?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(&json)
}

/// Reads the frame's start.
pub(super) fn read_header(from: &mut impl Read) -> io::Result<Header> {
    let mut start = [0_u8; 8];
    from.read_exact(&mut start)?;
    let [m0, m1, m2, m3, l0, l1, l2, l3] = start;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if [m0, m1, m2, m3] != MAGIC || length > HEADER_BYTES_MAX {
        return Err(io::Error::other(
            "the child's answer does not begin with a header",
        ));
    }
    let mut json = Vec::new();
    from.by_ref()
        .take(u64::from(length))
        .read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// Reads a whole answer: the header, and exactly the promised bytes of code, piece by piece. An
/// answer that promises more than `code_max` bytes is an error.
pub(super) fn read_answer(
    from: &mut impl Read,
    code_max: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Header> {
    let header = read_header(from)?;
    let Ok(accepted) = &header.answer else {
        return Ok(header);
    };
    let promised = accepted.code_bytes;
    if promised == 0 || promised > code_max {
        return Err(io::Error::other(format!(
            "the child promises {promised} bytes"
        )));
    }
    let mut piece = vec![0_u8; PIECE_BYTES];
    let mut left = promised;
    while left > 0 {
        let room = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        let read = from.read(&mut piece[..room])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        take(&piece[..read])?;
        left -= read as u64;
    }
    Ok(header)
}

/// Cuts a reason to the length that is shown and remembered.
pub(super) fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_BYTES_MAX {
        let end = (0..=REASON_BYTES_MAX)
            .rev()
            .find(|&at| reason.is_char_boundary(at));
        reason.truncate(end.unwrap_or(0));
        reason.push('…');
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_arguments() {
        let orders = Orders {
            class: EngineClass::Metered,
            stack_bytes: 1,
            input_bytes: 2,
            memory_bytes: 3,
            cpu_s: 4,
            threads: 5,
        };
        let args = || orders.to_args().into_iter().map(OsString::from);
        assert_eq!(Orders::from_args(args()), Some(orders));
        assert_eq!(Orders::from_args(args().take(5)), None);
        assert_eq!(Orders::from_args(args().chain([OsString::from("6")])), None);
    }

    #[test]
    fn a_stray_answer_is_no_header() {
        let header = Header {
            confinement: Confinement::default(),
            answer: Err(Rejection::Refused("no".to_owned())),
        };
        let mut frame = Vec::new();
        write_header(&mut frame, &header).unwrap();
        assert_eq!(read_header(&mut frame.as_slice()).unwrap(), header);
        assert!(read_header(&mut &frame[..frame.len() - 1]).is_err());
        assert!(read_header(&mut b"thread 'main' panicked".as_slice()).is_err());
        let huge = [b'C', b'F', b'D', b'1', 0xff, 0xff, 0xff, 0xff];
        assert!(read_header(&mut huge.as_slice()).is_err());
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        let cut = shortened("é".repeat(REASON_BYTES_MAX));
        assert!(cut.len() <= REASON_BYTES_MAX + '…'.len_utf8());
        assert_eq!(shortened("short".to_owned()), "short");
    }
}
