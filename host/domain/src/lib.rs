//! The words of the product as types: tasks, attempts, modules, limits, grants.
//!
//! Everything here is pure: no I/O, no async, no serialisation. `clock` is the one file that asks
//! the machine what time it is. Each boundary (HTTP,
//! storage rows, WIT) has its own shapes and converts to and from these, so that none of them can
//! change another by accident.
//!
//! A task's life:
//!
//! ```text
//!  submit ──> pending ──claim──> running ──finish──> completed
//!                ^                  │                failed
//!                └──retry, rescue───┘                cancelled
//! ```
//!
//! `blocked` stands before `pending` for a task that waits for parents. The last three are final.

pub mod attempt;
pub mod caller;
pub mod claim;
pub mod clock;
pub mod grants;
pub mod limits;
pub mod module;
pub mod retry;
pub mod said;
pub mod state;
pub mod task;
pub mod time;
