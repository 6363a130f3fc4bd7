//! Whole-product tests: the real binary, over HTTP and the command line. Only `compile` also uses
//! the library, because it must count the compiler's children.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that panics has failed, and the figures it prints are for the reader"
)]

mod aborts;
mod access;
mod alerts;
mod api_client;
mod batches;
mod blobs;
mod breaker;
mod bulk;
mod cache;
mod callbacks;
mod cli;
mod clients;
mod compile;
mod confinement;
mod disk;
mod egress;
mod ends;
mod exec;
mod fair;
mod foreign;
mod hosts;
mod https;
mod isolation;
mod kept;
mod leaks;
mod left_over;
mod limits;
mod mcp;
mod memory;
mod modules;
mod monitoring;
mod proof;
mod queue;
mod recovery;
mod refusals;
mod run;
mod schedules;
mod schemas;
mod sealed;
mod server;
mod shared;
mod support;
mod tasks;
mod tidy;
mod upgrade;
mod uploads;
mod workers;
mod workflows;
