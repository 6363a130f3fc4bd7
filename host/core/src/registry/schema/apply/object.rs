//! The rules of objects.

use serde_json::{Map, Value};

use super::place::{Place, Step};
use super::seen::Seen;
use super::{Check, Fault, short, unfit};
use crate::registry::schema::rules::ObjectRules;

impl Check<'_, '_> {
    pub(super) fn object<'v>(
        &mut self,
        rules: &ObjectRules,
        members: &'v Map<String, Value>,
        place: Place<'_>,
        mut seen: Option<&mut Seen<'v>>,
    ) -> Result<(), Fault> {
        self.has_names(rules, members, place)?;
        let looks_inside = rules.additional.is_some()
            || rules.names.is_some()
            || !rules.properties.is_empty()
            || !rules.pattern_properties.is_empty();
        if !looks_inside {
            return Ok(());
        }
        for (name, member) in members {
            self.budget.spend_bytes(name.len())?;
            let below = place.below(Step::Member(name));
            if self.member(rules, name, member, below)?
                && let Some(seen) = seen.as_deref_mut()
            {
                seen.member(name);
            }
        }
        Ok(())
    }

    /// Applies the schemas for a member; returns whether there are any.
    fn member(
        &mut self,
        rules: &ObjectRules,
        name: &str,
        member: &Value,
        place: Place<'_>,
    ) -> Result<bool, Fault> {
        let mut is_known = false;
        if let Some(id) = rules.properties.get(name) {
            is_known = true;
            self.node(*id, member, place, None)?;
        }
        for (pattern, id) in &rules.pattern_properties {
            if self.book.patterns[*pattern].is_match(name, self.budget)? {
                is_known = true;
                self.node(*id, member, place, None)?;
            }
        }
        if let Some(id) = rules.additional.filter(|_| !is_known) {
            is_known = true;
            self.node(id, member, place, None)?;
        }
        if let Some(id) = rules.names {
            let name = Value::String(name.to_owned());
            self.node(id, &name, place, None)?;
        }
        Ok(is_known)
    }

    fn has_names(
        &mut self,
        rules: &ObjectRules,
        members: &Map<String, Value>,
        place: Place<'_>,
    ) -> Result<(), Fault> {
        let count = members.len() as u64;
        if let Some(least) = rules.least.filter(|least| count < *least) {
            return unfit(
                place,
                format!("must have at least {least} members, not {count}"),
            );
        }
        if let Some(most) = rules.most.filter(|most| count > *most) {
            return unfit(
                place,
                format!("must have at most {most} members, not {count}"),
            );
        }
        self.budget.spend(rules.required.len() as u64)?;
        if let Some(missing) = rules
            .required
            .iter()
            .find(|name| !members.contains_key(*name))
        {
            return unfit(place, format!("{} is required", quoted(missing)));
        }
        for (name, required) in &rules.required_with {
            self.budget.spend(1 + required.len() as u64)?;
            if !members.contains_key(name) {
                continue;
            }
            if let Some(missing) = required.iter().find(|name| !members.contains_key(*name)) {
                let (missing, name) = (quoted(missing), quoted(name));
                return unfit(place, format!("{missing} is required beside {name}"));
            }
        }
        Ok(())
    }
}

fn quoted(name: &str) -> String {
    short(&Value::String(name.to_owned()))
}
