//! The output of running code that its watcher has not taken yet: bounded, in the order of writing.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::http::room::{Held, Room};
use cofferdam_domain::attempt::Stream;

/// The bytes of one stream that are sent while the code runs; the rest is dropped, as in the
/// answer.
const TOLD_BYTES_MAX: usize = 1024 * 1024;
/// The bytes that may wait for a reader.
const WAITING_BYTES_MAX: usize = 256 * 1024;
/// The cost of a note besides its text.
const NOTE_BYTES: usize = 64;
/// The most text in one event; several writes become one event up to this.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// The notes of one run.
#[derive(Debug)]
pub(super) struct Notes {
    waiting: Mutex<Waiting>,
    written: Notify,
}

/// One note.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Output.
    Wrote(Stream, Vec<u8>),
    /// Output was left out.
    Cut(Stream),
}

#[derive(Debug)]
struct Waiting {
    notes: VecDeque<Note>,
    /// Their cost.
    bytes: usize,
    /// Bytes of standard output and standard error, since the beginning.
    told: [usize; 2],
    /// Whether the newest note of each stream says that output was left out.
    is_cut: [bool; 2],
    held: Held,
}

impl Notes {
    pub(super) fn new(room: &Room) -> Notes {
        Notes {
            waiting: Mutex::new(Waiting {
                notes: VecDeque::new(),
                bytes: 0,
                told: [0; 2],
                is_cut: [false; 2],
                held: room.none(),
            }),
            written: Notify::new(),
        }
    }

    /// Notes output, or that it was left out. Never blocks.
    pub(super) fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut waiting = self.lock();
        let was_empty = waiting.notes.is_empty();
        let room = waiting.room(stream).min(bytes.len());
        let (fits, rest) = bytes.split_at(room);
        for chunk in fits.chunks(CHUNK_BYTES_MAX) {
            waiting.append(stream, chunk);
        }
        if !rest.is_empty() {
            waiting.cut(stream);
        }
        let is_news = was_empty && !waiting.notes.is_empty();
        drop(waiting);
        if is_news {
            self.written.notify_waiters();
        }
    }

    /// The next note.
    pub(super) fn take(&self) -> Option<Note> {
        let mut waiting = self.lock();
        let note = waiting.notes.pop_front()?;
        waiting.bytes -= cost(&note);
        Some(note)
    }

    /// Ends at the next note after this call.
    pub(super) fn more(&self) -> Notified<'_> {
        self.written.notified()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// How much more of a stream may be sent.
    fn room(&mut self, stream: Stream) -> usize {
        let left = TOLD_BYTES_MAX - self.told[place(stream)];
        let buffer = match self.held.try_grow_to(WAITING_BYTES_MAX as u64) {
            true => WAITING_BYTES_MAX,
            false => usize::try_from(crate::http::room::UNCOUNTED_BYTES).unwrap_or(0),
        };
        left.min(buffer.saturating_sub(self.bytes + NOTE_BYTES))
    }

    fn append(&mut self, stream: Stream, bytes: &[u8]) {
        self.told[place(stream)] += bytes.len();
        self.is_cut[place(stream)] = false;
        match self.notes.back_mut() {
            Some(Note::Wrote(last, text))
                if *last == stream && text.len() + bytes.len() <= CHUNK_BYTES_MAX =>
            {
                text.extend_from_slice(bytes);
                self.bytes += bytes.len();
            }
            Some(_) | None => self.push(Note::Wrote(stream, bytes.to_vec())),
        }
    }

    /// One note stands for any number of left-out writes.
    fn cut(&mut self, stream: Stream) {
        if !std::mem::replace(&mut self.is_cut[place(stream)], true) {
            self.push(Note::Cut(stream));
        }
    }

    fn push(&mut self, note: Note) {
        self.bytes += cost(&note);
        self.notes.push_back(note);
    }
}

fn cost(note: &Note) -> usize {
    match note {
        Note::Wrote(_, bytes) => NOTE_BYTES + bytes.len(),
        Note::Cut(_) => NOTE_BYTES,
    }
}

fn place(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr | Stream::Log => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn notes() -> (Room, Notes) {
        let room = Room::of_its_own(1 << 20, Duration::ZERO);
        let notes = Notes::new(&room);
        (room, notes)
    }

    fn all(notes: &Notes) -> Vec<Note> {
        std::iter::from_fn(|| notes.take()).collect()
    }

    #[test]
    fn many_small_writes_become_one_note() {
        let (_room, notes) = notes();
        for byte in b"abc" {
            notes.write(Stream::Stdout, &[*byte]);
        }
        notes.write(Stream::Stderr, b"!");
        let expected = [
            Note::Wrote(Stream::Stdout, b"abc".to_vec()),
            Note::Wrote(Stream::Stderr, b"!".to_vec()),
        ];
        assert_eq!(all(&notes), expected);
    }

    #[test]
    fn unread_output_is_bounded_and_marked_as_cut() {
        let (room, notes) = notes();
        for _ in 0..100_000 {
            notes.write(Stream::Stdout, b"x");
            notes.write(Stream::Stderr, b"y");
        }
        assert!(notes.lock().bytes <= WAITING_BYTES_MAX + 2 * NOTE_BYTES);
        let told = all(&notes);
        let cuts = told.iter().filter(|note| matches!(note, Note::Cut(_)));
        assert_eq!(cuts.count(), 2);
        // It continues once there is room again.
        notes.write(Stream::Stdout, b"z");
        assert_eq!(all(&notes), [Note::Wrote(Stream::Stdout, b"z".to_vec())]);
        drop(notes);
        assert_eq!(room.used_bytes(), 0);
    }

    #[test]
    fn no_more_of_a_stream_is_sent_than_is_kept() {
        let (_room, notes) = notes();
        let mut told = 0;
        for _ in 0..40 {
            notes.write(Stream::Stdout, &[b'x'; 64 * 1024]);
            for note in all(&notes) {
                told += cost(&note).saturating_sub(NOTE_BYTES);
            }
        }
        assert_eq!(told, TOLD_BYTES_MAX);
    }
}
