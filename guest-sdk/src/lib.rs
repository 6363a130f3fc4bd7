//! Write task modules for Cofferdam in Rust.

#![warn(missing_docs)]

// The generated bindings and the doc tests' expansions name this crate as its users do.
extern crate self as cofferdam_guest;

pub mod context;
mod convert;
mod failure;
mod host;
pub mod log;
mod payload;
mod task;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use cofferdam_guest_macros::task;
pub use convert::{Input, Json, Output};
pub use failure::{Failure, OrFail, ResultExt};
pub use payload::Payload;
pub use task::{Descriptor, Task};

/// What the expansion of `#[task]` names. Not for use by hand: it changes without notice.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::host::component::{bindings, describe, run};
    pub use crate::task::{PlainType, PlainValue, ReturnType, Returned};
    #[cfg(target_arch = "wasm32")]
    pub use wit_bindgen::rt as wit_bindgen_rt;
}

/// Exports a [`Task`] from a component; a native build has nobody to export it to.
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

/// Exports a [`Task`] from a component; a native build has nobody to export it to.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_task {
    ($task:ident) => {};
}
