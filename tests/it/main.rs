//! Whole-product tests: the real binary, over HTTP and the command line, and nothing else.

mod support;
mod tidy;
