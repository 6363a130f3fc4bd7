//! The words of the product as types: tasks, attempts, modules, limits, grants.
//!
//! Everything here is pure: no I/O, no async, no serialisation. `clock` is the one file that asks
//! the machine what time it is. Each boundary (HTTP, storage rows, WIT) has its own types and
//! converts to and from these, so that a change of one cannot change another by accident.
//!
//! A task's life:
//!
//! ```text
//!  submit ──> pending ──claim──> running ──finish──> completed
//!                ^                  │                failed
//!                └──retry, rescue───┘                cancelled
//! ```
//!
//! A task that waits for parents is `blocked` before it is `pending`. The last three are final.

pub mod alert;
pub mod attempt;
pub mod audit;
pub mod batch;
pub mod cache;
pub mod callback;
pub mod caller;
pub mod claim;
pub mod clock;
pub mod grants;
pub mod isolation;
pub mod label;
pub mod limits;
pub mod memory;
pub mod module;
pub mod placement;
pub mod pressure;
pub mod rate;
pub mod retry;
pub mod said;
pub mod schedule;
pub mod secret;
pub mod state;
pub mod step;
pub mod task;
pub mod time;
pub mod whose;
pub mod worker;
pub mod workflow;
