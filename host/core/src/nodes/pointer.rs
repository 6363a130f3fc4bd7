//! JSON pointers (RFC 6901), followed through text.
//!
//! A value is found where it stands and is passed on as it was written: a tree would round its numbers. Nothing here
//! recurses, so a value may be as deep as its author likes.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The longest pointer, in bytes.
pub const POINTER_BYTES_MAX: usize = 1024;

/// A way to a value inside a value; the empty one leads to the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    parts: Vec<String>,
}

/// The text is not a pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a JSON pointer, which is empty or begins with / and has at most {POINTER_BYTES_MAX} bytes"
)]
pub struct BadPointer(String);

impl Pointer {
    /// Reads a pointer.
    pub fn parse(text: &str) -> Result<Pointer, BadPointer> {
        let refused = || BadPointer(text.chars().take(100).collect());
        if text.is_empty() {
            return Ok(Pointer::default());
        }
        if text.len() > POINTER_BYTES_MAX {
            return Err(refused());
        }
        let rest = text.strip_prefix('/').ok_or_else(refused)?;
        let parts = rest
            .split('/')
            .map(|part| unescaped(part).ok_or_else(refused));
        Ok(Pointer {
            text: text.to_owned(),
            parts: parts.collect::<Result<_, _>>()?,
        })
    }

    /// The value it leads to; none if it leads out of `json`, or what it leads through is no JSON. Of members with
    /// one name the last counts.
    pub fn find<'a>(&self, json: &'a str) -> Option<&'a RawValue> {
        let mut at: &RawValue = serde_json::from_str(json).ok()?;
        for part in &self.parts {
            let mut reader = serde_json::Deserializer::from_str(at.get());
            at = Step(part).deserialize(&mut reader).ok()??;
        }
        Some(at)
    }

    /// Its parts.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// Whether it leads to the whole.
    pub fn is_whole(&self) -> bool {
        self.parts.is_empty()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `~1` is a slash and `~0` a tilde; another tilde is a mistake.
fn unescaped(part: &str) -> Option<String> {
    let mut text = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(char) = chars.next() {
        text.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

/// One step into an object or a list.
struct Step<'p>(&'p str);

impl Step<'_> {
    /// The place in a list that it names.
    fn place(&self) -> Option<usize> {
        let digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        let has_zero_ahead = self.0.len() > 1 && self.0.starts_with('0');
        (digits && !has_zero_ahead)
            .then(|| self.0.parse().ok())
            .flatten()
    }
}

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<String>()? {
            match name == self.0 {
                true => found = Some(map.next_value()?),
                false => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (place, mut at, mut found) = (self.place(), 0, None);
        // A list that is not read to its end counts as no JSON.
        while let Some(value) = list.next_element::<&RawValue>()? {
            if place == Some(at) {
                found = Some(value);
            }
            at += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(pointer: &str, json: &'a str) -> Option<&'a str> {
        Pointer::parse(pointer)
            .unwrap()
            .find(json)
            .map(RawValue::get)
    }

    #[test]
    fn a_value_is_found_as_it_was_written() {
        let json = r#"{"a": [1e999, {"b/~c": 12345678901234567890123}], "": 0, "a\u0062": "x", "two": 1, "two": 2}"#;
        assert_eq!(find("", json), Some(json));
        assert_eq!(find("/a/0", json), Some("1e999"));
        assert_eq!(find("/a/1/b~1~0c", json), Some("12345678901234567890123"));
        assert_eq!(find("/", json), Some("0"));
        assert_eq!(find("/ab", json), Some("\"x\""));
        assert_eq!(find("/two", json), Some("2"));
        for outside in [
            "/b", "/a/2", "/a/-", "/a/00", "/a/+1", "/a/0/x", "/ab/0", "/a/1/b",
        ] {
            assert_eq!(find(outside, json), None, "{outside}");
        }
        assert_eq!(find("", "no json"), None);
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for bad in ["a", "#/a", "/a~2", "/~", &"/a".repeat(600)] {
            assert!(Pointer::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Pointer::parse("/a~1b").unwrap().to_string(), "/a~1b");
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = "[".repeat(200_000) + "7" + &"]".repeat(200_000);
        assert_eq!(find("/0/0", &deep).map(str::len), Some(deep.len() - 4));
    }
}
