//! How often names came to mean something else, for those who tell of it: each tenant is told of its own
//! names and of those that are everybody's.

use std::collections::HashMap;

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::ModuleName;

/// The most tenants that are told apart; at one more everybody is told once.
const TENANTS_MAX: usize = 4096;

/// The changes so far.
#[derive(Debug, Default)]
pub struct NameChanges {
    everybodys: u64,
    own: HashMap<Tenant, u64>,
}

impl NameChanges {
    /// A number that grows with each change of what the tenant's names mean.
    pub fn of(&self, tenant: &Tenant) -> u64 {
        self.everybodys + self.own.get(tenant).copied().unwrap_or(0)
    }

    /// Notes a change of a tenant's name.
    pub(crate) fn note(&mut self, tenant: &Tenant, name: &ModuleName) {
        if name.is_public() || name.is_reserved() {
            self.everybodys += 1;
            return;
        }
        if self.own.len() >= TENANTS_MAX && !self.own.contains_key(tenant) {
            // Above what any of them was at.
            self.everybodys += self.own.values().max().copied().unwrap_or(0) + 1;
            self.own.clear();
        }
        *self.own.entry(tenant.clone()).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_hears_of_its_own_names_and_of_everybodys() {
        let tenant = |number: usize| Tenant::parse(&format!("t{number}")).unwrap();
        let name = |text: &str| ModuleName::parse(text).unwrap();
        let mut changes = NameChanges::default();
        changes.note(&tenant(1), &name("a"));
        assert_eq!((changes.of(&tenant(1)), changes.of(&tenant(2))), (1, 0));
        changes.note(&tenant(1), &name("public/a"));
        assert_eq!((changes.of(&tenant(1)), changes.of(&tenant(2))), (2, 1));
        // However many tenants there are, each number grows.
        for number in 2..TENANTS_MAX + 9 {
            let before = (changes.of(&tenant(1)), changes.of(&tenant(number)));
            changes.note(&tenant(number), &name("a"));
            assert!(changes.of(&tenant(1)) >= before.0);
            assert!(changes.of(&tenant(number)) > before.1);
        }
        assert!(changes.own.len() <= TENANTS_MAX);
    }
}
