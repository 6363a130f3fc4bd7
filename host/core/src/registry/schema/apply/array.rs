//! The rules of arrays.

use serde_json::Value;

use super::place::{Place, Step};
use super::seen::Seen;
use super::{Check, Fault, unfit};
use crate::registry::schema::equal::first_repeated;
use crate::registry::schema::rules::{ArrayRules, Contains};

impl Check<'_, '_> {
    pub(super) fn array<'v>(
        &mut self,
        rules: &ArrayRules,
        items: &'v [Value],
        place: Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        let length = items.len() as u64;
        if let Some(least) = rules.least.filter(|least| length < *least) {
            return unfit(
                place,
                format!("must have at least {least} items, not {length}"),
            );
        }
        if let Some(most) = rules.most.filter(|most| length > *most) {
            return unfit(
                place,
                format!("must have at most {most} items, not {length}"),
            );
        }
        for (number, item) in items.iter().enumerate() {
            match rules.first.get(number).copied().or(rules.rest) {
                Some(id) => self.node(id, item, place.below(Step::Item(number)), None)?,
                None => break,
            }
        }
        if let Some(seen) = seen.as_deref_mut() {
            match rules.rest {
                Some(_) => seen.all_items(),
                None => seen.items_before(rules.first.len()),
            }
        }
        if let Some(contains) = &rules.contains {
            self.contains(contains, items, place, seen)?;
        }
        if rules.unique
            && let Some((one, other)) = first_repeated(items, self.budget)?
        {
            return unfit(
                place,
                format!("has the same item twice, at {one} and {other}"),
            );
        }
        Ok(())
    }

    fn contains<'v>(
        &mut self,
        rules: &Contains,
        items: &'v [Value],
        place: Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        let mut found = 0_u64;
        for (number, item) in items.iter().enumerate() {
            let below = place.below(Step::Item(number));
            if self.fits(rules.schema, item, below, None)?.is_ok() {
                found += 1;
                if let Some(seen) = seen.as_deref_mut().filter(|_| rules.evaluates) {
                    seen.item(number);
                }
            }
        }
        let Contains { least, most, .. } = rules;
        if found < *least {
            return unfit(
                place,
                format!("must contain at least {least} items that fit, not {found}"),
            );
        }
        match most.filter(|most| found > *most) {
            None => Ok(()),
            Some(most) => unfit(
                place,
                format!("must contain at most {most} items that fit, not {found}"),
            ),
        }
    }
}
