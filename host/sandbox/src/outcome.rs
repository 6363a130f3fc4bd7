//! How a run ended, in the product's words: every limit has its own failure kind and its figures.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};

use crate::files::{DiskExceeded, FilesError};
use crate::instance::{Answer, CpuExhausted, Fault, Stage};
use crate::interfaces::handler::Refusal;
use crate::limiter::Denied;
use cofferdam_domain::attempt::{Captured, Failure, FailureKind, Outcome, Payload};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Descriptor, ModuleKind};
use cofferdam_domain::said;

/// The first words of wasmtime's backtrace, which comes before an error's causes.
const BACKTRACE_BEGINS: &str = "error while executing at wasm backtrace";

/// The end of the guarded call.
#[derive(Debug)]
pub(crate) enum End<A = Answer> {
    /// The guest answered.
    Answered(A),
    /// It failed.
    Faulted(Fault),
    /// The host ended it.
    Stopped(Stop),
}

/// Why the host ended a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A caller or the host stopped it.
    Killed,
    /// The wall clock.
    TimedOut,
    /// CPU time, seen between two slices.
    CpuExhausted,
    /// A host function panicked.
    Panicked(String),
}

/// The facts that decide the outcome.
pub(crate) struct Evidence<'a> {
    pub(crate) kind: ModuleKind,
    pub(crate) limits: &'a Limits,
    pub(crate) stack_bytes: usize,
    pub(crate) denied: Option<Denied>,
    pub(crate) duration: Duration,
    pub(crate) cpu: Duration,
    pub(crate) fuel: Option<u64>,
}

/// The outcome of a run. `stdout` is a command's output.
pub(crate) fn outcome(end: End, stdout: &Captured, evidence: &Evidence<'_>) -> Outcome {
    match end {
        End::Answered(Answer::Output(output)) => {
            let (used, allowed) = (output.body.len() as u64, evidence.limits.output_bytes);
            if used > allowed {
                return Outcome::Failed(Failure::new(
                    FailureKind::OutputExceeded,
                    format!("the output is {used} bytes long; {allowed} are allowed"),
                ));
            }
            Outcome::Completed(output)
        }
        End::Answered(Answer::Exited(code)) => match (evidence.kind, code) {
            (ModuleKind::Command | ModuleKind::CoreCommand, 0) => Outcome::Completed(Payload {
                content_type: text_type(&stdout.bytes),
                body: stdout.bytes.clone(),
            }),
            // A process that exits has its own reason, whatever memory it was denied before.
            (ModuleKind::Interpreter(_) | ModuleKind::Script(_), code) => {
                Outcome::Failed(exit(code))
            }
            // A task module must answer: an exit with 0 instead is a failure too.
            (_, code) => Outcome::Failed(after_denial(exit(code), evidence.denied)),
        },
        End::Answered(Answer::Refused(refusal)) => {
            Outcome::Failed(after_denial(refused(refusal), evidence.denied))
        }
        End::Answered(Answer::Described(_) | Answer::Undescribed) => Outcome::Failed(Failure::new(
            FailureKind::HostError,
            "the guest was asked to run and described itself",
        )),
        End::Faulted(fault) => Outcome::Failed(faulted(&fault, evidence)),
        End::Stopped(stop) => Outcome::Failed(stopped(stop, evidence)),
    }
}

/// The description of a module; `None` for a command.
pub(crate) fn description(
    end: End,
    evidence: &Evidence<'_>,
) -> Result<Option<Descriptor>, Failure> {
    match end {
        End::Answered(Answer::Described(descriptor)) => Ok(Some(descriptor)),
        End::Answered(Answer::Undescribed) => Ok(None),
        End::Answered(Answer::Output(_) | Answer::Refused(_) | Answer::Exited(_)) => {
            Err(Failure::new(
                FailureKind::HostError,
                "the guest ran instead of describing itself",
            ))
        }
        End::Faulted(fault) => Err(faulted(&fault, evidence)),
        End::Stopped(stop) => Err(stopped(stop, evidence)),
    }
}

fn exit(code: i32) -> Failure {
    Failure {
        exit_code: Some(code),
        ..Failure::new(
            FailureKind::Exit,
            format!("the guest ended itself with exit code {code}"),
        )
    }
}

fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::InvalidInput(why) => Failure::new(FailureKind::InvalidInput, why),
        Refusal::Permanent(why) => Failure::new(FailureKind::GuestError, why),
        Refusal::Transient(why) => Failure {
            transient: true,
            ..Failure::new(FailureKind::GuestError, why)
        },
    }
}

/// A run that the host ended.
pub(crate) fn stopped(stop: Stop, evidence: &Evidence<'_>) -> Failure {
    match stop {
        Stop::Killed => Failure::new(FailureKind::Cancelled, "the run was stopped"),
        Stop::TimedOut => Failure::new(
            FailureKind::Timeout,
            format!(
                "the run took {} ms; {} ms are allowed",
                evidence.duration.as_millis(),
                evidence.limits.timeout.as_millis()
            ),
        ),
        Stop::CpuExhausted => cpu_exhausted(evidence),
        Stop::Panicked(what) => Failure::new(
            FailureKind::HostError,
            format!("a host function panicked: {what}"),
        ),
    }
}

fn cpu_exhausted(evidence: &Evidence<'_>) -> Failure {
    Failure::new(
        FailureKind::CpuExhausted,
        format!(
            "the run used {} ms of CPU time; {} ms are allowed",
            evidence.cpu.as_millis(),
            evidence.limits.cpu.as_millis()
        ),
    )
}

fn faulted(fault: &Fault, evidence: &Evidence<'_>) -> Failure {
    let mut failure = classified(fault, evidence);
    failure.backtrace = fault
        .error
        .downcast_ref::<WasmBacktrace>()
        .filter(|backtrace| !backtrace.frames().is_empty())
        .map(|backtrace| said::cut(backtrace.to_string(), said::BACKTRACE_BYTES_MAX));
    failure
}

fn classified(fault: &Fault, evidence: &Evidence<'_>) -> Failure {
    let limits = evidence.limits;
    if fault.error.is::<CpuExhausted>() {
        return cpu_exhausted(evidence);
    }
    if let Some(exceeded) = fault.error.downcast_ref::<DiskExceeded>() {
        return Failure::new(FailureKind::DiskExceeded, exceeded.to_string());
    }
    match fault.error.downcast_ref::<FilesError>() {
        Some(FilesError::Inputs(exceeded)) => {
            return Failure::new(FailureKind::DiskExceeded, exceeded.to_string());
        }
        Some(
            error @ (FilesError::Scratch(_) | FilesError::Input { .. } | FilesError::Mount { .. }),
        ) => return Failure::new(FailureKind::HostError, error.to_string()),
        None => {}
    }
    match fault.error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => {
            let allowed = limits.fuel.unwrap_or(u64::MAX);
            let used = evidence.fuel.unwrap_or(allowed);
            return Failure::new(
                FailureKind::FuelExhausted,
                format!("the run used {used} of {allowed} units of fuel"),
            );
        }
        Some(Trap::StackOverflow) => {
            return Failure::new(
                FailureKind::StackOverflow,
                format!(
                    "the guest's call stack is used up; {} bytes are allowed",
                    evidence.stack_bytes
                ),
            );
        }
        Some(trap) => {
            let failure = Failure::new(FailureKind::Trap, trap.to_string());
            return after_denial(failure, evidence.denied);
        }
        None => {}
    }
    if let Some(failure) = host_resources(&fault.error, limits) {
        return failure;
    }
    let message = reason(&fault.error);
    match fault.stage {
        Stage::Instantiate if !fault.error.is::<WasmBacktrace>() => after_denial(
            Failure::new(
                FailureKind::HostError,
                format!("no instance could be made: {message}"),
            ),
            evidence.denied,
        ),
        // A refusal by a host function, or a malformed answer, is the guest's fault.
        Stage::Instantiate | Stage::Call => {
            after_denial(Failure::new(FailureKind::Trap, message), evidence.denied)
        }
    }
}

/// An error's causes without the backtrace, which is reported separately.
fn reason(error: &wasmtime::Error) -> String {
    let causes: Vec<String> = error
        .chain()
        .map(ToString::to_string)
        .filter(|cause| !cause.starts_with(BACKTRACE_BEGINS))
        .collect();
    causes.join(": ")
}

/// wasmtime's messages when a store holds as many handles as it may.
const HANDLES: [&str; 2] = [
    "cannot allocate another handle: store handle limit exceeded",
    "cannot lend resource: store handle limit exceeded",
];

/// wasmtime's message when a host call takes or returns more bytes than it may.
const HOSTCALL: &str = "too much data is being copied between the host and the guest: \
                        fuel allocated for hostcalls has been exhausted";

/// The limits that wasmtime itself enforces and reports with private error types; a test pins each
/// text. Only the innermost cause counts, and only as a whole: the others, and above all the
/// backtrace, quote names that the guest chose.
fn host_resources(error: &wasmtime::Error, limits: &Limits) -> Option<Failure> {
    let exceeded = |message| Some(Failure::new(FailureKind::HostResourcesExceeded, message));
    if matches!(
        error.downcast_ref::<ResourceTableError>(),
        Some(ResourceTableError::Full)
    ) {
        let allowed = limits.resources;
        return exceeded(format!(
            "the guest holds {allowed} host resources; no more are allowed"
        ));
    }
    let cause = error.root_cause().to_string();
    if HANDLES.contains(&cause.as_str()) {
        let allowed = limits.handles;
        return exceeded(format!(
            "the guest holds {allowed} handles; no more are allowed"
        ));
    }
    if cause == HOSTCALL {
        // Data passed to a host function has guest frames below it; a result has none.
        if error.is::<WasmBacktrace>() {
            let allowed = limits.hostcall_bytes;
            return exceeded(format!(
                "one host call was given more than the {allowed} bytes that are allowed"
            ));
        }
        return Some(Failure::new(
            FailureKind::OutputExceeded,
            format!(
                "the output is longer than the {} bytes that are allowed",
                limits.output_bytes
            ),
        ));
    }
    let allowed = limits.random_bytes;
    let asked = cause
        .strip_prefix("requested len ")
        .and_then(|rest| rest.strip_suffix(&format!(" exceeds limit {allowed}")))
        .and_then(|asked| asked.parse::<u64>().ok());
    asked.and_then(|asked| {
        exceeded(format!(
            "one call asked for {asked} random bytes; {allowed} are allowed"
        ))
    })
}

/// A guest that failed after it was refused memory failed for lack of memory.
fn after_denial(failure: Failure, denied: Option<Denied>) -> Failure {
    match denied {
        None => failure,
        Some(denied) => Failure {
            transient: false,
            backtrace: failure.backtrace,
            exit_code: failure.exit_code,
            ..Failure::new(
                FailureKind::MemoryExceeded,
                format!("{denied}. The guest then ended: {}", failure.message),
            )
        },
    }
}

/// The media type of a command's output.
fn text_type(bytes: &Bytes) -> Arc<str> {
    static TEXT: LazyLock<Arc<str>> = LazyLock::new(|| "text/plain; charset=utf-8".into());
    static BINARY: LazyLock<Arc<str>> = LazyLock::new(|| "application/octet-stream".into());
    let is_text = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // The limit may cut it in the middle of a character: it is still text.
        Err(error) => error.error_len().is_none(),
    };
    Arc::clone(if is_text { &TEXT } else { &BINARY })
}
