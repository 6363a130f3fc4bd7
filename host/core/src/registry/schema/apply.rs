//! Applies a prepared schema to a value.
//!
//! Every step is paid for from the budget, so references that double at each level, lists of
//! thousands and patterns against long texts all end in the same way. The answer names the first
//! rule that a value breaks; it does not repeat values.

mod array;
mod object;
mod place;
mod seen;
mod value;

use serde_json::Value;

use super::budget::{Budget, Stopped};
use super::rules::{Id, InPlace, Node, Rulebook, Rules};

pub(super) use place::Place;
use place::Step;
use seen::Seen;
use value::short;

/// The most schemas applied within one another; each takes some of the thread's stack.
const DEPTH_MAX: usize = 256;
/// The most reasons that an answer names if no schema of several fits.
const REASONS_MAX: usize = 3;

/// The broken rule of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    /// The place in the input, as a JSON pointer.
    pub(super) place: String,
    /// The rule.
    pub(super) why: String,
}

/// Why a value is not accepted.
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

/// A check in progress.
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
    /// Applies a schema. The evaluated parts of the value are noted in `seen`, if needed.
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

    /// Whether a value fits a schema that it need not fit.
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

/// Why none of several schemas fits, with the reasons of the first few.
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
