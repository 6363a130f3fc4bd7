//! A prepared schema: its rules, each schema of the document once, by number.
//!
//! References are numbers too, so each schema is kept once, however often others refer to it.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::pattern::Pattern;

/// The number of a schema in its document.
pub(super) type Id = usize;

/// A document.
#[derive(Debug)]
pub(super) struct Rulebook {
    /// The first is the whole document.
    pub(super) nodes: Vec<Node>,
    pub(super) patterns: Vec<Pattern>,
}

/// One schema.
#[derive(Debug)]
pub(super) enum Node {
    /// `true` or `false`.
    Always(bool),
    Rules(Box<Rules>),
}

/// The rules of one schema.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) types: Option<Types>,
    /// The values of `enum`.
    pub(super) values: Option<Vec<Value>>,
    /// The value of `const`.
    pub(super) value: Option<Value>,
    pub(super) number: NumberRules,
    pub(super) text: TextRules,
    pub(super) array: Option<Box<ArrayRules>>,
    pub(super) object: Option<Box<ObjectRules>>,
    pub(super) in_place: InPlace,
    pub(super) unevaluated_items: Option<Id>,
    pub(super) unevaluated_properties: Option<Id>,
}

/// A set of types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Types(pub(super) Vec<Type>);

/// A type of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    String,
    Integer,
    /// An integer as draft 4 has it: 1.0 is not one.
    WrittenInteger,
}

#[derive(Debug, Default)]
pub(super) struct NumberRules {
    pub(super) least: Option<Number>,
    pub(super) above: Option<Number>,
    pub(super) most: Option<Number>,
    pub(super) below: Option<Number>,
    pub(super) multiple_of: Option<Number>,
}

#[derive(Debug, Default)]
pub(super) struct TextRules {
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
    /// The number of one of the document's patterns.
    pub(super) pattern: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct ArrayRules {
    /// Each for the item in its place.
    pub(super) first: Vec<Id>,
    /// For all other items.
    pub(super) rest: Option<Id>,
    pub(super) contains: Option<Contains>,
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
    pub(super) unique: bool,
}

#[derive(Debug)]
pub(super) struct Contains {
    pub(super) schema: Id,
    pub(super) least: u64,
    pub(super) most: Option<u64>,
    /// Whether items that fit count as evaluated.
    pub(super) evaluates: bool,
}

#[derive(Debug, Default)]
pub(super) struct ObjectRules {
    pub(super) properties: BTreeMap<String, Id>,
    /// Numbers of the document's patterns.
    pub(super) pattern_properties: Vec<(usize, Id)>,
    pub(super) additional: Option<Id>,
    pub(super) names: Option<Id>,
    pub(super) required: Vec<String>,
    pub(super) required_with: Vec<(String, Vec<String>)>,
    pub(super) least: Option<u64>,
    pub(super) most: Option<u64>,
}

/// Schemas that are applied to the same value.
#[derive(Debug, Default)]
pub(super) struct InPlace {
    pub(super) reference: Option<Id>,
    pub(super) all: Vec<Id>,
    pub(super) any: Option<Vec<Id>>,
    pub(super) one: Option<Vec<Id>>,
    pub(super) not: Option<Id>,
    pub(super) condition: Option<Condition>,
    /// For objects that have a member of this name.
    pub(super) with: Vec<(String, Id)>,
}

#[derive(Debug)]
pub(super) struct Condition {
    pub(super) test: Id,
    pub(super) then: Option<Id>,
    pub(super) otherwise: Option<Id>,
}

impl InPlace {
    /// All of them.
    pub(super) fn all_ids(&self) -> impl Iterator<Item = Id> + '_ {
        let condition = self.condition.iter().flat_map(|condition| {
            [Some(condition.test), condition.then, condition.otherwise]
                .into_iter()
                .flatten()
        });
        self.reference
            .into_iter()
            .chain(self.all.iter().copied())
            .chain(self.any.iter().flatten().copied())
            .chain(self.one.iter().flatten().copied())
            .chain(self.not)
            .chain(condition)
            .chain(self.with.iter().map(|(_, id)| *id))
    }
}

impl Type {
    /// The type with that name.
    pub(super) fn named(name: &str) -> Option<Type> {
        Some(match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "object" => Type::Object,
            "array" => Type::Array,
            "number" => Type::Number,
            "string" => Type::String,
            "integer" => Type::Integer,
            _ => return None,
        })
    }

    /// Its name in an answer.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Type::Null => "null",
            Type::Boolean => "a boolean",
            Type::Object => "an object",
            Type::Array => "an array",
            Type::Number => "a number",
            Type::String => "a string",
            Type::Integer | Type::WrittenInteger => "an integer",
        }
    }
}
