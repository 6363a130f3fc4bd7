//! The host's half of `wit/`, one file per interface and under its name, and the WASI part of a
//! guest's surroundings.

pub(crate) mod context;
pub(crate) mod handler;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod wasi;

/// The code that `bindgen!` generates from `wit/`.
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "task",
        ownership: Borrowing { duplicate_if_necessary: true },
        exports: { default: async },
    });
}
