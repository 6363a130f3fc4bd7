//! Cofferdam: a host for untrusted WebAssembly tasks, as a library.
//!
//! What a host does with tasks, modules and code, without an entry point for clients:
//! `cofferdam-server` puts HTTP, agents and the command line in front of it. The modules below are
//! in reading order, from the entry inwards; an import goes downwards only. ARCHITECTURE.md draws
//! the same map with its invariants, and `tests/it/tidy.rs` checks it.

pub mod access;
pub mod audit;
pub mod breaker;
pub mod callbacks;
pub mod executions;
pub mod interpreters;
pub mod nodes;
pub mod queue;
pub mod registry;
pub mod resealing;
pub mod results;
pub mod runner;
pub mod schedules;
pub mod secrets;
pub mod sessions;
pub mod shutdown;
pub mod telemetry;
pub mod vitals;
pub mod workflows;
