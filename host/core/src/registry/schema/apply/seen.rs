//! The parts of a value that some schema evaluated, for `unevaluatedItems` and
//! `unevaluatedProperties`.

use std::collections::HashSet;

use crate::registry::schema::budget::{Budget, Stopped};

/// The evaluated parts of one value.
#[derive(Debug, Default)]
pub(super) struct Seen<'v> {
    members: HashSet<&'v str>,
    items: HashSet<usize>,
    /// All items before this one.
    items_before: usize,
}

impl<'v> Seen<'v> {
    pub(super) fn member(&mut self, name: &'v str) {
        self.members.insert(name);
    }

    pub(super) fn has_member(&self, name: &str) -> bool {
        self.members.contains(name)
    }

    pub(super) fn item(&mut self, number: usize) {
        self.items.insert(number);
    }

    pub(super) fn items_before(&mut self, number: usize) {
        self.items_before = self.items_before.max(number);
    }

    pub(super) fn all_items(&mut self) {
        self.items_before = usize::MAX;
    }

    pub(super) fn has_item(&self, number: usize) -> bool {
        number < self.items_before || self.items.contains(&number)
    }

    pub(super) fn merge(
        &mut self,
        other: Seen<'v>,
        budget: &mut Budget<'_>,
    ) -> Result<(), Stopped> {
        budget.spend((other.members.len() + other.items.len()) as u64)?;
        self.members.extend(other.members);
        self.items.extend(other.items);
        self.items_before(other.items_before);
        Ok(())
    }
}
