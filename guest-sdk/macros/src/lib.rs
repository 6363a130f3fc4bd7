//! The `#[task]` attribute of `cofferdam-guest`. Everything that can be ordinary code is elsewhere:
//! the attribute generates a few lines that name the types and call into `cofferdam-guest`.

#![warn(missing_docs)]

mod expand;
mod options;
mod signature;

use proc_macro::TokenStream;

/// Makes a function the task of this module.
///
/// The function takes one argument and is free to return a plain value or a `Result`:
///
/// ```text
/// /// Makes a small picture of a large one.
/// #[cofferdam_guest::task]
/// fn resize(input: Resize) -> Result<Thumbnail, Failure> { … }
/// ```
///
/// - The argument and the value are JSON when their types implement serde's traits and
///   `schemars::JsonSchema`, and raw bytes when they are a `cofferdam_guest::Payload`.
/// - The error is anything that converts into `cofferdam_guest::Failure`.
/// - The first paragraph of the doc comment is the module's summary, unless the attribute gives
///   one: `#[task(summary = "Makes thumbnails")]`.
///
/// The function itself is left as it is, so tests call it like any other. The attribute adds a type
/// of the same name that implements `cofferdam_guest::Task`, which `cofferdam_guest::testing` runs.
/// A crate has one task.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(attribute.into(), item.into()).into()
}
