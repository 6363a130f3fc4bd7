//! Whose things a call is about.
//!
//! Callers are made in `caller`; here is only what storage needs to know of one. What is another
//! tenant's is, for a call that is about one tenant, as if it did not exist.

use crate::caller::{Caller, Tenant};

/// Whose things a call sees and changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Those of one tenant: what a caller asks for.
    One(Tenant),
    /// Those of every tenant: for the host's own services, and for what an administrator asks.
    All,
}

impl Whose {
    /// The caller's own.
    pub fn of(caller: &Caller) -> Whose {
        Whose::One(caller.tenant().clone())
    }

    /// The one tenant; `None` for all.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Whose::One(tenant) => Some(tenant),
            Whose::All => None,
        }
    }

    /// The name of the one tenant; `None` for all.
    pub fn name(&self) -> Option<&str> {
        self.tenant().map(Tenant::as_str)
    }

    /// Whether the things of `tenant` are among them.
    pub fn has(&self, tenant: &Tenant) -> bool {
        self.tenant().is_none_or(|own| own == tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_the_things_of_its_tenant_alone() {
        let other = Tenant::parse("other").unwrap();
        let own = Whose::of(&Caller::local());
        assert_eq!(own, Whose::One(Tenant::DEFAULT));
        assert!(own.has(&Tenant::default()) && !own.has(&other));
        assert!(Whose::All.has(&other) && Whose::All.tenant().is_none());
    }
}
