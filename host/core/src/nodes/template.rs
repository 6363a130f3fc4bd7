//! Inputs of nodes with references in them: finding these, and putting values in their place.
//!
//! Everything else of an input stays as it was written. A reference is an object with one of the members of
//! [`Source`], and at most a `pointer` beside it; `{"$literal": …}` stands for its member whatever that contains. How
//! a value is had is the caller's to say.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::pointer::{BadPointer, Pointer};
use cofferdam_domain::step::Step;
use cofferdam_domain::workflow::graph::{BadGraph, NodeName};

/// How deep an input is searched for references.
const DEPTH_MAX: usize = 64;
/// The most references of one input.
pub const REFERENCES_MAX: usize = 1_000;
/// The most bytes of an input once values are in their places.
pub const FILLED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a reference is to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `{"$input": POINTER}`, or `{"$from": "$input", "pointer": POINTER}`: the workflow's input.
    Input,
    /// `{"$from": NODE}`: the output of a node before this one.
    Output(NodeName),
    /// `{"$error": NODE}`: the failure of a node before this one, or null.
    Failure(NodeName),
    /// `{"$item": POINTER}`: what this instance of a `map` is for.
    Item,
    /// `{"$index": null}`: the number of this instance of a `map`, from 0.
    Index,
}

impl Source {
    /// The node that it is about.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Source::Output(node) | Source::Failure(node) => Some(node),
            Source::Input | Source::Item | Source::Index => None,
        }
    }
}

/// A value somewhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// In what.
    pub source: Source,
    /// Where in it.
    pub pointer: Pointer,
}

/// An input with its references.
#[derive(Clone, Debug)]
pub struct Template {
    text: Bytes,
    holes: Vec<Hole>,
}

#[derive(Clone, Debug)]
struct Hole {
    at: Range<usize>,
    /// The way to it.
    place: Vec<Step>,
    fill: Fill,
}

#[derive(Clone, Debug)]
enum Fill {
    Value(Reference),
    /// A part of the text itself.
    Literal(Range<usize>),
}

/// Why an input is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// Something stands beside a reference.
    #[error("an object with {0} has no other member than pointer, and not {1:?}")]
    Beside(&'static str, String),
    /// The member of a reference has a value that it cannot have.
    #[error("{0}: {1}")]
    Member(&'static str, &'static str),
    /// What it names cannot be the name of a node.
    #[error(transparent)]
    Name(#[from] BadGraph),
    /// It has a pointer that is none.
    #[error(transparent)]
    Pointer(#[from] BadPointer),
    /// It nests too deep to be searched.
    #[error("an input with references nests at most {DEPTH_MAX} levels")]
    TooDeep,
    /// It has too many references.
    #[error("an input has at most {REFERENCES_MAX} references")]
    TooMany,
}

/// Why an input could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfilled {
    /// A value could not be had.
    #[error("{0}")]
    Value(String),
    /// It is larger than it may be.
    #[error("the input has more than {FILLED_BYTES_MAX} bytes once the outputs it names are in it")]
    TooLarge,
}

impl Template {
    /// Finds the references of an input; none if it is not JSON that could have any.
    pub fn read(text: &Bytes) -> Result<Template, BadTemplate> {
        let mut found = Found::default();
        if may_have_references(text) {
            let not_json = |error: &dyn std::fmt::Display| BadTemplate::NotJson(error.to_string());
            let whole = std::str::from_utf8(text).map_err(|error| not_json(&error))?;
            let value: &RawValue = serde_json::from_str(whole).map_err(|error| not_json(&error))?;
            found.search(whole, value, 0)?;
        }
        Ok(Template {
            text: text.clone(),
            holes: found.holes,
        })
    }

    /// Its references, in their order.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.placed_references().map(|(reference, _)| reference)
    }

    /// Its references, in their order, each with its place.
    pub fn placed_references(&self) -> impl Iterator<Item = (&Reference, &[Step])> {
        self.holes.iter().filter_map(|hole| match &hole.fill {
            Fill::Value(reference) => Some((reference, hole.place.as_slice())),
            Fill::Literal(_) => None,
        })
    }

    /// Its reference, if it is nothing else.
    pub fn only(&self) -> Option<&Reference> {
        match self.holes.as_slice() {
            [
                Hole {
                    at,
                    fill: Fill::Value(reference),
                    ..
                },
            ] if *at == (0..self.text.len()) => Some(reference),
            _ => None,
        }
    }

    /// Whether it stays as it is.
    pub fn is_plain(&self) -> bool {
        self.holes.is_empty()
    }

    /// The input with `value` in place of each reference.
    pub fn fill<'v>(
        &self,
        mut value: impl FnMut(&Reference) -> Result<Cow<'v, str>, String>,
    ) -> Result<Bytes, Unfilled> {
        self.write(|fill| match fill {
            Fill::Literal(range) => Ok(Written::Part(range.clone())),
            Fill::Value(reference) => Ok(Written::Value(value(reference)?)),
        })
    }

    /// The template with `value` in place of those references for which there is one. What is put in is not
    /// searched for references later.
    pub fn fill_some<'v>(
        &self,
        mut value: impl FnMut(&Reference) -> Result<Option<Cow<'v, str>>, String>,
    ) -> Result<Bytes, Unfilled> {
        self.write(|fill| match fill {
            Fill::Literal(_) => Ok(Written::AsItIs),
            Fill::Value(reference) => Ok(match value(reference)? {
                None => Written::AsItIs,
                Some(value) if may_have_references(value.as_bytes()) => {
                    Written::Value(format!("{{\"$literal\":{value}}}").into())
                }
                Some(value) => Written::Value(value),
            }),
        })
    }

    fn write<'v>(
        &self,
        mut written: impl FnMut(&Fill) -> Result<Written<'v>, String>,
    ) -> Result<Bytes, Unfilled> {
        if self.is_plain() {
            return Ok(self.text.clone());
        }
        let mut filled = Vec::with_capacity(self.text.len());
        let mut done = 0;
        for hole in &self.holes {
            filled.extend_from_slice(&self.text[done..hole.at.start]);
            match written(&hole.fill).map_err(Unfilled::Value)? {
                Written::AsItIs => filled.extend_from_slice(&self.text[hole.at.clone()]),
                Written::Part(range) => filled.extend_from_slice(&self.text[range]),
                Written::Value(value) => filled.extend_from_slice(value.as_bytes()),
            }
            if filled.len() > FILLED_BYTES_MAX {
                return Err(Unfilled::TooLarge);
            }
            done = hole.at.end;
        }
        filled.extend_from_slice(&self.text[done..]);
        match filled.len() > FILLED_BYTES_MAX {
            true => Err(Unfilled::TooLarge),
            false => Ok(filled.into()),
        }
    }
}

/// What is written for a reference or a literal.
enum Written<'v> {
    /// Its own text.
    AsItIs,
    /// A part of the template's text.
    Part(Range<usize>),
    /// What it stands for.
    Value(Cow<'v, str>),
}

/// Whether a text can have references at all: most have none, and are not searched. A name that is written with
/// escapes is found too.
fn may_have_references(text: &[u8]) -> bool {
    let escaped = |part: &[u8]| part.eq_ignore_ascii_case(b"\\u0024");
    text.contains(&b'$') || (text.contains(&b'\\') && text.windows(6).any(escaped))
}

/// What is found in an input.
#[derive(Default)]
struct Found {
    holes: Vec<Hole>,
    /// The way to what is searched.
    place: Vec<Step>,
}

impl Found {
    fn search<'a>(
        &mut self,
        whole: &str,
        value: &'a RawValue,
        depth: usize,
    ) -> Result<(), BadTemplate> {
        let text = value.get();
        let not_json = |error: serde_json::Error| BadTemplate::NotJson(error.to_string());
        if !may_have_references(text.as_bytes()) {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            return Err(BadTemplate::TooDeep);
        }
        match text.as_bytes().first() {
            Some(b'[') => {
                let items: Vec<&'a RawValue> = serde_json::from_str(text).map_err(not_json)?;
                for (number, item) in items.into_iter().enumerate() {
                    self.below(Step::Item(number), |found| {
                        found.search(whole, item, depth + 1)
                    })?;
                }
            }
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(not_json)?;
                if let Some(fill) = fill(whole, &members)? {
                    return self.hole(place(whole, text), fill);
                }
                for (name, member) in members {
                    self.below(Step::Member(name), |found| {
                        found.search(whole, member, depth + 1)
                    })?;
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn below(
        &mut self,
        step: Step,
        search: impl FnOnce(&mut Found) -> Result<(), BadTemplate>,
    ) -> Result<(), BadTemplate> {
        self.place.push(step);
        let searched = search(self);
        self.place.pop();
        searched
    }

    fn hole(&mut self, at: Range<usize>, fill: Fill) -> Result<(), BadTemplate> {
        if self.holes.len() == REFERENCES_MAX {
            return Err(BadTemplate::TooMany);
        }
        let place = self.place.clone();
        self.holes.push(Hole { at, place, fill });
        Ok(())
    }
}

/// Where a part of a text stands in it.
fn place(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// What an object stands for, if it is a reference.
fn fill(whole: &str, members: &[(String, &RawValue)]) -> Result<Option<Fill>, BadTemplate> {
    const WORDS: [&str; 6] = ["$from", "$input", "$error", "$item", "$index", "$literal"];
    let word = |name: &str| WORDS.into_iter().find(|word| *word == name);
    let Some((word, value)) = members
        .iter()
        .find_map(|(name, value)| Some((word(name)?, *value)))
    else {
        return Ok(None);
    };
    let mut pointer = None;
    for (name, value) in members.iter().filter(|(name, _)| name != word) {
        match name.as_str() {
            "pointer" if word != "$literal" && pointer.is_none() => {
                pointer = Some(text_of(value).ok_or(BadTemplate::Member("pointer", "not a text"))?);
            }
            other => return Err(BadTemplate::Beside(word, other.chars().take(100).collect())),
        }
    }
    if members.iter().filter(|(name, _)| name == word).count() > 1 {
        return Err(BadTemplate::Beside(word, word.to_owned()));
    }
    if word == "$literal" {
        return Ok(Some(Fill::Literal(place(whole, value.get()))));
    }
    let (source, own) = source(word, value)?;
    let pointer = match (own, pointer) {
        (Some(_), Some(_)) => return Err(BadTemplate::Beside(word, "pointer".to_owned())),
        (Some(text), None) | (None, Some(text)) => Pointer::parse(&text)?,
        (None, None) => Pointer::default(),
    };
    Ok(Some(Fill::Value(Reference { source, pointer })))
}

/// What a member means, with the pointer that is its value.
fn source(word: &'static str, value: &RawValue) -> Result<(Source, Option<String>), BadTemplate> {
    let text = text_of(value);
    let node = |text: Option<String>| {
        let text = text.ok_or(BadTemplate::Member(word, "not the id of a node"))?;
        Ok::<_, BadTemplate>(NodeName::parse(&text)?)
    };
    let with_pointer = |source| match (text.clone(), value.get()) {
        (Some(text), _) => Ok((source, Some(text))),
        (None, "null" | "true") => Ok((source, None)),
        (None, _) => Err(BadTemplate::Member(word, "neither a pointer nor null")),
    };
    match word {
        "$from" if text.as_deref() == Some("$input") => Ok((Source::Input, None)),
        "$from" => Ok((Source::Output(node(text)?), None)),
        "$error" => Ok((Source::Failure(node(text)?), None)),
        "$input" => with_pointer(Source::Input),
        "$item" => with_pointer(Source::Item),
        _ => with_pointer(Source::Index),
    }
}

fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The members of an object in their order, none left out.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Members<'a>, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        input.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests;
