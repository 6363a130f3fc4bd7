//! A call's arguments, verbatim.
//!
//! The protocol's crate gives them as a tree, in which a number above 2⁶⁴ has become a float. So the
//! endpoint puts the message itself beside the call, and its arguments are read from there.

use bytes::Bytes;
use rmcp::RoleServer;
use rmcp::model::{ErrorData, JsonObject};
use rmcp::service::RequestContext;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::mcp::call;

/// The message of a call.
#[derive(Clone)]
pub(super) struct Message(pub(super) Bytes);

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// The text of the arguments, which is a JSON object.
pub(super) fn text(
    context: &RequestContext<RoleServer>,
    tree: &JsonObject,
) -> Result<Bytes, ErrorData> {
    let parts = context.extensions.get::<http::request::Parts>();
    let message = parts.and_then(|parts| parts.extensions.get::<Message>());
    match message.and_then(|Message(message)| exact(message)) {
        Some(text) => Ok(text),
        // This is a call without arguments.
        None => serde_json::to_vec(tree)
            .map(Bytes::from)
            .map_err(call::internal),
    }
}

/// The arguments of a message, as a part of it; none if they are no object.
pub(super) fn exact(message: &Bytes) -> Option<Bytes> {
    let call: Call<'_> = serde_json::from_slice(message).ok()?;
    let arguments = call.params.arguments?.get();
    let text = message.slice_ref(arguments.as_bytes());
    text.starts_with(b"{").then_some(text)
}
