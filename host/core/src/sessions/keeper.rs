//! The task that owns one session: it takes calls one after the other until nobody has called for
//! a while, or until it is told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::runner::session::{CodeTurn, Kept, Left};
use crate::runner::{Executed, RunError};
use crate::sessions::{Place, SessionError, SessionState, lock, unknown};
use crate::shutdown::Shutdown;
use cofferdam_domain::attempt::{Failure, FailureKind};
use cofferdam_domain::clock::Clock;
use cofferdam_sandbox::{OutputFiles, Patience};

/// A command to a session.
pub(super) enum Command {
    /// Run code.
    Execute(Box<Call>),
    /// Show its files to a function that may block.
    Look(Look),
}

/// Code to run in a session, for a caller that waits.
pub(super) struct Call {
    pub(super) turn: CodeTurn,
    /// How long it waits for earlier calls and for its turn.
    pub(super) patience: Patience,
    pub(super) start: Arc<Start>,
    pub(super) reply: oneshot::Sender<Result<Box<Executed>, SessionError>>,
}

/// Whether a call begins or is given up: its caller and its session's keeper both decide, and the
/// first one counts.
#[derive(Default)]
pub(super) struct Start(AtomicBool);

impl Start {
    /// True for the first.
    pub(super) fn decide(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Gets a session's files, if it wrote any.
pub(super) type Look = Box<dyn FnOnce(Option<&OutputFiles>) + Send>;

/// The task.
pub(super) struct Keeper {
    pub(super) place: Place,
    pub(super) inbox: mpsc::Receiver<Command>,
    pub(super) kill: CancellationToken,
    pub(super) clock: Clock,
    pub(super) stop: Shutdown,
    pub(super) lifetime: Duration,
}

impl Keeper {
    /// Keeps the interpreter until it ends.
    pub(super) async fn keep(mut self, kept: Kept) {
        let gone_at = Instant::now() + self.lifetime;
        let mut left = Left::Live(kept);
        while let Some(command) = self.next(gone_at).await {
            match command {
                Command::Look(look) => {
                    let files = left.files().await;
                    // A function that panics sends no answer, which its caller notices.
                    let _answered = tokio::task::spawn_blocking(move || look(files.as_ref())).await;
                }
                Command::Execute(call) => left = self.execute(left, *call).await,
            }
            self.used();
        }
    }

    async fn execute(&self, left: Left, call: Call) -> Left {
        let Call {
            turn: code,
            patience,
            start,
            reply,
        } = call;
        let kept = match left {
            Left::Live(kept) => kept,
            Left::Ended(files) => {
                let why = match self.place.info().state {
                    SessionState::Ended(failure) => SessionError::Ended(failure),
                    SessionState::Idle | SessionState::Running => unknown(self.place.id),
                };
                // The caller may have gone away; here and below.
                let _unheard = reply.send(Err(why));
                return Left::Ended(files);
            }
        };
        let interpreters = Arc::clone(kept.interpreters());
        let turn = tokio::select! {
            biased;
            turn = interpreters.turns().wait(&patience) => turn,
            () = self.kill.cancelled() => return Left::Live(kept),
        };
        // Its caller may have given up meanwhile.
        let turn = match turn {
            Ok(turn) if start.decide() => turn,
            Err(no_room) if start.decide() => {
                let _unheard = reply.send(Err(RunError::NoRoom(no_room).into()));
                return Left::Live(kept);
            }
            Ok(_) | Err(_) => return Left::Live(kept),
        };
        lock(&self.place.info).state = SessionState::Running;
        let (executed, left) = kept.execute(code, turn).await;
        {
            let mut info = lock(&self.place.info);
            info.calls += 1;
            info.state = match (&left, &executed.verdict.failure) {
                (Left::Live(_), _) => SessionState::Idle,
                (Left::Ended(_), Some(failure)) => SessionState::Ended(failure.clone()),
                // Only a process that exits by itself ends without a failure.
                (Left::Ended(_), None) => SessionState::Ended(Failure {
                    exit_code: Some(0),
                    ..Failure::new(
                        FailureKind::Exit,
                        "the code ended its process with exit code 0",
                    )
                }),
            };
        }
        let _unheard = reply.send(Ok(Box::new(executed)));
        left
    }

    /// The next command; `None` once the session is over.
    async fn next(&mut self, gone_at: Instant) -> Option<Command> {
        let idle = lock(&self.place.info).idle_timeout;
        let expires = gone_at.min(Instant::now() + idle);
        tokio::select! {
            biased;
            () = self.kill.cancelled() => None,
            () = self.stop.requested() => None,
            command = self.inbox.recv() => command,
            () = tokio::time::sleep_until(expires) => None,
        }
    }

    fn used(&self) {
        let mut info = lock(&self.place.info);
        let idle_ends = self.clock.now().plus(info.idle_timeout);
        info.expires_at = idle_ends.min(info.created_at.plus(self.lifetime));
    }
}
