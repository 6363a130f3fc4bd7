//! Whole-product tests: the real binary, over HTTP and the command line. Only `compile` also uses
//! the library, because it must count the compiler's children.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, and the figures it prints are for the reader"
)]

mod aborts;
mod api_client;
mod batches;
mod blobs;
mod bulk;
mod cli;
mod clients;
mod compile;
mod disk;
mod ends;
mod exec;
mod fair;
mod foreign;
mod hosts;
mod isolation;
mod kept;
mod leaks;
mod left_over;
mod limits;
mod mcp;
mod memory;
mod modules;
mod proof;
mod queue;
mod recovery;
mod refusals;
mod run;
mod schemas;
mod server;
mod shared;
mod support;
mod tasks;
mod tidy;
mod upgrade;
mod uploads;
mod workers;
