//! The doors of a Cofferdam host: the HTTP API, the tools of agents and the command line, with the
//! configuration that puts the host behind them together.
//!
//! The modules below are in reading order, from the entry inwards; an import goes downwards only.
//! ARCHITECTURE.md draws the same map with its invariants, and `tests/it/tidy.rs` holds it.

pub mod app;
pub mod cli;
pub mod config;
pub mod http;
pub mod mcp;

mod intake;
