//! The queue over the embedded database, with guests that the test itself simulates.

mod cancel;
mod chaos;
mod drain;
mod end;
mod faulty;
mod given_up;
mod interleavings;
mod mishaps;
mod order;
mod record;
mod retry;
mod slots;
mod stage;
mod submit;
mod tenants;
mod watch;
