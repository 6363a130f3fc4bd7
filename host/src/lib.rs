//! Cofferdam: a host for untrusted WebAssembly tasks.
//!
//! The modules below stand in reading order, from the entry inwards; an import goes downwards
//! only. ARCHITECTURE.md draws the same map with its invariants, and `tests/it/tidy.rs` holds it.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod executions;
pub mod http;
pub mod interpreters;
pub mod mcp;
pub mod queue;
pub mod registry;
pub mod runner;
pub mod sandbox;
pub mod sessions;
pub mod shutdown;
pub mod storage;
pub mod telemetry;
pub mod threads;
