//! The channels of all tasks that are watched or have events.
//!
//! Most tasks are neither, so the common case costs one atomic load.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::super::locks::{AtomicUsize, Mutex, MutexGuard, Ordering, PoisonError};
use super::channel::Channel;
use super::{EventKind, Piece};
use cofferdam_domain::attempt::{Stream, WorkerId};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::TaskId;

/// The most tasks whose events are kept without a watcher; the oldest are forgotten first.
const UNWATCHED_MAX: usize = 1024;

/// The channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hub(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rooms: Mutex<Rooms>,
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Rooms {
    by_task: HashMap<TaskId, Room>,
    /// Oldest first. It may contain a task that was forgotten or is watched, which is noticed when
    /// its turn comes.
    by_age: VecDeque<TaskId>,
}

#[derive(Debug, Default)]
struct Room {
    channel: Arc<Channel>,
    places: usize,
    /// Those of the places whose watchers also seek what other hosts tell.
    seekers: usize,
}

/// One attempt's handle for its task's watchers.
#[derive(Debug)]
pub(crate) struct Speaker {
    channel: Arc<Channel>,
    _place: Place,
}

/// A place in a room, of a watcher or a speaker. A room with a place is not forgotten.
#[derive(Debug)]
pub(crate) struct Place {
    hub: Hub,
    id: TaskId,
    seeks: bool,
}

impl Hub {
    /// The handle for a guest's writes; made once for each attempt, so that a write takes no lock
    /// that others hold.
    pub(crate) fn speaker(&self, id: TaskId) -> Speaker {
        let (channel, place) = self.enter(id, false);
        self.lock().forget_oldest();
        Speaker {
            channel,
            _place: place,
        }
    }

    /// Takes a place in a task's room, which is opened if need be.
    pub(super) fn enter(&self, id: TaskId, seeks: bool) -> (Arc<Channel>, Place) {
        let mut rooms = self.lock();
        let room = rooms.open(id);
        room.places += 1;
        room.seekers += usize::from(seeks);
        let channel = Arc::clone(&room.channel);
        self.recount(&rooms);
        drop(rooms);
        let hub = self.clone();
        (channel, Place { hub, id, seeks })
    }

    /// The tasks of which a watcher seeks what other hosts tell.
    pub(crate) fn sought(&self) -> HashSet<TaskId> {
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return HashSet::new();
        }
        let rooms = self.lock();
        let sought = rooms.by_task.iter().filter(|(_, room)| room.seekers > 0);
        sought.map(|(id, _)| *id).collect()
    }

    /// Whether a watcher of that task seeks what other hosts tell.
    pub(crate) fn is_sought(&self, id: TaskId) -> bool {
        let rooms = self.lock();
        rooms.by_task.get(&id).is_some_and(|room| room.seekers > 0)
    }

    /// Storage says how far a task that runs elsewhere is. What it says may be out of date by now.
    pub(crate) fn stands(&self, id: TaskId, state: TaskState, attempt: u32) {
        if let Some(channel) = self.find(id) {
            channel.stands(state, attempt);
        }
    }

    /// The number of the last piece of text that `worker` told of a task; 0 for none.
    pub(crate) fn heard_from(&self, id: TaskId, worker: WorkerId) -> u64 {
        self.find(id)
            .map_or(0, |channel| channel.heard_from(worker))
    }

    /// A task's guest wrote to a stream at another host, which gave the piece its `number`.
    pub(crate) fn wrote_at(&self, id: TaskId, worker: WorkerId, number: u64, piece: &Piece) {
        if let Some(channel) = self.find(id) {
            channel.wrote_at(worker, number, piece.stream, &piece.bytes);
        }
    }

    /// Reports a task's new state; a late report is dropped.
    pub(crate) fn status(&self, id: TaskId, state: TaskState, attempt: u32) {
        if let Some(channel) = self.find(id) {
            channel.state(state, attempt);
        }
    }

    /// Undoes the report of a running attempt that did not begin and is given back.
    pub(crate) fn not_begun(&self, id: TaskId, attempt: u32) {
        if let Some(channel) = self.find(id) {
            channel.not_begun(attempt);
        }
    }

    /// Something happened to a task, and only storage knows the order.
    pub(crate) fn nudge(&self, id: TaskId) {
        if let Some(channel) = self.find(id) {
            channel.nudge();
        }
    }

    /// Something may have happened to any task.
    pub(crate) fn nudge_all(&self) {
        let rooms = self.lock();
        for room in rooms.by_task.values().filter(|room| room.places > 0) {
            room.channel.nudge();
        }
    }

    /// The task was removed.
    pub(crate) fn forget(&self, id: TaskId) {
        let Some(channel) = self.find(id) else { return };
        channel.forget();
        let mut rooms = self.lock();
        if rooms.by_task.get(&id).is_some_and(|room| room.places == 0) {
            rooms.by_task.remove(&id);
        }
        self.recount(&rooms);
    }

    /// A guest reported progress.
    pub(crate) fn progress(&self, id: TaskId, fraction: f64, note: &str) {
        self.open(id).tell(EventKind::Progress {
            fraction,
            note: note.to_owned(),
        });
    }

    /// Whether nobody has a place in any room.
    #[cfg(test)]
    pub(crate) fn is_deserted(&self) -> bool {
        self.lock().by_task.values().all(|room| room.places == 0)
    }

    fn find(&self, id: TaskId) -> Option<Arc<Channel>> {
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return None;
        }
        self.lock()
            .by_task
            .get(&id)
            .map(|room| Arc::clone(&room.channel))
    }

    fn open(&self, id: TaskId) -> Arc<Channel> {
        let mut rooms = self.lock();
        let channel = Arc::clone(&rooms.open(id).channel);
        rooms.forget_oldest();
        self.recount(&rooms);
        channel
    }

    fn recount(&self, rooms: &Rooms) {
        self.0.count.store(rooms.by_task.len(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rooms {
    fn open(&mut self, id: TaskId) -> &mut Room {
        self.by_task.entry(id).or_insert_with(|| {
            self.by_age.push_back(id);
            Room::default()
        })
    }

    fn forget_oldest(&mut self) {
        let excess = self.by_age.len().saturating_sub(UNWATCHED_MAX);
        for _ in 0..excess {
            let Some(id) = self.by_age.pop_front() else {
                return;
            };
            match self.by_task.get(&id) {
                Some(room) if room.places > 0 => self.by_age.push_back(id),
                Some(_) => {
                    self.by_task.remove(&id);
                }
                None => {}
            }
        }
    }
}

impl Speaker {
    /// The guest wrote to a stream.
    pub(crate) fn wrote(&self, stream: Stream, bytes: &[u8]) {
        self.channel.wrote(stream, bytes);
    }
}

impl Place {
    /// How many have a place in the same room.
    pub(crate) fn company(&self) -> usize {
        let rooms = self.hub.lock();
        rooms.by_task.get(&self.id).map_or(0, |room| room.places)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut rooms = self.hub.lock();
        if let Some(room) = rooms.by_task.get_mut(&self.id) {
            room.places -= 1;
            room.seekers -= usize::from(self.seeks);
            if room.places == 0 && room.channel.is_silent() {
                rooms.by_task.remove(&self.id);
                rooms.by_age.retain(|id| *id != self.id);
            }
        }
        self.hub.recount(&rooms);
    }
}
