//! The newest events of one task.
//!
//! A guest may print byte by byte, and each byte may have thousands of watchers. So text that
//! nobody has read yet is one event, however many writes it came in, and watchers read text at
//! their own pace (`Subscription`): a write costs the guest the same, whoever watches.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::super::locks::{Mutex, MutexGuard, Notified, Notify, PoisonError};
use super::{Event, EventKind};
use cofferdam_domain::attempt::{Stream, WorkerId};
use cofferdam_domain::state::TaskState;

/// The most events kept for one task.
const EVENTS_MAX: usize = 256;
/// The most bytes of text kept for one task.
const BYTES_MAX: usize = 64 * 1024;
/// The most text in one event; more becomes several.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// One task's events.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    memory: Mutex<Memory>,
    /// Notified of everything.
    told: Notify,
    /// Notified of everything but text.
    urgent: Notify,
}

#[derive(Debug, Default)]
struct Memory {
    events: VecDeque<Event>,
    /// Text that nobody has read: the next event.
    open: Option<(Stream, BytesMut)>,
    /// The bytes of text in `events`.
    bytes: usize,
    newest: u64,
    /// The latest known step of the task.
    stage: Option<Stage>,
    /// Counts the reported states.
    states: u64,
    /// Counts the nudges.
    nudges: u64,
    closed: bool,
    /// The other host whose text came last, and the number that it gave to the last piece.
    heard: Option<(WorkerId, u64)>,
}

/// A step in a task's life: each attempt has a step for running and one for what follows; a final
/// state is the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stage {
    step: u64,
    is_final: bool,
}

impl Stage {
    fn of(state: TaskState, attempt: u32) -> Stage {
        let after = match state {
            TaskState::Running => 0,
            TaskState::Blocked
            | TaskState::Pending
            | TaskState::Completed
            | TaskState::Failed
            | TaskState::Cancelled => 1,
        };
        Stage {
            step: 2 * u64::from(attempt) + after,
            is_final: state.is_final(),
        }
    }
}

/// The result of a watcher's check.
pub(crate) enum Look {
    /// The first event it has not seen.
    Event(Event),
    /// Something may have happened without an event, so storage must be read. It has the number of
    /// the nudge.
    Ask(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing, and no event will follow.
    End,
}

impl Channel {
    /// Records that the task changed to `state`, unless a later step is known: reports of two
    /// commits may overtake each other.
    pub(crate) fn state(&self, state: TaskState, attempt: u32) {
        let stage = Stage::of(state, attempt);
        let mut memory = self.lock();
        if memory.stage.is_some_and(|known| stage <= known) {
            return;
        }
        memory.enter(stage, EventKind::Status { state, attempt });
        drop(memory);
        self.wake();
    }

    /// Undoes the report that attempt number `attempt` runs: the claim is given back to storage,
    /// which does not count it.
    pub(crate) fn not_begun(&self, attempt: u32) {
        let mut memory = self.lock();
        if memory.stage != Some(Stage::of(TaskState::Running, attempt)) {
            return;
        }
        let (state, attempt) = (TaskState::Pending, attempt.saturating_sub(1));
        memory.enter(
            Stage::of(state, attempt),
            EventKind::Status { state, attempt },
        );
        drop(memory);
        self.wake();
    }

    /// Records an event; the oldest ones are dropped. Nothing is recorded after the end.
    pub(crate) fn tell(&self, kind: EventKind) {
        let mut memory = self.lock();
        if memory.closed {
            return;
        }
        memory.seal();
        memory.push(kind);
        drop(memory);
        self.wake();
    }

    /// Makes every watcher read the task's state from storage.
    pub(crate) fn nudge(&self) {
        self.lock().nudges += 1;
        self.wake();
    }

    /// Records text. Nothing is recorded after the end.
    pub(crate) fn wrote(&self, stream: Stream, mut bytes: &[u8]) {
        let mut memory = self.lock();
        if memory.closed {
            return;
        }
        while !bytes.is_empty() {
            let open = memory.open_text(stream);
            let room = CHUNK_BYTES_MAX - open.len();
            let (fits, rest) = bytes.split_at(room.min(bytes.len()));
            open.extend_from_slice(fits);
            bytes = rest;
        }
        drop(memory);
        self.told.notify_waiters();
    }

    /// Records what storage says of a task that another host runs. If it is final here, or there, the
    /// watchers read it themselves.
    pub(crate) fn stands(&self, state: TaskState, attempt: u32) {
        let is_final = |memory: &Memory| memory.stage.is_some_and(|stage| stage.is_final);
        if state.is_final() || is_final(&self.lock()) {
            self.nudge();
        } else {
            self.state(state, attempt);
        }
    }

    /// Notes the state that a watcher was told, unless one was reported.
    pub(crate) fn note(&self, mark: u64, state: TaskState, attempt: u32) {
        let mut memory = self.lock();
        if memory.stage.is_none() && memory.states == mark {
            memory.stage = Some(Stage::of(state, attempt));
        }
    }

    /// The number of the last piece of text that `worker` told; 0 for none.
    pub(crate) fn heard_from(&self, worker: WorkerId) -> u64 {
        match self.lock().heard {
            Some((from, number)) if from == worker => number,
            Some(_) | None => 0,
        }
    }

    /// Records text that another host tells; what it told before is not recorded a second time.
    pub(crate) fn wrote_at(&self, worker: WorkerId, number: u64, stream: Stream, bytes: &[u8]) {
        let mut memory = self.lock();
        if memory
            .heard
            .is_some_and(|(from, last)| from == worker && number <= last)
        {
            return;
        }
        memory.heard = Some((worker, number));
        drop(memory);
        self.wrote(stream, bytes);
    }

    /// Records the end that storage reports, and that nothing will follow. It does nothing and
    /// returns false if a state was reported since `mark`, which is taken before storage is read.
    pub(crate) fn end(&self, mark: u64, state: TaskState, attempt: u32) -> bool {
        let stage = Stage::of(state, attempt);
        let mut memory = self.lock();
        if memory.states != mark {
            return false;
        }
        if memory.stage != Some(stage) {
            memory.enter(stage, EventKind::Status { state, attempt });
        }
        memory.closed = true;
        drop(memory);
        self.wake();
        true
    }

    /// Drops all events of a task that was removed. Nothing will follow.
    pub(crate) fn forget(&self) {
        let mut memory = self.lock();
        let (newest, nudges, states) = (memory.newest, memory.nudges, memory.states);
        *memory = Memory {
            newest,
            nudges,
            states: states + 1,
            closed: true,
            ..Memory::default()
        };
        drop(memory);
        self.wake();
    }

    /// Records that nothing will follow, if no state was ever reported.
    pub(crate) fn close_if_silent(&self) -> bool {
        let mut memory = self.lock();
        if memory.stage.is_some() {
            return false;
        }
        memory.closed = true;
        drop(memory);
        self.wake();
        true
    }

    fn wake(&self) {
        self.told.notify_waiters();
        self.urgent.notify_waiters();
    }

    /// Changes with each reported state; for [`Channel::resume`].
    pub(crate) fn mark(&self) -> u64 {
        self.lock().states
    }

    /// Undoes the end if a final task is in `state` again, as after a retry by hand. It does nothing
    /// if a state was reported since `mark`, which is taken before storage is read: then that read is
    /// out of date.
    pub(crate) fn resume(&self, mark: u64, state: TaskState, attempt: u32) {
        let mut memory = self.lock();
        if !memory.closed || memory.states != mark {
            return;
        }
        memory.enter(
            Stage::of(state, attempt),
            EventKind::Status { state, attempt },
        );
        drop(memory);
        self.wake();
    }

    /// Whether there is no event to deliver.
    pub(crate) fn is_silent(&self) -> bool {
        let memory = self.lock();
        memory.events.is_empty() && memory.open.is_none()
    }

    /// Whether nothing but text can have come after number `seen`, and the channel is open.
    pub(crate) fn is_seen(&self, seen: u64) -> bool {
        let memory = self.lock();
        seen == memory.newest && !memory.closed
    }

    /// The first event after number `seen`; with none, the first nudge after number `asked`. An
    /// unknown number, such as one from before a restart, counts as none.
    pub(crate) fn look(&self, seen: u64, asked: u64) -> Look {
        let mut memory = self.lock();
        let seen = if seen > memory.newest { 0 } else { seen };
        if seen == memory.newest {
            memory.seal();
        }
        let unseen = memory.events.partition_point(|event| event.number <= seen);
        match memory.events.get(unseen) {
            Some(event) => Look::Event(event.clone()),
            None if memory.closed => Look::End,
            None if memory.nudges > asked => Look::Ask(memory.nudges),
            None => Look::Nothing,
        }
    }

    /// Ends at the next event after this call, even one before the first poll.
    pub(crate) fn more(&self) -> Notified<'_> {
        self.told.notified()
    }

    /// The same for all events but text.
    pub(crate) fn more_than_text(&self) -> Notified<'_> {
        self.urgent.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn enter(&mut self, stage: Stage, kind: EventKind) {
        self.seal();
        self.push(kind);
        self.stage = Some(stage);
        self.states += 1;
        self.closed = stage.is_final;
    }

    fn push(&mut self, kind: EventKind) {
        self.newest += 1;
        self.bytes += weight(&kind);
        let number = self.newest;
        self.events.push_back(Event { number, kind });
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= weight(&oldest.kind);
        }
    }

    /// Makes an event of the open text.
    fn seal(&mut self) {
        if let Some((stream, text)) = self.open.take() {
            let bytes = text.freeze();
            self.push(EventKind::Wrote { stream, bytes });
        }
    }

    /// The open text of `stream`, which has room for more.
    fn open_text(&mut self, stream: Stream) -> &mut BytesMut {
        let has_room =
            |(open, text): &(Stream, BytesMut)| *open == stream && text.len() < CHUNK_BYTES_MAX;
        if !self.open.as_ref().is_some_and(has_room) {
            self.seal();
        }
        let (_, text) = self.open.get_or_insert_with(|| (stream, BytesMut::new()));
        text
    }
}

fn weight(kind: &EventKind) -> usize {
    match kind {
        EventKind::Status { .. } => 0,
        EventKind::Progress { note, .. } => note.len(),
        EventKind::Wrote { bytes, .. } => bytes.len(),
    }
}
