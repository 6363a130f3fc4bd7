//! Guest processes: who asks for one, and what becomes of a run, its task, its host and everybody else when
//! a process dies, stands still or misbehaves.

mod words;
