//! Whole-product tests: the real binary, over HTTP and the command line. Only `compile` goes through
//! the library besides, because what it throws at the compiler's child must be counted per child.

mod cli;
mod compile;
mod exec;
mod modules;
mod recovery;
mod run;
mod server;
mod support;
mod tasks;
mod tidy;
