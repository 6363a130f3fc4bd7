//! Hearing a process: what it says is taken from its socket, held to the rules and passed to whoever waits.
//!
//! Whoever waits for a run hears its process on their own thread, so that an answer wakes that thread and no
//! other. Where nobody waits, where the process says much without a pause, and before it is ready, the thread
//! of the process hears it (`attend`); that one also does what may block. One packet is heard at a time,
//! so the order of what was said stays.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::entry::Reply;
use super::hearing::{LeftOver, Waiting, this_thread};
use super::lock;
use super::messages::{Event, Jail, NO_RUN, Told};
use super::packets::{Brought, CLOSED, Received, UNREAD, decode, watch};
use super::process::Process;
use crate::Report;
use crate::control::Observer;
use crate::local::Ended;
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Stream};

/// Packets that are heard in one go on a thread that has other work, and how often in a row; a process that
/// says more is heard by its own thread from then on.
const AT_ONCE: usize = 32;
const IN_A_ROW: usize = 64;
/// The longest note of a progress report, in bytes, as in a guest's context.
const NOTE_BYTES_MAX: usize = 1024;

/// What was found in the socket.
pub(super) enum Found {
    /// Everything that was there was heard.
    All,
    /// As much as was to be heard; there may be more.
    Part,
    /// The process is ready for runs.
    Ready(Jail),
    /// Nothing will come any more: it closed its side, or said what it may not.
    End(&'static str),
}

/// The socket as it is watched, of a process that lives as long.
struct Watched(Arc<Process>);

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.socket.as_fd()
    }
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.socket.as_raw_fd()
    }
}

/// Has this thread hear the process, as long as somebody waits here.
pub(super) fn wait_here(process: &Arc<Process>) -> Waiting {
    process.hearing.wait_here(|| {
        if process.is_dead() {
            return None;
        }
        // Where it cannot be watched, its own thread hears it.
        let watched = watch(Watched(Arc::clone(process))).ok()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the process's own thread ends it when the process is dead"
        )]
        let task = tokio::spawn(hear(watched, this_thread()));
        Some(task.abort_handle())
    })
}

/// Hears a process as long as somebody on this thread waits for a run of it.
async fn hear(watched: AsyncFd<Watched>, thread: usize) {
    let process = Arc::clone(&watched.get_ref().0);
    let hearing = &process.hearing;
    let mut in_a_row = 0;
    while let Ok(mut ready) = watched.readable().await {
        in_a_row += 1;
        match take(&process, AT_ONCE, Place::Shared) {
            Found::All => {
                ready.clear_ready();
                in_a_row = 0;
                if hearing.stop_unused(thread) {
                    break;
                }
            }
            Found::Part if in_a_row < IN_A_ROW => {
                drop(ready);
                tokio::task::yield_now().await;
            }
            Found::Part => {
                hearing.note_loud();
                break;
            }
            Found::Ready(_) => {
                hearing.note_wrong("it was ready twice");
                break;
            }
            Found::End(why) => {
                if why != CLOSED && why != UNREAD {
                    hearing.note_wrong(why);
                }
                break;
            }
        }
    }
    hearing.stop(thread);
    if hearing.wrong().is_some() {
        process.kill();
    }
    // Its own thread may sleep without looking at the socket.
    process.wake();
}

/// Where a process is heard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On a thread that must not block.
    Shared,
    /// On the process's own.
    Own,
}

/// Hears at most so many packets.
pub(super) fn take(process: &Process, most: usize, place: Place) -> Found {
    for _ in 0..most {
        let mut inbox = lock(&process.hearing.inbox);
        match inbox.take(&process.socket, |run| process.most_bytes(run)) {
            Brought::Part => {}
            Brought::Nothing => return Found::All,
            Brought::End(why) => return Found::End(why),
            Brought::Message(message) => match heard(process, message, place) {
                Ok(None) => {}
                Ok(Some(jail)) => return Found::Ready(jail),
                Err(why) => return Found::End(why),
            },
        }
    }
    Found::Part
}

/// Does what a message says.
fn heard(process: &Process, message: Received, place: Place) -> Result<Option<Jail>, &'static str> {
    let number = message.run;
    let (event, mut pieces) =
        decode::<Event>(message.whole).map_err(|_| "it sent something that is not a message")?;
    match event {
        Event::Ready(jail) if number == NO_RUN => return Ok(Some(jail)),
        Event::Unfit(_) if number == NO_RUN => return Err("it could not begin"),
        Event::Ready(_) | Event::Unfit(_) => return Err("it spoke of itself in a run"),
        Event::Wrote(stream) => {
            let stream = match stream {
                0 => Stream::Stdout,
                1 => Stream::Stderr,
                2 => Stream::Log,
                _ => return Err("it wrote to a stream that does not exist"),
            };
            let bytes = pieces.pop().unwrap_or_default();
            observe(process, number, |observer| observer.wrote(stream, &bytes));
        }
        Event::Progress(fraction, note) => {
            let fraction = if fraction.is_nan() {
                0.0
            } else {
                fraction.clamp(0.0, 1.0)
            };
            let note = &note[..note.floor_char_boundary(NOTE_BYTES_MAX)];
            observe(process, number, |observer| {
                observer.progress(fraction, note)
            });
        }
        Event::Wants => {
            process.with(number, |run| {
                // One that asks twice gets one piece.
                run.wants.as_ref().map(|wants| wants.try_send(()).is_ok())
            });
        }
        Event::Opened(dir) => {
            let reply = process.with(number, |run| {
                (run.dir, run.end_by) = (dir, None);
                run.reply.take()
            });
            send(reply.flatten(), Reply::Opened);
        }
        Event::Answered(told) => answered(process, number, *told, pieces)?,
        Event::Ended(told) if told.spent => {
            // Its files are not taken, nor does its caller hear of it, before the guest is gone.
            let is_so = !process.checked && process.spend(number, *told, pieces);
            return Err(match is_so {
                true => "its guest is to end",
                false => "it gave a run up that it could have ended",
            });
        }
        Event::Ended(told) => {
            let over = LeftOver {
                number,
                told: *told,
                pieces,
            };
            let blocks = process.with(number, |run| over.told.dir.is_some() || run.has_files());
            match (place, blocks) {
                (Place::Shared, Some(true)) => {
                    process.hearing.leave(over);
                    process.wake();
                }
                (Place::Shared | Place::Own, _) => ended(process, over)?,
            }
        }
    }
    Ok(None)
}

fn send(reply: Option<oneshot::Sender<Reply>>, with: Reply) {
    if let Some(reply) = reply {
        // Whoever waited may have gone.
        let _unheard = reply.send(with);
    }
}

/// Calls a run's observer, whose panic ends the run and nothing else.
fn observe(process: &Process, number: u32, tell: impl FnOnce(&dyn Observer)) {
    let observer = process.with(number, |run| run.observer.clone()).flatten();
    let Some(observer) = observer else { return };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| tell(&*observer))) {
        let what = crate::guard::text_of(&*panic);
        process.with(number, |run| {
            run.observer = None;
            run.panicked = Some(what);
        });
        process.stop(number);
    }
}

/// A call ended, and the guest goes on in its directory.
fn answered(
    process: &Process,
    number: u32,
    told: Told,
    pieces: Vec<Bytes>,
) -> Result<(), &'static str> {
    let report = report(process, number, told, pieces)?;
    let reply = process.with(number, |run| {
        run.end_by = None;
        run.reply.take()
    });
    send(reply.flatten(), Reply::Answered(Box::new(report)));
    Ok(())
}

/// A run is over. Blocks, if it left files or was given some.
pub(super) fn ended(process: &Process, over: LeftOver) -> Result<(), &'static str> {
    let LeftOver {
        number,
        told,
        pieces,
    } = over;
    let (dir, starved) = (told.dir, told.starved);
    let report = report(process, number, told, pieces)?;
    let mut run = process.take(number).ok_or("it ended a run twice")?;
    let left = match (dir, run.room.take()) {
        (Some(dir), Some(room)) => {
            let adopted = process.home.adopt(dir, room).inspect_err(|error| {
                tracing::warn!(%error, "the files that a run left cannot be had");
            });
            adopted.ok()
        }
        (_, room) => {
            run.room = room;
            None
        }
    };
    let reply = run.reply.take();
    // Its room is free before whoever waits for it knows.
    drop(run);
    let ended = Ended {
        report,
        left,
        starved,
        // It keeps no thread of this process busy.
        long: false,
        unread: false,
    };
    send(reply, Reply::Ended(Box::new(ended)));
    Ok(())
}

/// What a run says of itself, held to its limits.
fn report(
    process: &Process,
    number: u32,
    told: Told,
    pieces: Vec<Bytes>,
) -> Result<Report, &'static str> {
    let cpu = process.cpu();
    let checked = process.with(number, |run| {
        let cpu = run.cpu_after.unwrap_or(cpu).saturating_sub(run.cpu_before);
        let mut report = told.into_report(pieces, &run.limits, run.began.elapsed(), cpu)?;
        report.usage.egress = run.egress();
        if let Some(what) = run.panicked.take() {
            let why = format!("a host function panicked: {what}");
            report.outcome = Outcome::Failed(Failure::new(FailureKind::HostError, why));
        }
        Some(report)
    });
    checked
        .ok_or("it ended a run twice")?
        .ok_or("it gave more than its run may")
}
