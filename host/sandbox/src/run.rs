//! One run from its admission to its report.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::admission::{Admitted, Need, NeverFits, NoRoom, NotAdmitted, Patience};
use crate::guard::Guarded;
use crate::instance::{self, Answer, Call};
use crate::limiter::Denied;
use crate::load::LoadedModule;
use crate::meter::Meter;
use crate::outcome::{self, End, Evidence};
use crate::state::GuestState;
use crate::{EngineClass, Report, Run, Shared, Undescribed, surroundings};
use cofferdam_domain::attempt::{Captured, Failure, FailureKind, Outcome, Streams, Usage};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Descriptor, ModuleKind};

/// A guest in its store, and the state it left there.
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
) -> Result<Report, NoRoom> {
    let (limits, kill, patience) = {
        let attachments = &run.attachments;
        (
            run.spec.limits,
            attachments.control.kill.clone(),
            attachments.patience,
        )
    };
    let came = Instant::now();
    let admitted = match admit(&shared, &module, &limits, &kill, &patience).await {
        Ok(admitted) => admitted,
        Err(NotBegun::Failed(failure)) => return Ok(Report::not_begun(failure)),
        Err(NotBegun::NoRoom(no_room)) => return Err(no_room),
    };
    let waited = came.elapsed();
    let prepared = surroundings::of_run(&shared, &module, run, Arc::clone(&meter)).await;
    let (mut state, input) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            return Ok(Report::not_begun(Failure::new(
                FailureKind::HostError,
                format!("the input could not be opened: {error}"),
            )));
        }
    };
    let deadline = surroundings::deadline(state.wasi.started(), &limits);
    let deadline = patience
        .end_by
        .map_or(deadline, |end_by| end_by.min(deadline));
    state.end_by(deadline);
    state.limiter.may_grow_by(admitted.growth());
    let call = Call::Run(&input);
    let driven = drive(&shared, &module, state, &limits, &kill, deadline, call).await;
    drop(admitted);
    module.learn(meter.is_long());
    let starved = is_starved(&driven.state);
    let mut report = report(&shared, module.named(), driven, &limits).await;
    match &mut report.outcome {
        Outcome::Failed(_) if starved => Err(NoRoom::Memory),
        Outcome::Failed(failure) => {
            tell_wait(failure, waited);
            Ok(report)
        }
        Outcome::Completed(_) => Ok(report),
    }
}

/// Whether the guest was refused memory that its limit allows.
fn is_starved(state: &GuestState) -> bool {
    match state.limiter.denied() {
        Some(Denied::Budget { .. }) => true,
        Some(Denied::Memory { .. } | Denied::Elements { .. }) | None => false,
    }
}

/// A run that waited has less of its time left, and its failure says so.
fn tell_wait(failure: &mut Failure, waited: Duration) {
    if failure.kind == FailureKind::Timeout && waited.as_millis() > 0 {
        let waited = format!("; it had waited {} ms for room before", waited.as_millis());
        failure.message.push_str(&waited);
    }
}

/// Asks a module to describe itself, under limits like any run.
pub(crate) async fn describe(
    shared: &Shared,
    module: &LoadedModule,
    limits: &Limits,
) -> Result<Option<Descriptor>, Undescribed> {
    let kill = CancellationToken::new();
    let meter = Arc::new(Meter::new(limits.cpu));
    let patience = Patience {
        begin_by: Some(Instant::now() + shared.queue_timeout),
        ..Patience::default()
    };
    let admitted = admit(shared, module, limits, &kill, &patience).await?;
    let mut state = surroundings::of_description(shared, module, limits, meter);
    state.limiter.may_grow_by(admitted.growth());
    let deadline = surroundings::deadline(state.wasi.started(), limits);
    let call = Call::Describe;
    let driven = drive(shared, module, state, limits, &kill, deadline, call).await;
    let starved = is_starved(&driven.state);
    let evidence = evidence(shared, module.named(), &driven.state, &driven.usage, limits);
    let described = outcome::description(driven.end, &evidence);
    described.map_err(|failure| match starved {
        true => Undescribed::NoRoom(NoRoom::Memory),
        false => Undescribed::Failed(failure),
    })
}

/// Why a run did not begin.
pub(crate) enum NotBegun {
    Failed(Failure),
    NoRoom(NoRoom),
}

impl From<NotBegun> for Undescribed {
    fn from(not_begun: NotBegun) -> Undescribed {
        match not_begun {
            NotBegun::Failed(failure) => Undescribed::Failed(failure),
            NotBegun::NoRoom(no_room) => Undescribed::NoRoom(no_room),
        }
    }
}

impl From<NotAdmitted> for NotBegun {
    fn from(refused: NotAdmitted) -> NotBegun {
        let failed =
            |kind, never: NeverFits| NotBegun::Failed(Failure::new(kind, never.to_string()));
        match refused {
            NotAdmitted::NoRoom(no_room) => NotBegun::NoRoom(no_room),
            NotAdmitted::Never(never @ NeverFits::Memory { .. }) => {
                failed(FailureKind::MemoryExceeded, never)
            }
            NotAdmitted::Never(never @ NeverFits::Slots { .. }) => {
                failed(FailureKind::HostResourcesExceeded, never)
            }
        }
    }
}

pub(crate) async fn admit(
    shared: &Shared,
    module: &LoadedModule,
    limits: &Limits,
    kill: &CancellationToken,
    patience: &Patience,
) -> Result<Admitted, NotBegun> {
    let need = Need {
        memory_bytes: limits.memory_bytes,
        slots: module.slots(),
    };
    tokio::select! {
        biased;
        admitted = shared.admission.admit(module.class(), need, patience) => Ok(admitted?),
        () = kill.cancelled() => {
            let why = "the run was stopped before it began";
            Err(NotBegun::Failed(Failure::new(FailureKind::Cancelled, why)))
        }
    }
}

/// Makes a store, calls the guest under guard and takes the store apart.
async fn drive(
    shared: &Shared,
    module: &LoadedModule,
    state: GuestState,
    limits: &Limits,
    kill: &CancellationToken,
    deadline: Instant,
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
        Guarded::new(call, &meter, kill, deadline).await
    };
    let fuel = match (class, limits.fuel) {
        (EngineClass::Metered, Some(given)) => {
            store.get_fuel().ok().map(|left| given.saturating_sub(left))
        }
        (EngineClass::Metered, None) | (EngineClass::Fast | EngineClass::Interpreter, _) => None,
    };
    let state = store.into_data();
    let usage = Usage {
        duration: started.elapsed(),
        cpu: meter.used(),
        fuel,
        peak_memory_bytes: state.limiter.peak_bytes(),
        disk_bytes: state.files.peak_bytes(),
    };
    Driven { end, state, usage }
}

pub(crate) fn evidence<'a>(
    shared: &Shared,
    (kind, class): (ModuleKind, EngineClass),
    state: &GuestState,
    usage: &Usage,
    limits: &'a Limits,
) -> Evidence<'a> {
    Evidence {
        kind,
        limits,
        stack_bytes: shared.engines.of(class).stack_bytes(),
        denied: state.limiter.denied(),
        duration: usage.duration,
        cpu: usage.cpu,
        fuel: usage.fuel,
    }
}

async fn report(
    shared: &Shared,
    named: (ModuleKind, EngineClass),
    driven: Driven,
    limits: &Limits,
) -> Report {
    let Driven {
        end,
        mut state,
        usage,
    } = driven;
    let (stdout, stderr) = state.wasi.outputs();
    let (mut stdout, stderr) = (stdout.take(), stderr.take());
    let output_is_stdout = matches!(end, End::Answered(Answer::Exited(0)));
    if output_is_stdout {
        truncate(&mut stdout, limits.output_bytes);
    }
    let outcome = outcome::outcome(
        end,
        &stdout,
        &evidence(shared, named, &state, &usage, limits),
    );
    match &outcome {
        Outcome::Completed(_) if output_is_stdout => stdout.bytes.clear(),
        Outcome::Completed(_) | Outcome::Failed(_) => truncate(&mut stdout, limits.stdout_bytes),
    }
    let streams = Streams {
        stdout,
        stderr,
        log: state.log.take(),
    };
    let files = state.into_files().await;
    Report {
        outcome,
        usage,
        streams,
        files,
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
    /// The report of a run that never started.
    pub fn not_begun(failure: Failure) -> Report {
        Report {
            outcome: Outcome::Failed(failure),
            usage: Usage::default(),
            streams: Streams::default(),
            files: None,
        }
    }
}
