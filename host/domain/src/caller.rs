//! Who asks, and with what right.
//!
//! A caller is made once, at the door that a request comes in by, and is the first argument of every
//! change from there on. How a caller proves who they are is the door's business; here is only what
//! follows from it.

use core::net::IpAddr;
use std::fmt;

use uuid::Uuid;

/// Whose tasks and modules are whose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(String);

impl Tenant {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Reads a name: `[a-z0-9][a-z0-9_-]{0,63}`.
    pub fn parse(text: &str) -> Result<Tenant, BadTenant> {
        let bytes = text.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts_well = bytes.first().is_some_and(plain);
        let allowed = |byte: &u8| plain(byte) || b"_-".contains(byte);
        match starts_well && bytes.len() <= Tenant::BYTES_MAX && bytes.iter().all(allowed) {
            true => Ok(Tenant(text.to_owned())),
            false => Err(BadTenant),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    /// The one tenant of a host without keys.
    fn default() -> Tenant {
        Tenant("default".to_owned())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no tenant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant's name is 1 to 64 of a-z 0-9 _ - and begins with a letter or digit")]
pub struct BadTenant;

/// The name of a key; never the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub Uuid);

/// What a key is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Run, execute, keep sessions, submit and cancel.
    Run,
    /// Look at everything of the tenant's.
    Read,
    /// Put and remove modules.
    Modules,
    /// Tenants, keys, workers and draining.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Run, Scope::Read, Scope::Modules, Scope::Admin];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Run => "run",
            Scope::Read => "read",
            Scope::Modules => "modules",
            Scope::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Whether the scope is among them.
    pub const fn contain(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// Who asks, and with what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose things they see and change.
    pub tenant: Tenant,
    /// The key they showed, if the host has keys.
    pub key: Option<KeyId>,
    /// What they may do.
    pub scopes: Scopes,
    /// Where they are; nowhere for the host itself.
    pub from: Option<IpAddr>,
}

impl Caller {
    /// Whoever reaches a host without keys: the default tenant with every right.
    pub fn local() -> Caller {
        Caller {
            tenant: Tenant::default(),
            key: None,
            scopes: Scope::ALL.into_iter().collect(),
            from: None,
        }
    }

    /// Refuses what the caller's scopes do not cover.
    pub fn may(&self, scope: Scope) -> Result<(), Forbidden> {
        match self.scopes.contain(scope) {
            true => Ok(()),
            false => Err(Forbidden(scope)),
        }
    }
}

/// The caller has no right to this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this needs a key with the scope {}", .0.as_str())]
pub struct Forbidden(pub Scope);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_do_what_their_scopes_say() {
        let mut caller = Caller::local();
        for scope in Scope::ALL {
            assert_eq!(caller.may(scope), Ok(()));
        }
        caller.scopes = [Scope::Read, Scope::Run].into_iter().collect();
        assert_eq!(caller.may(Scope::Run), Ok(()));
        assert_eq!(caller.may(Scope::Modules), Err(Forbidden(Scope::Modules)));
        assert!(
            caller
                .may(Scope::Admin)
                .unwrap_err()
                .to_string()
                .contains("admin")
        );
    }

    #[test]
    fn tenants_have_plain_names() {
        let longest = "a".repeat(64);
        for good in ["default", "0", "team-a_1", &longest] {
            assert!(Tenant::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", "a.b", "é", "a b", &"a".repeat(65)] {
            assert_eq!(Tenant::parse(bad), Err(BadTenant), "{bad}");
        }
    }
}
