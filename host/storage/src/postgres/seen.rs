//! Whose rows a transaction sees: what it tells the database when it begins, and what its statements ask
//! for.
//!
//! Statements name their tenant. That the database shows no other tenant's rows to a transaction, even to
//! a statement that forgot to, is a second wall, which the policies of the tables make of that setting.

use std::sync::Arc;

use cofferdam_domain::caller::Tenant;
use cofferdam_domain::whose::Whose;

/// Whose rows are seen.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    /// Those of every tenant.
    All,
    /// Those of these tenants.
    Of(Arc<[Tenant]>),
}

impl Seen {
    /// Those of the tenants of several calls.
    pub(super) fn several<'t>(tenants: impl Iterator<Item = &'t Tenant>) -> Seen {
        let mut several: Vec<Tenant> = Vec::new();
        for tenant in tenants {
            if !several.contains(tenant) {
                several.push(tenant.clone());
            }
        }
        Seen::Of(several.into())
    }

    /// What the database is told. No name of a tenant has a comma, a quote or a star.
    pub(super) fn setting(&self) -> String {
        match self {
            Seen::All => "*".to_owned(),
            Seen::Of(tenants) => {
                let names: Vec<&str> = tenants.iter().map(Tenant::as_str).collect();
                names.join(",")
            }
        }
    }

    /// The one tenant that a statement asks for; `None` for all.
    pub(super) fn tenant(&self) -> Option<String> {
        match self {
            Seen::All => None,
            Seen::Of(tenants) => match &tenants[..] {
                [tenant] => Some(tenant.as_str().to_owned()),
                // Such a transaction names the tenant of each row.
                _ => Some(String::new()),
            },
        }
    }
}

impl From<&Whose> for Seen {
    fn from(whose: &Whose) -> Seen {
        match whose {
            Whose::All => Seen::All,
            Whose::One(tenant) => Seen::Of([tenant.clone()].into()),
        }
    }
}
