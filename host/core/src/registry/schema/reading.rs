//! JSON text as a value to be held against a schema, in bounded memory.
//!
//! A value takes many times the memory of its text, so each part of it is counted before there is
//! another. A text that is too long, too deep or too large as a value is still read to its end, without
//! a value, because whether it is JSON at all decides what becomes of it.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Map, Number, Value};

use super::budget::{Budget, Stopped};

/// JSON text, wherever it is.
#[derive(Clone, Debug)]
pub enum Text {
    /// In memory; no text at all is `null`, as modules read it.
    Memory(Bytes),
    /// In a file of the host's own.
    File {
        /// Where.
        path: PathBuf,
        /// Its length.
        size_bytes: u64,
    },
}

/// Why there is no value.
#[derive(Debug)]
pub(super) enum Unread {
    /// The text is not JSON; the message says where and why.
    NotJson(String),
    /// The value would take more memory than it may.
    TooLarge,
    Stopped(Stopped),
    /// The file cannot be read.
    Lost(io::Error),
}

/// What a reader keeps of a long text while it reads it, at most, and what a value keeps of it.
const MEMORY_PER_TEXT: u64 = 4;
/// Levels that are followed. JSON readers end at 128.
const DEPTH_MAX: usize = 120;
/// What is read of a file at once.
const BUFFER_BYTES: usize = 65_536;
/// What an item of a list takes while the list grows: its place before and after.
const ITEM_BYTES: u64 = 3 * size_of::<Value>() as u64;
/// What an object takes with its first member: a node of the map.
const OBJECT_BYTES: u64 = 640;
/// What each member takes beside its name's letters.
const MEMBER_BYTES: u64 = 160;
/// What a text takes beside its letters.
const TEXT_BYTES: u64 = 16;

impl Text {
    pub(super) fn len(&self) -> u64 {
        match self {
            Text::Memory(bytes) => bytes.len() as u64,
            Text::File { size_bytes, .. } => *size_bytes,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The value of a text that takes at most `memory_bytes`.
pub(super) fn read(
    text: &Text,
    memory_bytes: u64,
    budget: &mut Budget<'_>,
) -> Result<Value, Unread> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let value = match text.len() > memory_bytes / MEMORY_PER_TEXT {
        true => Err(Unread::TooLarge),
        false => match text {
            Text::Memory(bytes) => value(Deserializer::from_slice(bytes), memory_bytes, budget),
            Text::File { path, .. } => {
                let file = File::open(path).map_err(Unread::Lost)?;
                let file = BufReader::with_capacity(BUFFER_BYTES, file);
                value(Deserializer::from_reader(file), memory_bytes, budget)
            }
        },
    };
    match value {
        Err(unread @ (Unread::TooLarge | Unread::Stopped(Stopped::TooDeep))) => {
            is_json(text, budget)?;
            Err(unread)
        }
        Ok(_) | Err(Unread::NotJson(_) | Unread::Stopped(Stopped::Spent) | Unread::Lost(_)) => {
            value
        }
    }
}

fn value<'de, R: serde_json::de::Read<'de>>(
    mut text: Deserializer<R>,
    memory_bytes: u64,
    budget: &mut Budget<'_>,
) -> Result<Value, Unread> {
    let mut reading = Reading {
        budget,
        left_bytes: memory_bytes,
        depth: 0,
        unread: None,
    };
    let value = Part(&mut reading).deserialize(&mut text);
    let value = value.and_then(|value| text.end().map(|()| value));
    value.map_err(|error| reading.unread.unwrap_or_else(|| unread(error)))
}

fn unread(error: serde_json::Error) -> Unread {
    match error.is_io() {
        true => Unread::Lost(error.into()),
        false => Unread::NotJson(error.to_string()),
    }
}

/// Reads a text to its end without keeping it.
fn is_json(text: &Text, budget: &mut Budget<'_>) -> Result<(), Unread> {
    let read: &mut dyn Read = match text {
        Text::Memory(bytes) => &mut &bytes[..],
        Text::File { path, .. } => &mut File::open(path).map_err(Unread::Lost)?,
    };
    let mut stopped = None;
    let mut paid = Paid {
        read,
        budget,
        stopped: &mut stopped,
    };
    let mut text = Deserializer::from_reader(BufReader::with_capacity(BUFFER_BYTES, &mut paid));
    let read = IgnoredAny::deserialize(&mut text).and_then(|_ignored| text.end());
    drop(text);
    match (read, stopped) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(stopped)) => Err(Unread::Stopped(stopped)),
        (Err(error), None) => Err(unread(error)),
    }
}

/// A reader that pays for what it reads.
struct Paid<'a, 'm> {
    read: &'a mut dyn Read,
    budget: &'a mut Budget<'m>,
    /// Why it was not given more.
    stopped: &'a mut Option<Stopped>,
}

impl Read for Paid<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.read.read(buffer)?;
        self.budget.spend_bytes(bytes).map_err(|stopped| {
            *self.stopped = Some(stopped);
            io::Error::other("its means are used up")
        })?;
        Ok(bytes)
    }
}

/// A value in the making.
struct Reading<'a, 'm> {
    budget: &'a mut Budget<'m>,
    left_bytes: u64,
    depth: usize,
    /// Why it was given up.
    unread: Option<Unread>,
}

impl Reading<'_, '_> {
    /// Pays for a part that takes so many bytes.
    fn pay<E: serde::de::Error>(&mut self, bytes: u64) -> Result<(), E> {
        let paid = match self.left_bytes.checked_sub(bytes) {
            None => Err(Unread::TooLarge),
            Some(left) => {
                self.left_bytes = left;
                let steps = self
                    .budget
                    .spend_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
                steps.map_err(Unread::Stopped)
            }
        };
        paid.map_err(|unread| self.give_up(unread))
    }

    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        match self.depth > DEPTH_MAX {
            true => Err(self.give_up(Unread::Stopped(Stopped::TooDeep))),
            false => Ok(()),
        }
    }

    fn give_up<E: serde::de::Error>(&mut self, unread: Unread) -> E {
        self.unread = Some(unread);
        E::custom("it is given up")
    }
}

/// The next part of a value.
struct Part<'r, 'a, 'm>(&'r mut Reading<'a, 'm>);

impl<'de> DeserializeSeed<'de> for Part<'_, '_, '_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, text: D) -> Result<Value, D::Error> {
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_, '_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.0.pay::<E>(TEXT_BYTES + value.len() as u64)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.enter::<A::Error>()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Part(self.0))? {
            self.0.pay::<A::Error>(ITEM_BYTES)?;
            list.push(item);
        }
        self.0.depth -= 1;
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.0.enter::<A::Error>()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.is_empty() {
                self.0.pay::<A::Error>(OBJECT_BYTES)?;
            }
            self.0.pay::<A::Error>(MEMBER_BYTES + name.len() as u64)?;
            object.insert(name, members.next_value_seed(Part(self.0))?);
        }
        self.0.depth -= 1;
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const ROOM: u64 = 1 << 20;

    fn both(text: &str) -> [Text; 2] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let (_, path) = file.keep().unwrap();
        let size_bytes = text.len() as u64;
        let memory = Text::Memory(Bytes::copy_from_slice(text.as_bytes()));
        [memory, Text::File { path, size_bytes }]
    }

    /// What comes of a text in memory and of the same in a file, which must be alike.
    fn read_both(text: &str, more: bool) -> Result<Value, String> {
        let [memory, file] = both(text).map(|text| {
            let mut more = || more;
            let mut budget = Budget::new(0, &mut more);
            let value = read(&text, ROOM, &mut budget).map_err(|unread| format!("{unread:?}"));
            if let Text::File { path, .. } = text {
                std::fs::remove_file(path).unwrap();
            }
            value
        });
        assert_eq!(memory, file);
        memory
    }

    #[test]
    fn a_value_is_what_serde_makes_of_it() {
        for text in [
            "null",
            "[true, -1, 18446744073709551615, 1.5e3, \"\\u00e9\", {}, []]",
            r#"{"a": 1, "b": {"c": [1, 2]}, "a": 2}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read_both(text, true), Ok(value));
        }
        for text in ["[1, 2", "{\"a\"}", "1 2", "nul", "1e999"] {
            let error = serde_json::from_str::<Value>(text).unwrap_err().to_string();
            assert_eq!(read_both(text, true), Err(format!("NotJson({error:?})")));
        }
    }

    #[test]
    fn what_grows_too_large_or_too_deep_is_given_up() {
        let many = |part: &str, times: usize| format!("[{}]", vec![part; times].join(","));
        for part in ["1", "{\"\":1}", "[]", "\"\""] {
            assert!(read_both(&many(part, 900), true).is_ok(), "{part}");
            let large = read_both(&many(part, 20_000), true);
            assert_eq!(large, Err("TooLarge".to_owned()), "{part}");
        }
        let long = format!("\"{}\"", "x".repeat(300_000));
        assert_eq!(read_both(&long, true), Err("TooLarge".to_owned()));
        let longest = format!("\"{}\"", "x".repeat(ROOM as usize / 4 - 2));
        assert!(read_both(&longest, true).is_ok());
        let named = format!("{{\"{}\": 1}}", "x".repeat(10_000));
        assert!(read_both(&named, true).is_ok());
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(read_both(&deep(DEPTH_MAX), true).is_ok());
        for levels in [DEPTH_MAX + 1, 1000] {
            let deep = read_both(&deep(levels), true);
            assert_eq!(deep, Err("Stopped(TooDeep)".to_owned()));
        }
        // A text that is not JSON is refused as such, however large it is.
        for text in ["[".repeat(300), "x".repeat(300_000), many("1,", 20_000)] {
            assert!(read_both(&text, true).unwrap_err().starts_with("NotJson"));
        }
    }

    #[test]
    fn what_takes_too_long_is_given_up() {
        for text in ["[1,2]".to_owned(), format!("\"{}\"", "x".repeat(300_000))] {
            assert_eq!(read_both(&text, false), Err("Stopped(Spent)".to_owned()));
        }
    }
}
