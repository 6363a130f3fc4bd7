//! Write task modules for Cofferdam in Rust: an ordinary function becomes a WebAssembly component
//! that a host runs in a fresh sandbox for every task.
//!
//! What a sandbox may use (time, memory, files, network) is set where the task is submitted; this
//! crate leaves that out. It holds what the function itself needs: typed inputs and outputs,
//! failures that say whether a retry makes sense, progress, cancellation, a log, and tests without
//! a host.
//!
//! # Ten minutes to a running task
//!
//! ## 1. A crate
//!
//! ```text
//! rustup target add wasm32-wasip2
//! cargo new --lib compare
//! ```
//!
//! `Cargo.toml`; the `cdylib` becomes the component, and the profile keeps it small:
//!
//! ```toml
//! [package]
//! name = "compare"
//! version = "0.1.0"
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! cofferdam-guest = { path = "../cofferdam/guest-sdk" }   # a checkout of the repository
//! serde = { version = "1", features = ["derive"] }
//! schemars = "1"
//!
//! [profile.release]
//! opt-level = "s"
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = true               # "debuginfo" keeps the function names in a trap's backtrace
//! ```
//!
//! ## 2. A function
//!
//! `src/lib.rs`, whole:
//!
//! ```
//! use cofferdam_guest::{Failure, OrFail, context};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Two texts to compare.
//! #[derive(Deserialize, JsonSchema)]
//! struct Compare {
//!     before: String,
//!     after: String,
//! }
//!
//! #[derive(Debug, Serialize, JsonSchema)]
//! struct Comparison {
//!     /// The number of the first line that differs, from 1.
//!     first_difference: Option<usize>,
//!     lines: usize,
//! }
//!
//! /// Finds the first line in which two texts differ.
//! #[cofferdam_guest::task]
//! fn compare(input: Compare) -> Result<Comparison, Failure> {
//!     let lines = input.before.lines().count().max(input.after.lines().count());
//!     (lines > 0).then_some(()).or_invalid_input("both texts are empty")?;
//!     let (mut before, mut after) = (input.before.lines(), input.after.lines());
//!     for line in 1..=lines {
//!         context::progress(line as f64 / lines as f64, format!("line {line}"));
//!         if before.next() != after.next() {
//!             return Ok(Comparison { first_difference: Some(line), lines });
//!         }
//!     }
//!     Ok(Comparison { first_difference: None, lines })
//! }
//!
//! #[cfg(test)]
//! mod tests {
//!     use super::*;
//!     use cofferdam_guest::testing;
//!
//!     #[test]
//!     fn the_first_difference_is_found() {
//!         let output = testing::run::<compare>(r#"{"before": "a\nb", "after": "a\nc"}"#);
//!         assert_eq!(output.unwrap().body, br#"{"first_difference":2,"lines":2}"#);
//!     }
//! }
//! ```
//!
//! The doc comment of the function becomes the module's summary, and the types become JSON Schemas
//! that the host validates inputs with, shows as a form and offers to agents as a tool.
//!
//! ## 3. Test, build, upload, run
//!
//! ```text
//! cargo test                                             # natively, no host needed
//! cargo build --release --target wasm32-wasip2
//! echo '{"before": "a", "after": "b"}' > input.json
//! cofferdam run --input input.json target/wasm32-wasip2/release/compare.wasm
//!
//! cofferdam serve &                                      # http://127.0.0.1:8080
//! cofferdam module push compare target/wasm32-wasip2/release/compare.wasm
//! curl -d @input.json http://127.0.0.1:8080/v1/run/compare             # now, nothing stored
//! curl -H 'Content-Type: application/json' \
//!      -d '{"module": "compare", "input": {"before": "a", "after": "b"}}' \
//!      'http://127.0.0.1:8080/v1/tasks?wait_ms=5000'                   # queued, stored, retried
//! ```
//!
//! # Inputs and outputs
//!
//! | the function takes or returns | the host sees |
//! |---|---|
//! | a type with serde's traits and `schemars::JsonSchema` | JSON and its schema |
//! | [`Json<T>`](Json) | JSON without a schema |
//! | [`Payload`] | raw bytes and their content type |
//! | [`Unread`], as an input | the same, read piece by piece |
//! | `()` | `null`; as an input also an empty body |
//!
//! An input that cannot be read is [`Failure::InvalidInput`] with the place and the reason: ``the
//! input does not fit at `sizes[2].width`: invalid type: string "wide", expected u32 at line 1
//! column 64``. An input too large for a message is a read-only file, [`LARGE_INPUT`]; JSON and
//! [`Payload`] are read from there automatically. Files left under `/out` become artifacts, and
//! `/work` is scratch space; `std::fs` reads and writes them. [`dirs`] names them, in a sandbox and
//! in a test alike.
//!
//! # Failures
//!
//! Return any error type that converts into [`Failure`]. Under `?` every [`std::error::Error`] is
//! a permanent failure; where another attempt makes sense, say so:
//!
//! ```
//! use cofferdam_guest::{Failure, OrFail, ResultExt};
//!
//! fn total(text: &str) -> Result<u64, Failure> {
//!     let rates = std::fs::read_to_string("/data/rates").transient()?;
//!     let rate: u64 = rates.trim().parse()?;
//!     let amount: u64 = text.parse().or_invalid_input("the amount")?;
//!     amount.checked_mul(rate).or_permanent("the total is too large")
//! }
//! # assert!(matches!(total("1"), Err(Failure::Transient(_))));
//! ```
//!
//! `anyhow::Error` is not a `std::error::Error`; name its kind: `parse(text).permanent()?`.
//! A panic is a trap: the run fails with the message on its stderr.
//!
//! # Context and log
//!
//! [`context`] gives the task's id, the attempt, the time left and whether it was cancelled, and
//! takes reports of progress. [`log`] sends structured lines to the task's log. With the feature
//! `log` or `tracing` the records of that crate go there too, key-value fields included; nothing
//! needs to be set up. `println!` and `eprintln!` reach the task's stdout and stderr.
//!
//! # Requests to other machines
//!
//! With the feature `http` the module `http` sends requests, as far as the run was granted them:
//! `{"grants": {"http": ["api.example.com"]}}`. In a test the context answers them.
//!
//! # Commands
//!
//! A task can also be a plain `fn main`, built for `wasm32-wasip2`, without this crate: input on
//! stdin, output on stdout, and an exit code. The example `report` is one.

#![warn(missing_docs)]
#![expect(
    clippy::test_attr_in_doctest,
    reason = "the tutorial shows a whole file, its test included"
)]

// The generated bindings and the doc tests' expansions name this crate as its users do.
extern crate self as cofferdam_guest;

pub mod context;
mod convert;
pub mod dirs;
mod failure;
mod host;
#[cfg(feature = "http")]
pub mod http;
pub mod log;
mod payload;
mod task;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use cofferdam_guest_macros::task;
pub use convert::{Input, Json, Output};
pub use failure::{Failure, OrFail, ResultExt};
pub use payload::{LARGE_INPUT, Payload, Unread};
pub use task::{Descriptor, Task};

/// The names that the expansion of `#[task]` uses. It is not for use by hand and changes without
/// notice.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::host::component::{bindings, describe, run};
    pub use crate::task::{PlainType, PlainValue, ReturnType, Returned};
    #[cfg(target_arch = "wasm32")]
    pub use wit_bindgen::rt as wit_bindgen_rt;

    #[cfg(not(target_arch = "wasm32"))]
    pub type Run = fn(crate::Payload) -> Result<crate::Payload, crate::Failure>;
}

/// Exports a [`Task`] from a component.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_task {
    ($task:ident) => {
        const _: () = {
            struct Exported;

            impl $crate::__private::bindings::exports::cofferdam::task::handler::Guest
                for Exported
            {
                fn describe()
                -> $crate::__private::bindings::exports::cofferdam::task::handler::Descriptor
                {
                    $crate::__private::describe::<$task>()
                }

                fn run(
                    input: $crate::__private::bindings::exports::cofferdam::task::handler::Payload,
                ) -> ::core::result::Result<
                    $crate::__private::bindings::exports::cofferdam::task::handler::Payload,
                    $crate::__private::bindings::exports::cofferdam::task::handler::Failure,
                > {
                    $crate::__private::run::<$task>(input)
                }
            }

            $crate::__private::bindings::__export_handler!(Exported);
        };
    };
}

/// Takes the export's place in a native build, which exports nothing: without a use the compiler
/// would call the task dead code.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_task {
    ($task:ident) => {
        const _: $crate::__private::Run = <$task as $crate::Task>::run;
    };
}
