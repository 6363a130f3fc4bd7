//! One run from its admission to its report.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use wasmtime::component::ResourceTable;

use crate::domain::attempt::Payload;
use crate::domain::attempt::{Captured, Failure, FailureKind, Outcome, Stream, Streams, Usage};
use crate::domain::limits::Limits;
use crate::domain::module::{Descriptor, ModuleKind};
use crate::sandbox::admission::{Admitted, Need, NeverFits};
use crate::sandbox::control::Control;
use crate::sandbox::instance::{self, Answer, Call, Fault};
use crate::sandbox::interfaces::context::Remaining;
use crate::sandbox::interfaces::wasi::{Input, Setup, Wasi};
use crate::sandbox::interfaces::{context, log};
use crate::sandbox::limiter::Limiter;
use crate::sandbox::load::LoadedModule;
use crate::sandbox::meter::Meter;
use crate::sandbox::outcome::{self, End, Evidence, Stop};
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
        Guarded {
            call,
            meter: &meter,
            kill,
            deadline: deadline(started, limits),
            waits: None,
        }
        .await
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

/// The call into the guest and everything that ends it from outside. A guest that finishes at
/// once never pays for a timer or a place in the kill token's list.
struct Guarded<'a, F> {
    call: Pin<&'a mut F>,
    meter: &'a Meter,
    kill: &'a CancellationToken,
    deadline: Instant,
    waits: Option<Waits<'a>>,
}

struct Waits<'a> {
    timer: Pin<Box<Sleep>>,
    kill: Pin<Box<WaitForCancellationFuture<'a>>>,
}

impl<F> Future for Guarded<'_, F>
where
    F: Future<Output = Result<Answer, Fault>>,
{
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<End> {
        let this = &mut *self;
        if this.kill.is_cancelled() {
            return Poll::Ready(End::Stopped(Stop::Killed));
        }
        this.meter.open();
        // The store is dropped after a panic and nothing else is shared with the guest.
        let polled = catch_unwind(AssertUnwindSafe(|| this.call.as_mut().poll(context)));
        this.meter.close();
        match polled {
            Ok(Poll::Ready(Ok(answer))) => Poll::Ready(End::Answered(answer)),
            Ok(Poll::Ready(Err(fault))) => Poll::Ready(End::Faulted(fault)),
            Ok(Poll::Pending) => this.poll_limits(context).map(End::Stopped),
            Err(panic) => Poll::Ready(End::Stopped(Stop::Panicked(text_of(&*panic)))),
        }
    }
}

impl<F> Guarded<'_, F> {
    /// Ready when something outside the guest ends it.
    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<Stop> {
        if self.meter.used() > self.meter.allowed() {
            return Poll::Ready(Stop::CpuExhausted);
        }
        // Asked directly as well, because a busy machine may turn its timers late.
        if Instant::now() >= self.deadline {
            return Poll::Ready(Stop::TimedOut);
        }
        let waits = self.waits.get_or_insert_with(|| Waits {
            timer: Box::pin(tokio::time::sleep_until(self.deadline.into())),
            kill: Box::pin(self.kill.cancelled()),
        });
        if waits.kill.as_mut().poll(context).is_ready() {
            return Poll::Ready(Stop::Killed);
        }
        waits.timer.as_mut().poll(context).map(|()| Stop::TimedOut)
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
