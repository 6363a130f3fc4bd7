//! Builds the state of a run's store from its specification: streams, files, clocks and counters.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::component::ResourceTable;

use crate::control::Control;
use crate::egress::Outward;
use crate::files::{FileClock, Files, FilesPlan, InputFile, Places};
use crate::interfaces::context::Remaining;
use crate::interfaces::http::{Direct, Http, Way};
use crate::interfaces::wasi::{Input, Setup, Wasi};
use crate::interfaces::{context, log};
use crate::limiter::Limiter;
use crate::meter::Meter;
use crate::state::GuestState;
use crate::streams::{LiveInput, Output};
use crate::{
    Attachments, EngineClass, GuestInput, Identity, Loaded, Mount, Run, RunSpec, Shared, Stdin,
};
use cofferdam_domain::attempt::{Payload, Stream};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::ModuleKind;

/// Represents a deadline too far ahead to be an instant.
const FAR_AHEAD: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The state of a run that begins now, and its input. It fails only if a command's spooled input
/// cannot be opened.
pub(crate) async fn of_run(
    shared: &Shared,
    module: &Loaded,
    run: Run,
    meter: Arc<Meter>,
) -> io::Result<(GuestState, Payload)> {
    let Attachments {
        stdin,
        control,
        way,
        patience: _,
    } = run.attachments;
    let RunSpec {
        program,
        input,
        args,
        env,
        limits,
        files,
        dirs,
        outward,
        isolation: _,
        identity,
    } = run.spec;
    let way = way
        .0
        .or_else(|| way_of(shared, outward, &identity, &program));
    let (input, spooled) = match input {
        GuestInput::Inline(payload) => (payload, None),
        GuestInput::File { content_type, path } => (
            Payload {
                content_type,
                body: Bytes::new(),
            },
            Some(path),
        ),
    };
    let kept_stdout = match module.kind() {
        ModuleKind::Task | ModuleKind::Interpreter(_) | ModuleKind::Script(_) => {
            limits.stdout_bytes
        }
        // A command's standard output is its output.
        ModuleKind::Command | ModuleKind::CoreCommand => {
            limits.stdout_bytes.max(limits.output_bytes)
        }
    };
    let setup = Setup {
        args: std::iter::once(program).chain(args).collect(),
        env,
        stdin: stdin_of(stdin, &input, spooled.as_ref(), module.kind()).await?,
        stdout: output(Stream::Stdout, kept_stdout, &control),
        stderr: output(Stream::Stderr, limits.stderr_bytes, &control),
        class: module.class(),
        clock: shared.clock.clone(),
        started: Instant::now(),
        random_bytes: limits.random_bytes,
        resources: limits.resources,
    };
    let files = files_of(shared, module, &limits, dirs, (spooled, files), &meter);
    Ok((
        state(setup, files, way, &limits, (identity, control), meter),
        input,
    ))
}

/// The state for a module that is asked to describe itself: it has no input and no grants.
pub(crate) fn of_description(
    shared: &Shared,
    module: &Loaded,
    limits: &Limits,
    meter: Arc<Meter>,
) -> GuestState {
    let control = Control::default();
    let setup = Setup {
        args: Vec::new(),
        env: Vec::new(),
        stdin: Input::Closed,
        stdout: output(Stream::Stdout, 0, &control),
        stderr: output(Stream::Stderr, 0, &control),
        class: module.class(),
        clock: shared.clock.clone(),
        started: Instant::now(),
        random_bytes: limits.random_bytes,
        resources: limits.resources,
    };
    let files = files_of(
        shared,
        module,
        limits,
        Vec::new(),
        (None, Vec::new()),
        &meter,
    );
    let nobody = (Identity::default(), control);
    state(setup, files, None, limits, nobody, meter)
}

/// The way out of a run in the host's own process, if it was granted one.
fn way_of(
    shared: &Shared,
    outward: Outward,
    identity: &Identity,
    program: &str,
) -> Option<Arc<dyn Way>> {
    let egress = shared.egress.as_ref()?;
    (!outward.grants.is_empty()).then(|| {
        Arc::new(Direct {
            egress: egress.clone(),
            pass: egress.pass(outward, &identity.task_id, program),
        }) as Arc<dyn Way>
    })
}

/// The end of a run that started at the given instant.
pub(crate) fn deadline(started: Instant, limits: &Limits) -> Instant {
    started
        .checked_add(limits.timeout)
        .unwrap_or_else(|| started + FAR_AHEAD)
}

async fn stdin_of(
    stdin: Option<Stdin>,
    input: &Payload,
    spooled: Option<&PathBuf>,
    kind: ModuleKind,
) -> io::Result<Input> {
    Ok(match (stdin, kind, spooled) {
        (Some(Stdin::Bytes(bytes)), _, _) => Input::Bytes(bytes),
        (Some(Stdin::Stream(stream)), _, _) => Input::Live(LiveInput::new(stream)),
        (None, ModuleKind::Task | ModuleKind::Interpreter(_) | ModuleKind::Script(_), _) => {
            Input::Closed
        }
        (None, ModuleKind::Command | ModuleKind::CoreCommand, None) => {
            Input::Bytes(input.body.clone())
        }
        (None, ModuleKind::Command | ModuleKind::CoreCommand, Some(path)) => {
            Input::Live(LiveInput::new(Box::new(tokio::fs::File::open(path).await?)))
        }
    })
}

fn output(stream: Stream, kept_bytes: u64, control: &Control) -> Output {
    Output::new(stream, in_memory(kept_bytes), control.observer.clone())
}

fn places(kind: ModuleKind) -> Places {
    match kind {
        ModuleKind::Interpreter(_) | ModuleKind::Script(_) => Places::Code,
        ModuleKind::Task | ModuleKind::Command | ModuleKind::CoreCommand => Places::Module,
    }
}

fn files_of(
    shared: &Shared,
    module: &Loaded,
    limits: &Limits,
    mounts: Vec<Mount>,
    (payload, inputs): (Option<PathBuf>, Vec<InputFile>),
    meter: &Arc<Meter>,
) -> Files {
    let plan = FilesPlan {
        disk_bytes: limits.disk_bytes,
        disk_files: limits.disk_files,
        over_quota: shared.over_quota,
        places: places(module.kind()),
        mounts,
        payload,
        inputs,
        clock: match module.class() {
            EngineClass::Fast | EngineClass::Interpreter | EngineClass::Unchecked => {
                FileClock::Coarse
            }
            EngineClass::Metered => FileClock::Fixed,
        },
    };
    Files::new(&shared.scratch, plan, Arc::clone(meter))
}

fn state(
    setup: Setup,
    files: Files,
    way: Option<Arc<dyn Way>>,
    limits: &Limits,
    (identity, control): (Identity, Control),
    meter: Arc<Meter>,
) -> GuestState {
    let remaining = match setup.class {
        EngineClass::Fast | EngineClass::Interpreter | EngineClass::Unchecked => {
            Remaining::Until(deadline(setup.started, limits))
        }
        EngineClass::Metered => Remaining::Always(limits.timeout),
    };
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.resources as usize);
    let log = log::Ctx::new(in_memory(limits.log_bytes), control.observer.clone());
    GuestState {
        limiter: Limiter::new(limits),
        http: Http::new(way, log.clone()),
        log,
        context: context::Ctx {
            identity,
            remaining,
            cancel: control.cancel,
            observer: control.observer,
        },
        wasi: Wasi::new(setup),
        files,
        table,
        meter,
    }
}

fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
