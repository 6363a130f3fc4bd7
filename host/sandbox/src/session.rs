//! A guest that is kept between calls: an interpreter with a caller's variables.
//!
//! Unlike a run, which makes a store for one call, one store and one instance take many calls, one
//! after the other, each with its own clock and CPU budget; memory, files and handles belong to the
//! session. A call that is ended from outside leaves a guest in an unknown state, so it ends the
//! session too. The guest is in this process (`kept`) or in one of its own (`processes`).

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use crate::admission::{Admitted, NoRoom};
use crate::files::Left;
use crate::kept::{self, Kept};
use crate::processes::{self, Remote};
use crate::run::NotBegun;
use crate::{LoadedModule, OutputFiles, Report, Run, Sandbox, run, surroundings};
use cofferdam_domain::attempt::Failure;

pub use crate::kept::Turn;

/// The guest. Dropping it ends it and removes its files.
pub struct Session(Guest);

enum Guest {
    Here {
        guest: Box<Kept>,
        /// Declared last, because room is free only once the store is gone.
        admitted: Admitted,
    },
    Elsewhere(Remote),
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
        let (kill, room) = (
            attachments.control.kill.clone(),
            (&limits, run.spec.isolation),
        );
        match run::admit(&self.shared, &module, room, &kill, &patience).await {
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
        let guest = match processes::of(&self.shared, &module, run.spec.isolation) {
            Some(pool) => {
                let deadline = surroundings::deadline(Instant::now(), &run.spec.limits);
                Guest::Elsewhere(processes::open(pool, run, admitted, deadline).await?)
            }
            None => {
                let growth = admitted.growth();
                let guest = Kept::open(&self.shared, &module.loaded, run, growth).await?;
                Guest::Here { guest, admitted }
            }
        };
        Ok(Box::new(Session(guest)))
    }
}

impl Session {
    /// Calls the guest. Dropping the future ends the session.
    pub async fn call(self: Box<Self>, turn: Turn) -> (Report, After) {
        let (report, guest) = match self.0 {
            Guest::Here { guest, admitted } => {
                let (report, after) = guest.call(turn).await;
                let guest = match after {
                    kept::After::Live(guest) => Ok(Guest::Here { guest, admitted }),
                    kept::After::Ended(left) => Err(left),
                };
                (report, guest)
            }
            Guest::Elsewhere(remote) => {
                let (report, after) = remote.call(turn).await;
                (report, after.map(Guest::Elsewhere))
            }
        };
        let after = match guest {
            Ok(guest) => After::Live(Box::new(Session(guest))),
            Err(left) => After::Ended(listed(left).await),
        };
        (report, after)
    }

    /// The files that the guest has written so far.
    pub fn files(&self) -> impl Future<Output = Option<OutputFiles>> + Send + use<> {
        let left = match &self.0 {
            Guest::Here { guest, .. } => guest.so_far(),
            Guest::Elsewhere(remote) => remote.so_far(),
        };
        listed(left)
    }

    /// Ends the guest and returns its files.
    pub async fn end(self: Box<Self>) -> Option<OutputFiles> {
        let left = match self.0 {
            Guest::Here { guest, .. } => guest.end().await,
            Guest::Elsewhere(remote) => remote.end().await,
        };
        listed(left).await
    }
}

async fn listed(left: Option<Left>) -> Option<OutputFiles> {
    match left {
        Some(left) => Some(left.list().await),
        None => None,
    }
}
