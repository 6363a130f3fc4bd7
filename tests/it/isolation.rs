//! Guest processes: who asks for one.

mod words;
