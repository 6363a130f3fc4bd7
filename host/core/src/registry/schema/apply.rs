//! Applying a schema that was made ready to a value.
//!
//! Every step is paid for from the budget, so references that double at each level, lists of
//! thousands and patterns against long texts all end in the same way. The first rule that a value
//! breaks is the answer; values themselves are not repeated in it.

mod array;
mod object;
mod place;
mod seen;

use serde_json::Value;

use super::budget::{Budget, Stopped};
use super::equal::equal;
use super::number::{self, Num};
use super::rules::{Id, InPlace, Node, NumberRules, Rulebook, Rules, TextRules, Type, Types};

pub(super) use place::Place;
use place::Step;
use seen::Seen;

/// Schemas applied within one another; each takes its part of the thread's stack.
const DEPTH_MAX: usize = 256;
/// Reasons that an answer names where no schema of several fits.
const REASONS_MAX: usize = 3;
/// Values of `enum` that an answer names, and characters of each.
const VALUES_MAX: usize = 8;
const VALUE_CHARS_MAX: usize = 40;

/// What a value breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    /// The place in the input, as a JSON pointer.
    pub(super) place: String,
    /// The rule.
    pub(super) why: String,
}

/// Why there is no "it fits".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unfit(Unfit),
    Stopped(Stopped),
}

impl From<Stopped> for Fault {
    fn from(stopped: Stopped) -> Fault {
        Fault::Stopped(stopped)
    }
}

/// Whether `value` fits the document.
pub(super) fn apply(book: &Rulebook, value: &Value, budget: &mut Budget<'_>) -> Result<(), Fault> {
    let mut check = Check {
        book,
        budget,
        depth: 0,
    };
    check.node(0, value, Place::whole(), None)
}

/// A check under way.
struct Check<'b, 'm> {
    book: &'b Rulebook,
    budget: &'b mut Budget<'m>,
    depth: usize,
}

fn unfit<T>(place: Place<'_>, why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unfit(Unfit {
        place: place.pointer(),
        why: why.into(),
    }))
}

impl Check<'_, '_> {
    /// Applies a schema. What it evaluates of the value is noted in `seen`, if somebody asks.
    fn node<'v>(
        &mut self,
        id: Id,
        value: &'v Value,
        place: Place<'_>,
        seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        self.budget.spend(1)?;
        let book = self.book;
        match &book.nodes[id] {
            Node::Always(true) => Ok(()),
            Node::Always(false) => unfit(place, "must not be there"),
            Node::Rules(_) if self.depth >= DEPTH_MAX => Err(Stopped::TooDeep.into()),
            Node::Rules(rules) => {
                self.depth += 1;
                let applied = self.rules(rules, value, place, seen);
                self.depth -= 1;
                applied
            }
        }
    }

    /// Whether a value fits, where it need not.
    fn fits<'v>(
        &mut self,
        id: Id,
        value: &'v Value,
        place: Place<'_>,
        seen: Option<&mut Seen<'v>>,
    ) -> Result<Result<(), Unfit>, Stopped> {
        match self.node(id, value, place, seen) {
            Ok(()) => Ok(Ok(())),
            Err(Fault::Unfit(unfit)) => Ok(Err(unfit)),
            Err(Fault::Stopped(stopped)) => Err(stopped),
        }
    }

    fn rules<'v>(
        &mut self,
        rules: &Rules,
        value: &'v Value,
        place: Place<'_>,
        seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        self.value(rules, value, place)?;
        if rules.unevaluated_items.is_none() && rules.unevaluated_properties.is_none() {
            return self.structure(rules, value, place, seen);
        }
        let mut own = Seen::default();
        self.structure(rules, value, place, Some(&mut own))?;
        self.unevaluated(rules, value, place, &mut own)?;
        if let Some(seen) = seen {
            seen.merge(own, self.budget)?;
        }
        Ok(())
    }

    fn structure<'v>(
        &mut self,
        rules: &Rules,
        value: &'v Value,
        place: Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        match (value, &rules.array, &rules.object) {
            (Value::Array(items), Some(array), _) => {
                self.array(array, items, place, seen.as_deref_mut())?;
            }
            (Value::Object(members), _, Some(object)) => {
                self.object(object, members, place, seen.as_deref_mut())?;
            }
            _ => {}
        }
        self.in_place(&rules.in_place, value, place, seen)
    }

    /// The rules that look at no other value and no other schema.
    fn value(&mut self, rules: &Rules, value: &Value, place: Place<'_>) -> Result<(), Fault> {
        if let Some(types) = &rules.types {
            has_type(types, value, place)?;
        }
        if let Some(values) = &rules.values {
            self.one_of_values(values, value, place)?;
        }
        if let Some(wanted) = &rules.value
            && !equal(wanted, value, self.budget)?
        {
            return unfit(place, format!("must be {}", short(wanted)));
        }
        match value {
            Value::Number(number) => in_range(&rules.number, number, place),
            Value::String(text) => self.text(&rules.text, text, place),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => Ok(()),
        }
    }

    fn one_of_values(
        &mut self,
        values: &[Value],
        value: &Value,
        place: Place<'_>,
    ) -> Result<(), Fault> {
        for wanted in values {
            if equal(wanted, value, self.budget)? {
                return Ok(());
            }
        }
        let named: Vec<String> = values.iter().take(VALUES_MAX).map(short).collect();
        let more = if values.len() > VALUES_MAX {
            ", …"
        } else {
            ""
        };
        unfit(place, format!("must be one of {}{more}", named.join(", ")))
    }

    fn text(&mut self, rules: &TextRules, text: &str, place: Place<'_>) -> Result<(), Fault> {
        if rules.least.is_some() || rules.most.is_some() {
            self.budget.spend_bytes(text.len())?;
            let chars = text.chars().count() as u64;
            if let Some(least) = rules.least.filter(|least| chars < *least) {
                return unfit(place, format!("must be at least {least} characters long"));
            }
            if let Some(most) = rules.most.filter(|most| chars > *most) {
                return unfit(place, format!("must be at most {most} characters long"));
            }
        }
        match rules.pattern {
            Some(pattern) if !self.book.patterns[pattern].is_match(text, self.budget)? => {
                unfit(place, "does not match the pattern")
            }
            Some(_) | None => Ok(()),
        }
    }

    fn in_place<'v>(
        &mut self,
        rules: &InPlace,
        value: &'v Value,
        place: Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        for id in rules.reference.iter().chain(&rules.all) {
            self.node(*id, value, place, seen.as_deref_mut())?;
        }
        if let Some(any) = &rules.any {
            self.any(any, value, place, seen.as_deref_mut())?;
        }
        if let Some(one) = &rules.one {
            self.one(one, value, place, seen.as_deref_mut())?;
        }
        if let Some(not) = rules.not
            && self.fits(not, value, place, None)?.is_ok()
        {
            return unfit(place, "fits the schema that it must not fit");
        }
        if let Some(condition) = &rules.condition {
            let fits = self.attempt(condition.test, value, place, seen.as_deref_mut())?;
            let next = match fits {
                Ok(()) => condition.then,
                Err(_) => condition.otherwise,
            };
            if let Some(next) = next {
                self.node(next, value, place, seen.as_deref_mut())?;
            }
        }
        if let Value::Object(members) = value {
            for (name, id) in &rules.with {
                self.budget.spend(1)?;
                if members.contains_key(name) {
                    self.node(*id, value, place, seen.as_deref_mut())?;
                }
            }
        }
        Ok(())
    }

    /// Applies a schema that need not fit; what it evaluates counts only if it does.
    fn attempt<'v>(
        &mut self,
        id: Id,
        value: &'v Value,
        place: Place<'_>,
        seen: Option<&mut Seen<'v>>,
    ) -> Result<Result<(), Unfit>, Stopped> {
        let Some(seen) = seen else {
            return self.fits(id, value, place, None);
        };
        let mut own = Seen::default();
        let fits = self.fits(id, value, place, Some(&mut own))?;
        if fits.is_ok() {
            seen.merge(own, self.budget)?;
        }
        Ok(fits)
    }

    fn any<'v>(
        &mut self,
        ids: &[Id],
        value: &'v Value,
        place: Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        let (mut fitted, mut reasons) = (false, Vec::new());
        for id in ids {
            match self.attempt(*id, value, place, seen.as_deref_mut())? {
                Ok(()) if seen.is_none() => return Ok(()),
                Ok(()) => fitted = true,
                Err(unfit) if reasons.len() < REASONS_MAX => reasons.push(unfit),
                Err(_) => {}
            }
        }
        match fitted {
            true => Ok(()),
            false => unfit(place, none_fits(&reasons, ids.len())),
        }
    }

    fn one<'v>(
        &mut self,
        ids: &[Id],
        value: &'v Value,
        place: Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        let (mut fitting, mut reasons) = (None, Vec::new());
        for (number, id) in ids.iter().enumerate() {
            match self.attempt(*id, value, place, seen.as_deref_mut())? {
                Ok(()) => {
                    if let Some(other) = fitting.replace(number) {
                        let why = format!(
                            "fits more than one schema of oneOf: numbers {} and {}",
                            other + 1,
                            number + 1
                        );
                        return unfit(place, why);
                    }
                }
                Err(unfit) if reasons.len() < REASONS_MAX => reasons.push(unfit),
                Err(_) => {}
            }
        }
        match fitting {
            Some(_) => Ok(()),
            None => unfit(place, none_fits(&reasons, ids.len())),
        }
    }

    fn unevaluated<'v>(
        &mut self,
        rules: &Rules,
        value: &'v Value,
        place: Place<'_>,
        seen: &mut Seen<'v>,
    ) -> Result<(), Fault> {
        match (value, rules.unevaluated_items, rules.unevaluated_properties) {
            (Value::Array(items), Some(id), _) => {
                for (number, item) in items.iter().enumerate() {
                    self.budget.spend(1)?;
                    if !seen.has_item(number) {
                        let place = place.below(Step::Item(number));
                        self.node(id, item, place, None)?;
                    }
                }
                seen.all_items();
            }
            (Value::Object(members), _, Some(id)) => {
                for (name, member) in members {
                    self.budget.spend_bytes(name.len())?;
                    if !seen.has_member(name) {
                        let place = place.below(Step::Member(name));
                        self.node(id, member, place, None)?;
                        seen.member(name);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Why none of several schemas fits, by the first few of them.
fn none_fits(reasons: &[Unfit], schemas: usize) -> String {
    let mut why = format!("fits none of {schemas} schemas");
    for (number, Unfit { place, why: reason }) in reasons.iter().enumerate() {
        let between = if number == 0 { ": " } else { "; " };
        let place = if place.is_empty() { "it" } else { place };
        why.push_str(between);
        why.push_str(&format!("({}) {place} {reason}", number + 1));
    }
    why
}

fn has_type(types: &Types, value: &Value, place: Place<'_>) -> Result<(), Fault> {
    let is = |wanted: &Type| match (wanted, value) {
        (Type::Null, Value::Null)
        | (Type::Boolean, Value::Bool(_))
        | (Type::Object, Value::Object(_))
        | (Type::Array, Value::Array(_))
        | (Type::Number, Value::Number(_))
        | (Type::String, Value::String(_)) => true,
        (Type::Integer, Value::Number(number)) => {
            number.as_f64().is_some_and(|float| float.fract() == 0.0)
        }
        (Type::WrittenInteger, Value::Number(number)) => !number.is_f64(),
        _ => false,
    };
    if types.0.iter().any(is) {
        return Ok(());
    }
    let words: Vec<&str> = types.0.iter().map(|wanted| wanted.words()).collect();
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    unfit(
        place,
        format!("must be {}, not {found}", words.join(" or ")),
    )
}

fn in_range(
    rules: &NumberRules,
    number: &serde_json::Number,
    place: Place<'_>,
) -> Result<(), Fault> {
    let value = Num::of(number);
    let than = |bound: &Option<serde_json::Number>| {
        bound.as_ref().map(|bound| value.compare(Num::of(bound)))
    };
    let must = |what: &str, bound: &Option<serde_json::Number>| {
        let bound = bound.as_ref().map(ToString::to_string).unwrap_or_default();
        unfit(place, format!("must be {what} {bound}"))
    };
    if than(&rules.least).is_some_and(std::cmp::Ordering::is_lt) {
        return must("at least", &rules.least);
    }
    if than(&rules.above).is_some_and(std::cmp::Ordering::is_le) {
        return must("above", &rules.above);
    }
    if than(&rules.most).is_some_and(std::cmp::Ordering::is_gt) {
        return must("at most", &rules.most);
    }
    if than(&rules.below).is_some_and(std::cmp::Ordering::is_ge) {
        return must("below", &rules.below);
    }
    match &rules.multiple_of {
        Some(of) if !number::is_multiple(number, of) => must("a multiple of", &rules.multiple_of),
        Some(_) | None => Ok(()),
    }
}

/// A value of the schema's, as an answer names it.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.chars().count() > VALUE_CHARS_MAX {
        false => text,
        true => text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect(),
    }
}
