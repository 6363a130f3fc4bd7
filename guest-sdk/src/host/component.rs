//! The bindings generated from `wit/`, and the conversions between their types and ours. The
//! generated types stay inside: authors see only this crate's types.

#[cfg(feature = "http")]
pub(crate) mod http;

use std::path::PathBuf;

use crate::log::Level;
use crate::{Failure, Payload, Task};

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "task",
        pub_export_macro: true,
        export_macro_name: "__export_handler",
        default_bindings_module: "cofferdam_guest::__private::bindings",
        runtime_path: "::cofferdam_guest::__private::wit_bindgen_rt",
    });
}

use bindings::cofferdam::task::{context, log as host_log};
use bindings::exports::cofferdam::task::handler;

pub(crate) fn task_id() -> String {
    context::task_id()
}

pub(crate) fn attempt() -> u32 {
    context::attempt()
}

pub(crate) fn remaining_ms() -> u64 {
    context::remaining_ms()
}

pub(crate) fn cancelled() -> bool {
    context::cancelled()
}

pub(crate) fn dir(name: &str) -> PathBuf {
    PathBuf::from(format!("/{name}"))
}

pub(crate) fn progress(fraction: f64, note: &str) {
    context::progress(fraction, note);
}

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => host_log::Level::Trace,
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    let fields: Vec<host_log::Field> = fields
        .iter()
        .map(|(key, value)| host_log::Field {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        })
        .collect();
    host_log::emit(level, message, &fields);
}

/// The exported `describe` of a task.
pub fn describe<T: Task>() -> handler::Descriptor {
    let described = T::describe();
    handler::Descriptor {
        summary: described.summary,
        input_schema: described.input_schema,
        output_schema: described.output_schema,
    }
}

/// The exported `run` of a task.
pub fn run<T: Task>(input: handler::Payload) -> Result<handler::Payload, handler::Failure> {
    crate::log::install();
    let payload = Payload {
        content_type: input.content_type,
        body: input.body,
    };
    match T::run(payload) {
        Ok(output) => Ok(handler::Payload {
            content_type: output.content_type,
            body: output.body,
        }),
        Err(Failure::InvalidInput(message)) => Err(handler::Failure::InvalidInput(message)),
        Err(Failure::Permanent(message)) => Err(handler::Failure::Permanent(message)),
        Err(Failure::Transient(message)) => Err(handler::Failure::Transient(message)),
    }
}
