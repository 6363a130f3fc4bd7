//! The child: reads one module, describes it, compiles it, and ends.
//!
//! It is this program started again with an empty environment. It can reach nothing beyond its
//! standard input and output; `confine` makes sure of that.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::mpsc;

use rustix::io::Errno;
use wasmtime::{Engine, OutOfMemory};

use super::confine::lock_in;
use super::inspect;
use super::protocol::{Accepted, Header, Kind, Orders, Rejection, Verdict, write_header};
use crate::engine::{EngineShape, engine_config};

/// The exit code of a child that could not even answer.
const BROKEN: u8 = 70;

/// The program's hidden entry: `cofferdam compile-child …`. `args` are those after that word.
pub fn child_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(orders) = Orders::from_args(args) else {
        return complain("compile-child is for the host's own use");
    };
    let (input_is_read, wait_for_input) = mpsc::channel();
    let confinement = match lock_in(&orders, || leave_with_the_parent(wait_for_input)) {
        Ok(confinement) => confinement,
        Err(error) => return complain(&format!("cannot lock itself in: {error}")),
    };
    // On a thread of the pool, whose stack was mapped before memory could run short.
    let answer = rayon::scope(|_| work(&orders, &input_is_read));
    let (answer, code) = match answer {
        Ok((verdict, code)) => {
            let code_bytes = code.len() as u64;
            (
                Ok(Accepted {
                    verdict,
                    code_bytes,
                }),
                code,
            )
        }
        Err(rejection) => (Err(rejection), Vec::new()),
    };
    let mut out = io::stdout().lock();
    let sent = write_header(
        &mut out,
        &Header {
            confinement,
            answer,
        },
    )
    .and_then(|()| out.write_all(&code))
    .and_then(|()| out.flush());
    match sent {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("cannot answer: {error}")),
    }
}

fn complain(what: &str) -> ExitCode {
    // If this fails, nobody is left to tell.
    let _unheard = writeln!(io::stderr(), "{what}");
    ExitCode::from(BROKEN)
}

/// The parent keeps our standard input open for as long as it waits. If it ends, the parent is gone
/// and nobody needs the code.
fn leave_with_the_parent(input_is_read: mpsc::Receiver<()>) -> io::Result<()> {
    let watch = move || {
        if input_is_read.recv().is_ok() {
            let _nothing_more_comes = io::stdin().lock().read(&mut [0_u8]);
            std::process::exit(i32::from(BROKEN));
        }
    };
    std::thread::Builder::new()
        .name("parent-watch".to_owned())
        .stack_size(64 * 1024)
        .spawn(watch)
        .map(|_ends_with_the_process| ())
}

fn work(
    orders: &Orders,
    input_is_read: &mpsc::Sender<()>,
) -> Result<(Verdict, Vec<u8>), Rejection> {
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(orders.input_bytes)
        .read_to_end(&mut bytes)
        .map_err(|error| Rejection::Failed(format!("cannot read the module: {error}")))?;
    if bytes.len() as u64 != orders.input_bytes {
        return Err(Rejection::Failed(
            "the module did not arrive whole".to_owned(),
        ));
    }
    // The watcher exists as long as the process does.
    let _watched = input_is_read.send(());
    let wasm = inspect::binary(&bytes)?;
    let verdict = inspect::verdict(&wasm)?;
    let shape = EngineShape {
        class: orders.class,
        stack_bytes: orders.stack_bytes,
    };
    let engine = Engine::new(&engine_config(shape)).map_err(|error| failure(&error))?;
    let code = match verdict.kind {
        Kind::Task | Kind::Command => engine.precompile_component(&wasm),
        Kind::CoreCommand => engine.precompile_module(&wasm),
    };
    Ok((verdict, code.map_err(|error| refusal(&error))?))
}

fn refusal(error: &wasmtime::Error) -> Rejection {
    match out_of_memory(error) {
        true => Rejection::OutOfMemory,
        false => Rejection::Refused(format!("it does not compile: {}", in_full(error))),
    }
}

fn failure(error: &wasmtime::Error) -> Rejection {
    match out_of_memory(error) {
        true => Rejection::OutOfMemory,
        false => Rejection::Failed(in_full(error)),
    }
}

/// An error and its causes in one line.
fn in_full(error: &wasmtime::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A failed mapping comes as an error, where a failed allocation ends the process.
fn out_of_memory(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        let as_io = cause.downcast_ref::<io::Error>();
        as_io.is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
            || cause.downcast_ref::<Errno>() == Some(&Errno::NOMEM)
            || cause.is::<OutOfMemory>()
    })
}
