//! One run from its admission to its report.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;

use crate::domain::attempt::Payload;
use crate::domain::attempt::{Captured, Failure, FailureKind, Outcome, Stream, Streams, Usage};
use crate::domain::limits::Limits;
use crate::domain::module::{Descriptor, ModuleKind};
use crate::sandbox::admission::{Admitted, Need, NeverFits};
use crate::sandbox::control::Control;
use crate::sandbox::guard::Guarded;
use crate::sandbox::instance::{self, Answer, Call};
use crate::sandbox::interfaces::context::Remaining;
use crate::sandbox::interfaces::wasi::{Input, Setup, Wasi};
use crate::sandbox::interfaces::{context, log};
use crate::sandbox::limiter::Limiter;
use crate::sandbox::load::LoadedModule;
use crate::sandbox::meter::Meter;
use crate::sandbox::outcome::{self, End, Evidence};
use crate::sandbox::state::GuestState;
use crate::sandbox::streams::{LiveInput, Output};
use crate::sandbox::{EngineClass, GuestInput, Identity, Report, Run, Shared, Stdin};

/// Stands for a deadline too far ahead to be an instant.
const FAR_AHEAD: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A guest in its store, and what it left there.
struct Driven {
    end: End,
    state: GuestState,
    usage: Usage,
}

/// Runs the guest and reports.
pub(crate) async fn execute(
    shared: Arc<Shared>,
    module: Arc<LoadedModule>,
    run: Run,
    meter: Arc<Meter>,
) -> Report {
    let Run {
        program,
        input,
        args,
        env,
        stdin,
        limits,
        dirs: _,
        identity,
        control,
    } = run;
    let admitted = match admit(&shared, &module, &limits, &control.kill).await {
        Ok(admitted) => admitted,
        Err(failure) => return Report::without_run(failure),
    };
    let started = Instant::now();
    let input = inline(input);
    let class = module.class();
    let kept_stdout = match module.kind() {
        ModuleKind::Task => limits.stdout_bytes,
        // A command's standard output is its output.
        ModuleKind::Command | ModuleKind::CoreCommand => {
            limits.stdout_bytes.max(limits.output_bytes)
        }
    };
    let output = |stream, kept: u64| {
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        Output::new(stream, kept, control.observer.clone())
    };
    let setup = Setup {
        args: std::iter::once(program).chain(args).collect(),
        env,
        stdin: stdin_of(stdin, &input, module.kind()),
        stdout: output(Stream::Stdout, kept_stdout),
        stderr: output(Stream::Stderr, limits.stderr_bytes),
        class,
        clock: shared.clock.clone(),
        started,
        random_bytes: limits.random_bytes,
        resources: limits.resources,
    };
    let state = state(setup, &limits, identity, &control, &meter);
    let driven = drive(
        &shared,
        &module,
        state,
        &limits,
        &control.kill,
        Call::Run(&input),
    )
    .await;
    drop(admitted);
    module.learn(meter.is_long());
    report(module.kind(), driven, &limits)
}

/// Asks a module what it is for, under limits like any run.
pub(crate) async fn describe(
    shared: &Shared,
    module: &LoadedModule,
    limits: &Limits,
) -> Result<Option<Descriptor>, Failure> {
    let control = Control::default();
    let meter = Arc::new(Meter::new(limits.cpu));
    let _admitted = admit(shared, module, limits, &control.kill).await?;
    let setup = Setup {
        args: Vec::new(),
        env: Vec::new(),
        stdin: Input::Closed,
        stdout: Output::new(Stream::Stdout, 0, None),
        stderr: Output::new(Stream::Stderr, 0, None),
        class: module.class(),
        clock: shared.clock.clone(),
        started: Instant::now(),
        random_bytes: limits.random_bytes,
        resources: limits.resources,
    };
    let state = state(setup, limits, Identity::default(), &control, &meter);
    let driven = drive(shared, module, state, limits, &control.kill, Call::Describe).await;
    outcome::description(
        driven.end,
        &evidence(module.kind(), &driven.state, &driven.usage, limits),
    )
}

async fn admit(
    shared: &Shared,
    module: &LoadedModule,
    limits: &Limits,
    kill: &CancellationToken,
) -> Result<Admitted, Failure> {
    let need = Need {
        memory_bytes: limits.memory_bytes,
        slots: module.slots(),
    };
    tokio::select! {
        biased;
        admitted = shared.admission.admit(need) => admitted.map_err(|never| match never {
            NeverFits::Memory { .. } => Failure::new(FailureKind::MemoryExceeded, never.to_string()),
            NeverFits::Slots { .. } => {
                Failure::new(FailureKind::HostResourcesExceeded, never.to_string())
            }
        }),
        () = kill.cancelled() => {
            Err(Failure::new(FailureKind::Cancelled, "the run was stopped before it began"))
        }
    }
}

fn inline(input: GuestInput) -> Payload {
    match input {
        GuestInput::Inline(payload) => payload,
        GuestInput::File {
            content_type,
            path: _,
        } => Payload {
            content_type,
            body: bytes::Bytes::new(),
        },
    }
}

fn stdin_of(stdin: Option<Stdin>, input: &Payload, kind: ModuleKind) -> Input {
    match (stdin, kind) {
        (Some(Stdin::Bytes(bytes)), _) => Input::Bytes(bytes),
        (Some(Stdin::Stream(stream)), _) => Input::Live(LiveInput::new(stream)),
        (None, ModuleKind::Task) => Input::Closed,
        (None, ModuleKind::Command | ModuleKind::CoreCommand) => Input::Bytes(input.body.clone()),
    }
}

fn state(
    setup: Setup,
    limits: &Limits,
    identity: Identity,
    control: &Control,
    meter: &Arc<Meter>,
) -> GuestState {
    let remaining = match setup.class {
        EngineClass::Fast => Remaining::Until(deadline(setup.started, limits)),
        EngineClass::Metered => Remaining::Always(limits.timeout),
    };
    let log_bytes = usize::try_from(limits.log_bytes).unwrap_or(usize::MAX);
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.resources as usize);
    GuestState {
        limiter: Limiter::new(limits),
        context: context::Ctx {
            identity,
            remaining,
            cancel: control.cancel.clone(),
            observer: control.observer.clone(),
        },
        log: log::Ctx::new(log_bytes, control.observer.clone()),
        wasi: Wasi::new(setup),
        table,
        meter: Arc::clone(meter),
    }
}

fn deadline(started: Instant, limits: &Limits) -> Instant {
    started
        .checked_add(limits.timeout)
        .unwrap_or_else(|| started + FAR_AHEAD)
}

/// Makes a store, calls the guest under guard and takes the store apart.
async fn drive(
    shared: &Shared,
    module: &LoadedModule,
    state: GuestState,
    limits: &Limits,
    kill: &CancellationToken,
    call: Call<'_>,
) -> Driven {
    let class = module.class();
    let started = state.wasi.started();
    let meter = Arc::clone(&state.meter);
    let _ticking = shared.ticker.run();
    let mut store = instance::store(&shared.engines.of(class).engine, class, limits, state);
    // The call is dropped before the store: a guest that was stopped unwinds its stack first.
    let end = {
        let call = pin!(instance::call(&mut store, module.program(), call));
        Guarded::new(call, &meter, kill, deadline(started, limits)).await
    };
    let fuel = match (class, limits.fuel) {
        (EngineClass::Metered, Some(given)) => {
            store.get_fuel().ok().map(|left| given.saturating_sub(left))
        }
        (EngineClass::Metered, None) | (EngineClass::Fast, _) => None,
    };
    let state = store.into_data();
    let usage = Usage {
        duration: started.elapsed(),
        cpu: meter.used(),
        fuel,
        peak_memory_bytes: state.limiter.peak_bytes(),
        disk_bytes: 0,
    };
    Driven { end, state, usage }
}

fn evidence<'a>(
    kind: ModuleKind,
    state: &GuestState,
    usage: &Usage,
    limits: &'a Limits,
) -> Evidence<'a> {
    Evidence {
        kind,
        limits,
        denied: state.limiter.denied(),
        duration: usage.duration,
        cpu: usage.cpu,
        fuel: usage.fuel,
    }
}

fn report(kind: ModuleKind, driven: Driven, limits: &Limits) -> Report {
    let Driven { end, state, usage } = driven;
    let (stdout, stderr) = state.wasi.outputs();
    let (mut stdout, stderr) = (stdout.take(), stderr.take());
    let output_is_stdout = matches!(end, End::Answered(Answer::Exited(0)));
    let outcome = outcome::outcome(end, &stdout, &evidence(kind, &state, &usage, limits));
    match &outcome {
        Outcome::Completed(_) if output_is_stdout => stdout.bytes.clear(),
        Outcome::Completed(_) | Outcome::Failed(_) => truncate(&mut stdout, limits.stdout_bytes),
    }
    let streams = Streams {
        stdout,
        stderr,
        log: state.log.into_captured(),
    };
    Report {
        outcome,
        usage,
        streams,
        files: None,
    }
}

fn truncate(captured: &mut Captured, bytes_max: u64) {
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if captured.bytes.len() > bytes_max {
        captured.bytes.truncate(bytes_max);
        captured.truncated = true;
    }
}

impl Report {
    /// The report of a run that never began.
    fn without_run(failure: Failure) -> Report {
        Report {
            outcome: Outcome::Failed(failure),
            usage: Usage::default(),
            streams: Streams::default(),
            files: None,
        }
    }
}
