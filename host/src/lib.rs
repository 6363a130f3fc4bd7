//! Cofferdam: a host for untrusted WebAssembly tasks.
//!
//! The modules below stand in reading order, from the entry inwards; an import goes downwards
//! only. ARCHITECTURE.md draws the same map with its invariants, and `tests/it/tidy.rs` holds it.

pub mod app;
pub mod cli;
pub mod http;
pub mod queue;
pub mod runner;
pub mod registry;
pub mod storage;
pub mod sandbox;
pub mod domain;
pub mod config;
pub mod telemetry;
pub mod threads;
pub mod shutdown;
pub mod clock;
