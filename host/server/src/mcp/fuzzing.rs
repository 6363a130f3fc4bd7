//! What agents send, as nobody meant it: names of tools, their arguments, and messages.
//!
//! Compiled for tests and for fuzzing only; `fuzz/` says how it is used. The protocol's own parsing is
//! its crate's.

use bytes::Bytes;
use serde_json::Value;

use super::arguments::exact;
use super::names::{Meant, code_tool, meant, module_tool};
use super::schema::InputSchema;
use cofferdam_domain::module::ModuleName;

/// The first line names what reads the rest: a tool's name, a module's schema with arguments, or
/// a whole message.
///
/// # Panics
///
/// Where a name leads to another, or what is read is not what was sent.
pub fn tools(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let (what, rest) = (&bytes[..end], &bytes[end + 1..]);
    match what {
        b"name" => name(&String::from_utf8_lossy(rest)),
        b"message" => message(&Bytes::copy_from_slice(rest)),
        b"module" => module(rest),
        _ => {}
    }
}

fn name(text: &str) {
    match meant(text) {
        None => {}
        Some(Meant::Code(language)) => assert_eq!(code_tool(language), text),
        Some(Meant::Module(module)) => assert_eq!(module_tool(&module), text),
        Some(Meant::OneAfter(module)) => {
            assert!(module_tool(&module) != text, "{module} has a short name");
        }
    }
    if let Ok(module) = ModuleName::parse(text)
        && !module.is_reserved()
    {
        match meant(&module_tool(&module)) {
            Some(Meant::Module(back)) => assert_eq!(back, module),
            Some(Meant::OneAfter(before)) => {
                let before = before.as_str();
                assert!(before < module.as_str() && module.as_str().starts_with(before));
            }
            other @ (None | Some(Meant::Code(_))) => panic!("{module} became {other:?}"),
        }
    }
}

fn message(message: &Bytes) {
    let Some(text) = exact(message) else { return };
    let (Ok(whole), Ok(part)) = (
        serde_json::from_slice::<Value>(message),
        serde_json::from_slice::<Value>(&text),
    ) else {
        return;
    };
    assert_eq!(whole["params"]["arguments"], part);
}

/// The first line is a schema, the others are the arguments.
fn module(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let Ok(text) = std::str::from_utf8(&bytes[..end]) else {
        return;
    };
    let arguments = Bytes::copy_from_slice(&bytes[end + 1..]);
    let Some(schema) = InputSchema::of(text) else {
        return;
    };
    if let Ok(input) = schema.input(&arguments)
        && let Ok(whole) = serde_json::from_slice::<Value>(&arguments)
    {
        let input: Value = serde_json::from_slice(&input).expect("it is a part of JSON");
        let is_part = match schema {
            InputSchema::Object(_) => input == whole,
            InputSchema::Member(_) => input == whole["input"],
        };
        assert!(is_part, "the input is another");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_and_argument_is_what_was_sent_or_refused() {
        cofferdam_fuzz::short_run("tools", 20_000, super::tools);
    }
}
