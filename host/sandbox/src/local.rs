//! One run in this process, as it was let in: a store, the guarded call, and what is left of both.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use crate::admission::Growth;
use crate::files::Left;
use crate::guard::Guarded;
use crate::instance::{self, Answer, Call};
use crate::limiter::Denied;
use crate::meter::Meter;
use crate::outcome::{self, End, Evidence};
use crate::state::GuestState;
use crate::streams::truncate;
use crate::witness::Witness;
use crate::{EngineClass, Loaded, Report, Run, Shared, surroundings};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Streams, Usage};
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Descriptor, ModuleKind};

/// A guest that ended, in its store.
struct Driven {
    end: End,
    store: Store<GuestState>,
    usage: Usage,
}

/// The store of a run that ended. Dropping it gives its memory back, clean, which takes as long as many a run;
/// whoever waits for the run need not wait for that.
pub(crate) struct Remains {
    _store: Option<Store<GuestState>>,
}

/// A run that ended, with its directory instead of its files.
pub(crate) struct Ended {
    pub(crate) report: Report,
    /// What it left on disk.
    pub(crate) left: Option<Left>,
    /// Whether it was refused memory that its limit allows.
    pub(crate) starved: bool,
    /// Whether it yielded its thread only because an epoch tick made it.
    pub(crate) long: bool,
    /// Whether the guest surely never began, because its process died before it knew of it.
    pub(crate) unread: bool,
}

impl Ended {
    /// A run that never started.
    pub(crate) fn not_begun(failure: Failure) -> Ended {
        Ended {
            report: Report::not_begun(failure),
            left: None,
            starved: false,
            long: false,
            unread: false,
        }
    }
}

/// Runs the guest in this process, as it was let in. One whose code has no checks runs only before a
/// witness, by whom it is watched.
pub(crate) async fn perform(
    shared: &Shared,
    module: &Loaded,
    run: Run,
    meter: &Arc<Meter>,
    deadline: Instant,
    growth: Growth,
    witness: Option<&Witness>,
) -> (Ended, Remains) {
    if witness.is_none() && !module.class().is_checked() {
        return (Ended::not_begun(unwatched()), Remains { _store: None });
    }
    let limits = run.spec.limits;
    let kill = run.attachments.control.kill.clone();
    let prepared = surroundings::of_run(shared, module, run, Arc::clone(meter)).await;
    let (mut state, input) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            let why = format!("the input could not be opened: {error}");
            let ended = Ended::not_begun(Failure::new(FailureKind::HostError, why));
            return (ended, Remains { _store: None });
        }
    };
    state.end_by(deadline);
    state.limiter.may_grow_by(growth);
    if let Some(witness) = witness {
        witness.see(&state);
    }
    let call = Call::Run(&input);
    let driven = drive(shared, module, state, &limits, &kill, deadline, call).await;
    if let Some(witness) = witness {
        witness.leave();
    }
    let Driven {
        end,
        mut store,
        usage,
    } = driven;
    let state = store.data_mut();
    let starved = is_starved(state);
    let (report, left) = report(shared, module.named(), end, state, usage, &limits).await;
    let ended = Ended {
        report,
        left,
        starved,
        long: meter.is_long(),
        unread: false,
    };
    let remains = Remains {
        _store: Some(store),
    };
    (ended, remains)
}

/// What a module told of itself.
pub(crate) struct Described {
    pub(crate) told: Result<Option<Descriptor>, Failure>,
    /// Whether it was refused memory that its limit allows.
    pub(crate) starved: bool,
}

/// Asks the module to describe itself in this process, as it was let in.
pub(crate) async fn describe(
    shared: &Shared,
    module: &Loaded,
    limits: &Limits,
    kill: &CancellationToken,
    deadline: Instant,
    growth: Growth,
) -> Described {
    if !module.class().is_checked() {
        return Described {
            told: Err(unwatched()),
            starved: false,
        };
    }
    let meter = Arc::new(Meter::new(limits.cpu));
    let mut state = surroundings::of_description(shared, module, limits, meter);
    state.limiter.may_grow_by(growth);
    let call = Call::Describe;
    let driven = drive(shared, module, state, limits, kill, deadline, call).await;
    let state = driven.store.data();
    let starved = is_starved(state);
    let evidence = evidence(shared, module.named(), state, &driven.usage, limits);
    let told = outcome::description(driven.end, &evidence);
    Described { told, starved }
}

/// Why a guest that nothing could stop does not begin.
pub(crate) fn unwatched() -> Failure {
    Failure::new(
        FailureKind::HostError,
        "code without checks runs only where another thread watches it",
    )
}

/// Whether the guest was refused memory that its limit allows.
fn is_starved(state: &GuestState) -> bool {
    match state.limiter.denied() {
        Some(Denied::Budget { .. }) => true,
        Some(Denied::Memory { .. } | Denied::Elements { .. }) | None => false,
    }
}

/// Makes a store and calls the guest under guard.
async fn drive(
    shared: &Shared,
    module: &Loaded,
    state: GuestState,
    limits: &Limits,
    kill: &CancellationToken,
    deadline: Instant,
    call: Call<'_>,
) -> Driven {
    let class = module.class();
    let started = state.wasi.started();
    let meter = Arc::clone(&state.meter);
    // Without checks there is nobody to tick for.
    let _ticking = class.is_checked().then(|| shared.ticker.run());
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
        (EngineClass::Metered, None)
        | (EngineClass::Fast | EngineClass::Interpreter | EngineClass::Unchecked, _) => None,
    };
    let state = store.data();
    let usage = Usage {
        duration: started.elapsed(),
        cpu: meter.used(),
        fuel,
        peak_memory_bytes: state.limiter.peak_bytes(),
        disk_bytes: state.files.peak_bytes(),
        egress: state.http.usage(),
    };
    Driven { end, store, usage }
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
    end: End,
    state: &mut GuestState,
    usage: Usage,
    limits: &Limits,
) -> (Report, Option<Left>) {
    let (stdout, stderr) = state.wasi.outputs();
    let (mut stdout, stderr) = (stdout.take(), stderr.take());
    let output_is_stdout = matches!(end, End::Answered(Answer::Exited(0)));
    if output_is_stdout {
        truncate(&mut stdout, limits.output_bytes);
    }
    let outcome = outcome::outcome(
        end,
        &stdout,
        &evidence(shared, named, state, &usage, limits),
    );
    match &outcome {
        Outcome::Completed(_) if output_is_stdout => stdout.bytes.clear(),
        Outcome::Completed(_) | Outcome::Failed(_) => truncate(&mut stdout, limits.stdout_bytes),
    }
    let streams = Streams {
        stdout,
        stderr,
        log: state.log.lines().take(),
    };
    let left = state.take_files().await;
    let report = Report {
        outcome,
        usage,
        streams,
        files: None,
        isolation: None,
    };
    (report, left)
}

impl Report {
    /// The report of a run that never started.
    pub fn not_begun(failure: Failure) -> Report {
        Report {
            outcome: Outcome::Failed(failure),
            usage: Usage::default(),
            streams: Streams::default(),
            files: None,
            isolation: None,
        }
    }
}
