//! Whole-product tests: the real binary, over HTTP and the command line, and nothing else.

mod cli;
mod modules;
mod recovery;
mod run;
mod server;
mod support;
mod tasks;
mod tidy;
