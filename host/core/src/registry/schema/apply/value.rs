//! The rules for one value by itself, without its parts.

use serde_json::{Number, Value};

use super::place::Place;
use super::{Check, Fault, unfit};
use crate::registry::schema::equal::equal;
use crate::registry::schema::number::{self, Num};
use crate::registry::schema::rules::{NumberRules, Rules, TextRules, Type, Types};

/// The most values of `enum` that an answer names.
const VALUES_MAX: usize = 8;
/// Characters of each.
const VALUE_CHARS_MAX: usize = 40;

impl Check<'_, '_> {
    /// The rules that depend on no other value and no other schema.
    pub(super) fn value(
        &mut self,
        rules: &Rules,
        value: &Value,
        place: Place<'_>,
    ) -> Result<(), Fault> {
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

fn in_range(rules: &NumberRules, number: &Number, place: Place<'_>) -> Result<(), Fault> {
    let value = Num::of(number);
    let than = |bound: &Option<Number>| bound.as_ref().map(|bound| value.compare(Num::of(bound)));
    let must = |what: &str, bound: &Option<Number>| {
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

/// A value of the schema, as an answer names it.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.chars().count() > VALUE_CHARS_MAX {
        false => text,
        true => text.chars().take(VALUE_CHARS_MAX).chain(['…']).collect(),
    }
}
