//! The JavaScript interpreter: a module of the world `cofferdam:task/task` around QuickJS.
//!
//! It is ordinary guest code and has no privilege. The heap, with the prelude evaluated, is
//! snapshotted while the module is built (`wizer-initialize`), so a run only evaluates the user's
//! script. `js/` has what scripts find beside the language; this half has what needs Rust: the
//! engine, the event loop, native functions, and the request and answer.

mod compile;
mod engine;
mod envelope;
mod event_loop;
mod execute;
mod files;
mod heap;
mod host;
mod json;
mod modules;
mod requests;
mod script;
mod types;
mod usual_pages;

wit_bindgen::generate!({ world: "task", path: "../../wit" });

use exports::cofferdam::task::handler::{Descriptor, Failure, Guest, Payload};

/// The snapshot's entry point, called once by the build and then removed from the module.
#[unsafe(export_name = "wizer-initialize")]
extern "C" fn initialize() {
    engine::prepare();
}

struct Interpreter;

impl Guest for Interpreter {
    fn describe() -> Descriptor {
        Descriptor {
            summary: "Runs JavaScript source in QuickJS".to_owned(),
            input_schema: Some(include_str!("../../input.schema.json").to_owned()),
            output_schema: None,
        }
    }

    fn run(input: Payload) -> Result<Payload, Failure> {
        usual_pages::take();
        let request = envelope::Request::parse(&input.body).map_err(Failure::InvalidInput)?;
        Ok(Payload {
            content_type: "application/json".to_owned(),
            body: execute::execute(&request).into_json(),
        })
    }
}

export!(Interpreter);
