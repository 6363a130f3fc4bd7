//! One run from its admission to its report.

use std::pin::pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::admission::{Admitted, Need, NeverFits};
use crate::guard::Guarded;
use crate::instance::{self, Answer, Call};
use crate::load::LoadedModule;
use crate::meter::Meter;
use crate::outcome::{self, End, Evidence};
use crate::state::GuestState;
use crate::{EngineClass, Report, Run, Shared, surroundings};
use cofferdam_domain::attempt::{Captured, Failure, FailureKind, Outcome, Streams, Usage};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Descriptor, ModuleKind};

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
    let (limits, kill) = (run.spec.limits, run.attachments.control.kill.clone());
    let admitted = match admit(&shared, &module, &limits, &kill).await {
        Ok(admitted) => admitted,
        Err(failure) => return Report::not_begun(failure),
    };
    let prepared = surroundings::of_run(&shared, &module, run, Arc::clone(&meter)).await;
    let (state, input) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            return Report::not_begun(Failure::new(
                FailureKind::HostError,
                format!("the input could not be opened: {error}"),
            ));
        }
    };
    let driven = drive(&shared, &module, state, &limits, &kill, Call::Run(&input)).await;
    drop(admitted);
    module.learn(meter.is_long());
    report(&shared, module.named(), driven, &limits).await
}

/// Asks a module what it is for, under limits like any run.
pub(crate) async fn describe(
    shared: &Shared,
    module: &LoadedModule,
    limits: &Limits,
) -> Result<Option<Descriptor>, Failure> {
    let kill = CancellationToken::new();
    let meter = Arc::new(Meter::new(limits.cpu));
    let _admitted = admit(shared, module, limits, &kill).await?;
    let state = surroundings::of_description(shared, module, limits, meter);
    let driven = drive(shared, module, state, limits, &kill, Call::Describe).await;
    let evidence = evidence(shared, module.named(), &driven.state, &driven.usage, limits);
    outcome::description(driven.end, &evidence)
}

pub(crate) async fn admit(
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
        admitted = shared.admission.admit(module.class(), need) => admitted.map_err(|never| match never {
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
        Guarded::new(call, &meter, kill, surroundings::deadline(started, limits)).await
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
    /// The report of a run that never began.
    pub fn not_begun(failure: Failure) -> Report {
        Report {
            outcome: Outcome::Failed(failure),
            usage: Usage::default(),
            streams: Streams::default(),
            files: None,
        }
    }
}
