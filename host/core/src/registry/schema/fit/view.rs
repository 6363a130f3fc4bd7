//! What schemas say of a value: which types it may have, and what of its parts. Always more than there is, if anything.

use serde_json::Value;

use crate::registry::schema::rules::{Id, Node, ObjectRules, Rulebook, Rules, Type};
use cofferdam_domain::step::Step;

/// How deep schemas of the same value are followed.
const DEPTH_MAX: u32 = 16;

/// A set of types of values.
pub(super) type Types = u8;
pub(super) const NULL: Types = 1;
pub(super) const BOOLEAN: Types = 1 << 1;
pub(super) const OBJECT: Types = 1 << 2;
pub(super) const ARRAY: Types = 1 << 3;
pub(super) const STRING: Types = 1 << 4;
pub(super) const INTEGER: Types = 1 << 5;
pub(super) const FRACTION: Types = 1 << 6;
const ALL: Types = (1 << 7) - 1;

/// Schemas of one value, all of which hold.
pub(super) struct View<'b> {
    book: &'b Rulebook,
    all: Vec<Id>,
}

impl<'b> View<'b> {
    pub(super) fn whole(book: &'b Rulebook) -> View<'b> {
        View { book, all: vec![0] }
    }

    pub(super) fn anything(book: &'b Rulebook) -> View<'b> {
        let all = Vec::new();
        View { book, all }
    }

    /// Types that its values may have; more than they do, if anything.
    pub(super) fn types(&self, steps: &mut u32) -> Types {
        let mut types = ALL;
        for id in &self.all {
            types &= types_of(self.book, *id, DEPTH_MAX, steps);
        }
        types
    }

    /// What is known of a part of its values.
    pub(super) fn step(&self, step: &Step, steps: &mut u32) -> View<'b> {
        let mut all = Vec::new();
        for rules in self.rules(steps) {
            match step {
                Step::Member(name) => {
                    all.extend(rules.object.as_deref().and_then(|it| member(it, name)));
                }
                Step::Item(number) => {
                    let array = rules.array.as_deref();
                    all.extend(array.and_then(|it| it.first.get(*number).copied().or(it.rest)));
                }
            }
        }
        View {
            book: self.book,
            all,
        }
    }

    /// Members that it must have if it is an object; not all of them, if anything.
    pub(super) fn required(&self, steps: &mut u32) -> Vec<&'b String> {
        let rules = self.rules(steps).into_iter();
        let objects = rules.filter_map(|rules| rules.object.as_deref());
        objects.flat_map(|object| &object.required).collect()
    }

    /// The rules that all its values keep.
    fn rules(&self, steps: &mut u32) -> Vec<&'b Rules> {
        let mut found = Vec::new();
        let mut left: Vec<(Id, u32)> = self.all.iter().map(|id| (*id, DEPTH_MAX)).collect();
        while let Some((id, depth)) = left.pop() {
            if *steps == 0 || depth == 0 {
                continue;
            }
            *steps -= 1;
            if let Some(Node::Rules(rules)) = self.book.nodes.get(id) {
                let inner = rules.in_place.reference.iter().chain(&rules.in_place.all);
                left.extend(inner.map(|id| (*id, depth - 1)));
                found.push(&**rules);
            }
        }
        found
    }
}

/// What is said of a member.
fn member(object: &ObjectRules, name: &str) -> Option<Id> {
    let named = object.properties.get(name).copied();
    // A pattern that fits keeps a name from being additional.
    let additional = object
        .additional
        .filter(|_| object.pattern_properties.is_empty());
    named.or(additional)
}

fn types_of(book: &Rulebook, id: Id, depth: u32, steps: &mut u32) -> Types {
    if *steps == 0 || depth == 0 {
        return ALL;
    }
    *steps -= 1;
    let rules = match book.nodes.get(id) {
        None | Some(Node::Always(true)) => return ALL,
        Some(Node::Always(false)) => return 0,
        Some(Node::Rules(rules)) => rules,
    };
    let mut types = ALL;
    if let Some(named) = &rules.types {
        types &= named.0.iter().fold(0, |all, it| all | types_named(*it));
    }
    if let Some(values) = &rules.values {
        types &= values.iter().fold(0, |all, it| all | types_like(it));
    }
    if let Some(value) = &rules.value {
        types &= types_like(value);
    }
    let in_place = &rules.in_place;
    for id in in_place.reference.iter().chain(&in_place.all) {
        types &= types_of(book, *id, depth - 1, steps);
    }
    for some in [&in_place.any, &in_place.one].into_iter().flatten() {
        let any = some
            .iter()
            .fold(0, |all, id| all | types_of(book, *id, depth - 1, steps));
        types &= any;
    }
    types
}

fn types_named(named: Type) -> Types {
    match named {
        Type::Null => NULL,
        Type::Boolean => BOOLEAN,
        Type::Object => OBJECT,
        Type::Array => ARRAY,
        Type::Number => INTEGER | FRACTION,
        Type::String => STRING,
        Type::Integer | Type::WrittenInteger => INTEGER,
    }
}

fn types_like(value: &Value) -> Types {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOLEAN,
        Value::Object(_) => OBJECT,
        Value::Array(_) => ARRAY,
        Value::Number(_) => INTEGER | FRACTION,
        Value::String(_) => STRING,
    }
}
