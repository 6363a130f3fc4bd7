//! The entry points of a Cofferdam host: the HTTP API, the tools of agents and the command line,
//! with the configuration of the host behind them.
//!
//! The modules below are in reading order, from the entry inwards; an import goes downwards only.
//! ARCHITECTURE.md draws the same map with its invariants, and `tests/it/tidy.rs` checks it.

pub mod app;
pub mod cli;
pub mod config;
pub mod http;
pub mod mcp;

mod intake;
mod sse;
