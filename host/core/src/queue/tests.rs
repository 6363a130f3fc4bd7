//! The queue over the embedded database, with guests that the test itself simulates.

mod cancel;
mod end;
mod order;
mod record;
mod retry;
mod stage;
mod submit;
mod watch;
