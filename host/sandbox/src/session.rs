//! A guest that is kept between calls: an interpreter with a caller's variables.
//!
//! Unlike a run, which makes a store for one call, one store and one instance take many calls, one
//! after the other, each with its own clock and CPU budget; memory, files and handles belong to the
//! session. A call that is ended from outside leaves a guest in an unknown state, so it ends the
//! session too.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use crate::admission::{Admitted, NoRoom};
use crate::guard::Guarded;
use crate::instance::{self, Answer, Instance};
use crate::interfaces::wasi::Input;
use crate::meter::Meter;
use crate::outcome::{self, End};
use crate::run::NotBegun;
use crate::state::GuestState;
use crate::streams::CallInput;
use crate::{LoadedModule, OutputFiles, Report, Run, Sandbox, Shared, run, surroundings};
use cofferdam_domain::attempt::{Failure, FailureKind, Payload, Streams, Usage};
use cofferdam_domain::limits::Limits;

/// The guest. Dropping it ends it and removes its files.
pub struct Session {
    shared: Arc<Shared>,
    module: Arc<LoadedModule>,
    limits: Limits,
    instance: Instance,
    stdin: CallInput,
    store: Store<GuestState>,
    /// Declared last, because room is free only once the store is gone.
    _admitted: Admitted,
}

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

/// The state after a call.
pub enum After {
    /// The guest, ready for the next call.
    Live(Box<Session>),
    /// The guest was ended; its files are still there.
    Ended(Option<OutputFiles>),
}

impl Sandbox {
    /// Makes a guest that is kept. The input and the time limits of `run` are not used. It waits
    /// for room until its patience ends or it is killed.
    pub async fn open_session(
        &self,
        module: Arc<LoadedModule>,
        run: Run,
    ) -> Result<Result<Box<Session>, Failure>, NoRoom> {
        let attachments = &run.attachments;
        let (limits, patience) = (run.spec.limits, attachments.patience);
        let kill = attachments.control.kill.clone();
        match run::admit(&self.shared, &module, &limits, &kill, &patience).await {
            Ok(admitted) => Ok(self.make_session(module, run, admitted).await),
            Err(NotBegun::Failed(failure)) => Ok(Err(failure)),
            Err(NotBegun::NoRoom(no_room)) => Err(no_room),
        }
    }

    async fn make_session(
        &self,
        module: Arc<LoadedModule>,
        run: Run,
        admitted: Admitted,
    ) -> Result<Box<Session>, Failure> {
        let shared = Arc::clone(&self.shared);
        let (limits, kill) = (run.spec.limits, run.attachments.control.kill.clone());
        let meter = Arc::new(Meter::new(limits.cpu));
        let prepared = surroundings::of_run(&shared, &module, run, Arc::clone(&meter)).await;
        let (mut state, _nothing) =
            prepared.map_err(|error| Failure::new(FailureKind::HostError, error.to_string()))?;
        let stdin = CallInput::default();
        state.wasi.read_from(Input::Calls(stdin.clone()));
        state.limiter.may_grow_by(admitted.growth());
        let class = module.class();
        let started = state.wasi.started();
        let engine = &shared.engines.of(class).engine;
        let mut store = instance::store(engine, class, &limits, state);
        let made = {
            let _ticking = shared.ticker.run();
            let making = pin!(instance::keep(&mut store, module.program()));
            Guarded::new(
                making,
                &meter,
                &kill,
                surroundings::deadline(started, &limits),
            )
            .await
        };
        // The files are made at once, because their sources may be gone when the guest is called.
        let GuestState { files, table, .. } = store.data_mut();
        files
            .ready(table)
            .await
            .map_err(|error| Failure::new(FailureKind::DiskExceeded, error.to_string()))?;
        match made {
            End::Answered(instance) => Ok(Box::new(Session {
                shared,
                module,
                limits,
                instance,
                stdin,
                store,
                _admitted: admitted,
            })),
            End::Faulted(fault) => Err(Failure::new(
                FailureKind::HostError,
                format!("no instance could be made: {:#}", fault.error),
            )),
            End::Stopped(stop) => {
                let usage = Usage::default();
                let evidence =
                    run::evidence(&shared, module.named(), store.data(), &usage, &limits);
                Err(outcome::stopped(stop, &evidence))
            }
        }
    }
}

impl Session {
    /// Calls the guest. Dropping the future ends the session.
    pub async fn call(mut self: Box<Self>, turn: Turn) -> (Report, After) {
        let limits = Limits {
            timeout: turn.timeout,
            cpu: turn.cpu,
            ..self.limits
        };
        let (started, meter) = (Instant::now(), Arc::new(Meter::new(limits.cpu)));
        let deadline = surroundings::deadline(started, &limits);
        let deadline = turn.end_by.map_or(deadline, |end_by| end_by.min(deadline));
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
        };
        let (stdout, stderr) = state.wasi.outputs();
        let streams = Streams {
            stdout: stdout.take(),
            stderr: stderr.take(),
            log: state.log.take(),
        };
        let named = self.module.named();
        let evidence = run::evidence(&self.shared, named, state, &usage, &limits);
        let outcome = outcome::outcome(end, &streams.stdout, &evidence);
        let report = Report {
            outcome,
            usage,
            streams,
            files: None,
        };
        let after = match is_alive {
            true => After::Live(self),
            false => After::Ended(self.end().await),
        };
        (report, after)
    }

    /// The files that the guest has written so far.
    pub fn files(&self) -> impl Future<Output = Option<OutputFiles>> + Send + use<> {
        self.store.data().files.so_far()
    }

    /// Ends the guest and returns its files.
    pub async fn end(self: Box<Self>) -> Option<OutputFiles> {
        let Session { store, .. } = *self;
        store.into_data().into_files().await
    }
}
