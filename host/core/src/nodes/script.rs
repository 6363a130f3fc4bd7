//! The input of a node that runs source text: the text, and what it works on.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Source text with its input, as a task of an interpreter keeps them.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Script<'a> {
    /// The source.
    #[serde(borrow)]
    pub code: Cow<'a, str>,
    /// What it works on, with references; nothing if absent.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub input: Option<&'a RawValue>,
}

impl<'a> Script<'a> {
    /// Reads the input of a task.
    pub fn read(text: &'a [u8]) -> Result<Script<'a>, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// As the input of a task.
    pub fn text(&self) -> Bytes {
        serde_json::to_vec(self).expect("it is plain JSON").into()
    }

    /// What it works on; empty if it works on nothing.
    pub fn input(&self) -> Bytes {
        self.input.map_or_else(Bytes::new, |input| {
            Bytes::copy_from_slice(input.get().as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_as_it_was_written() {
        let input = serde_json::value::to_raw_value(&[1.5]).unwrap();
        let script = Script {
            code: "a\n\"b\"".into(),
            input: Some(&input),
        };
        let text = script.text();
        let read = Script::read(&text).unwrap();
        assert_eq!(
            (&*read.code, &*read.input()),
            ("a\n\"b\"", b"[1.5]".as_slice())
        );
        assert!(Script::read(br#"{"code":"x"}"#).unwrap().input().is_empty());
        assert!(Script::read(br#"{"code":"x","file":1}"#).is_err());
    }
}
