//! A guest that is kept between calls, in this process. Who may have one, and where, is decided in `session`.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use crate::admission::Growth;
use crate::files::Left;
use crate::guard::Guarded;
use crate::instance::{self, Answer, Instance};
use crate::interfaces::wasi::Input;
use crate::meter::Meter;
use crate::outcome::{self, End};
use crate::state::GuestState;
use crate::streams::CallInput;
use crate::{Loaded, Report, Run, Shared, local, surroundings};
use cofferdam_domain::attempt::{Failure, FailureKind, Payload, Streams, Usage};
use cofferdam_domain::limits::Limits;

/// One call of a session's guest.
pub struct Turn {
    /// What the guest works on.
    pub input: Payload,
    /// The call's standard input.
    pub stdin: Bytes,
    /// The call's wall-clock limit.
    pub timeout: Duration,
    /// When its time is over, however late it started.
    pub end_by: Option<Instant>,
    /// The call's CPU limit.
    pub cpu: Duration,
    /// Ends the call, and the session with it.
    pub kill: CancellationToken,
}

impl Turn {
    /// The limits of this call of a session under `session`.
    pub(crate) fn limits(&self, session: &Limits) -> Limits {
        Limits {
            timeout: self.timeout,
            cpu: self.cpu,
            ..*session
        }
    }

    /// When a call that began at `started` is over.
    pub(crate) fn deadline(&self, started: Instant, limits: &Limits) -> Instant {
        let deadline = surroundings::deadline(started, limits);
        self.end_by.map_or(deadline, |end_by| end_by.min(deadline))
    }
}

/// The guest. Dropping it ends it and removes its files.
pub(crate) struct Kept {
    shared: Arc<Shared>,
    module: Arc<Loaded>,
    limits: Limits,
    instance: Instance,
    stdin: CallInput,
    store: Store<GuestState>,
}

/// The state after a call.
pub(crate) enum After {
    /// The guest, ready for the next call.
    Live(Box<Kept>),
    /// The guest was ended.
    Ended(Option<Left>),
}

impl Kept {
    /// Makes the guest, as it was let in.
    pub(crate) async fn open(
        shared: &Arc<Shared>,
        module: &Arc<Loaded>,
        run: Run,
        growth: Growth,
    ) -> Result<Box<Kept>, Failure> {
        if !module.class().is_checked() {
            return Err(local::unwatched());
        }
        let (limits, kill) = (run.spec.limits, run.attachments.control.kill.clone());
        let meter = Arc::new(Meter::new(limits.cpu));
        let prepared = surroundings::of_run(shared, module, run, Arc::clone(&meter)).await;
        let (mut state, _nothing) =
            prepared.map_err(|error| Failure::new(FailureKind::HostError, error.to_string()))?;
        let stdin = CallInput::default();
        state.wasi.read_from(Input::Calls(stdin.clone()));
        state.limiter.may_grow_by(growth);
        let class = module.class();
        let started = state.wasi.started();
        let engine = &shared.engines.of(class).engine;
        let mut store = instance::store(engine, class, &limits, state);
        let made = {
            let _ticking = shared.ticker.run();
            let making = pin!(instance::keep(&mut store, module.program()));
            let deadline = surroundings::deadline(started, &limits);
            Guarded::new(making, &meter, &kill, deadline).await
        };
        // The files are made at once, because their sources may be gone when the guest is called.
        let GuestState { files, table, .. } = store.data_mut();
        files
            .ready(table)
            .await
            .map_err(|error| Failure::new(FailureKind::DiskExceeded, error.to_string()))?;
        match made {
            End::Answered(instance) => Ok(Box::new(Kept {
                shared: Arc::clone(shared),
                module: Arc::clone(module),
                limits,
                instance,
                stdin,
                store,
            })),
            End::Faulted(fault) => Err(Failure::new(
                FailureKind::HostError,
                format!("no instance could be made: {:#}", fault.error),
            )),
            End::Stopped(stop) => {
                let usage = Usage::default();
                let evidence =
                    local::evidence(shared, module.named(), store.data(), &usage, &limits);
                Err(outcome::stopped(stop, &evidence))
            }
        }
    }

    /// Calls the guest. Dropping the future ends it.
    pub(crate) async fn call(mut self: Box<Self>, turn: Turn) -> (Report, After) {
        let limits = turn.limits(&self.limits);
        let (started, meter) = (Instant::now(), Arc::new(Meter::new(limits.cpu)));
        let deadline = turn.deadline(started, &limits);
        self.store.data_mut().begin_call(&meter, deadline);
        self.stdin.set(turn.stdin);
        instance::begin_slice(&mut self.store);
        let end = {
            let _ticking = self.shared.ticker.run();
            let call = pin!(instance::call_kept(
                &mut self.store,
                &self.instance,
                &turn.input
            ));
            Guarded::new(call, &meter, &turn.kill, deadline).await
        };
        let is_alive = matches!(end, End::Answered(Answer::Output(_) | Answer::Refused(_)));
        let state = self.store.data_mut();
        let usage = Usage {
            duration: started.elapsed(),
            cpu: meter.used(),
            fuel: None,
            peak_memory_bytes: state.limiter.peak_bytes(),
            disk_bytes: state.files.peak_bytes(),
            egress: state.http.usage(),
        };
        let (stdout, stderr) = state.wasi.outputs();
        let streams = Streams {
            stdout: stdout.take(),
            stderr: stderr.take(),
            log: state.log.lines().take(),
        };
        let named = self.module.named();
        let evidence = local::evidence(&self.shared, named, state, &usage, &limits);
        let outcome = outcome::outcome(end, &streams.stdout, &evidence);
        let report = Report {
            outcome,
            usage,
            streams,
            files: None,
            isolation: None,
        };
        let after = match is_alive {
            true => After::Live(self),
            false => After::Ended(self.end().await),
        };
        (report, after)
    }

    /// The directory that the guest writes to.
    pub(crate) fn so_far(&self) -> Option<Left> {
        self.store.data().files.so_far()
    }

    /// Ends the guest.
    pub(crate) async fn end(self: Box<Self>) -> Option<Left> {
        let Kept { mut store, .. } = *self;
        store.data_mut().take_files().await
    }
}
