//! Callers: who asks, and with what right.
//!
//! A caller is made once, at the door that a request comes in by, and is the first argument of every
//! change from there on. The door checks who a caller is; this module has only what follows from
//! it.

pub mod key;
pub mod quota;
pub mod tenant;

use core::net::{IpAddr, Ipv6Addr};
use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use self::key::KeyId;
use self::quota::TaskQuotas;
use self::tenant::TenantRules;

/// An owner of tasks and modules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Cow<'static, str>);

impl Tenant {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// The host's own tenant, and the one of all callers of a host without keys.
    pub const DEFAULT: Tenant = Tenant(Cow::Borrowed("default"));

    /// Reads a name: `[a-z0-9][a-z0-9_-]{0,63}`.
    pub fn parse(text: &str) -> Result<Tenant, BadTenant> {
        let bytes = text.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let starts_well = bytes.first().is_some_and(plain);
        let allowed = |byte: &u8| plain(byte) || b"_-".contains(byte);
        match starts_well && bytes.len() <= Tenant::BYTES_MAX && bytes.iter().all(allowed) {
            // Every claim names its tenant, mostly this one.
            true if text == Tenant::DEFAULT.as_str() => Ok(Tenant::DEFAULT),
            true => Ok(Tenant(Cow::Owned(text.to_owned()))),
            false => Err(BadTenant),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Tenant {
        Tenant::DEFAULT
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a tenant's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tenant's name is 1 to 64 of a-z 0-9 _ - and begins with a letter or digit")]
pub struct BadTenant;

/// A right of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Run, execute, keep sessions, submit and cancel.
    Run,
    /// Read everything of the tenant.
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

    /// The scope of that word.
    pub fn parse(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word)
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

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        let all = Scope::ALL.into_iter();
        all.filter(move |scope| self.contain(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

/// The place of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// In this process: a command without a server, or the host itself.
    Here,
    /// At the other end of a connection from this address.
    Peer(IpAddr),
}

impl Origin {
    /// The key for fair shares between callers: the address, or for IPv6 its network, because a
    /// machine can choose the lower half of its IPv6 address freely.
    pub fn network(self) -> Origin {
        let Origin::Peer(address) = self else {
            return self;
        };
        Origin::Peer(match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let upper = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(upper))
            }
            address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Here => f.write_str("this process"),
            Origin::Peer(address) => address.fmt(f),
        }
    }
}

/// Who asks, and with what right. Cheap to clone if the tenant is the default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    tenant: Tenant,
    scopes: Scopes,
    from: Origin,
    key: Option<KeyId>,
    rules: Option<Arc<TenantRules>>,
}

impl Caller {
    /// A caller of `tenant` with the rights in `scopes`.
    pub fn new(tenant: Tenant, scopes: Scopes, from: Origin) -> Caller {
        Caller {
            tenant,
            scopes,
            from,
            key: None,
            rules: None,
        }
    }

    /// The same, known by that key.
    pub fn by_key(self, key: KeyId) -> Caller {
        Caller {
            key: Some(key),
            ..self
        }
    }

    /// The same, of a tenant for which the operator made rules.
    pub fn under(self, rules: Arc<TenantRules>) -> Caller {
        Caller {
            rules: Some(rules),
            ..self
        }
    }

    /// The same, asking from that place.
    pub fn at(self, from: Origin) -> Caller {
        Caller { from, ..self }
    }

    /// A caller of a host without keys, from that place: the default tenant with every right.
    pub fn without_keys(from: Origin) -> Caller {
        let scopes = Scope::ALL.into_iter().collect();
        Caller::new(Tenant::default(), scopes, from)
    }

    /// The host itself, or a command that runs its own host.
    pub fn local() -> Caller {
        Caller::without_keys(Origin::Here)
    }

    /// The tenant whose tasks and modules they see and change.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Their place. Shares between callers go by its [`network`](Origin::network).
    pub fn from(&self) -> Origin {
        self.from
    }

    /// The key that they showed.
    pub fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// What the operator said of their tenant, if anything.
    pub fn rules(&self) -> Option<&TenantRules> {
        self.rules.as_deref()
    }

    /// The quotas that their tasks are held to.
    pub fn task_quotas(&self) -> TaskQuotas {
        self.rules()
            .map(TenantRules::task_quotas)
            .unwrap_or_default()
    }

    /// What they may do.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// The same number for all requests of one caller, where callers take turns: of its tenant from its
    /// network.
    pub fn number(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.tenant.hash(&mut hasher);
        self.from.network().hash(&mut hasher);
        hasher.finish()
    }

    /// Refuses a caller without the scope.
    pub fn may(&self, scope: Scope) -> Result<(), Forbidden> {
        match self.scopes.contain(scope) {
            true => Ok(()),
            false => Err(Forbidden(scope)),
        }
    }
}

/// The caller's name in the log.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.tenant, self.from)
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
        for scope in Scope::ALL {
            assert_eq!(Caller::local().may(scope), Ok(()));
        }
        let scopes = [Scope::Read, Scope::Run].into_iter().collect();
        let caller = Caller::new(Tenant::default(), scopes, Origin::Here);
        assert_eq!(caller.may(Scope::Run), Ok(()));
        assert_eq!(caller.may(Scope::Modules), Err(Forbidden(Scope::Modules)));
        assert!(
            caller
                .may(Scope::Admin)
                .unwrap_err()
                .to_string()
                .contains("admin")
        );
        let twice: Scopes = [Scope::Read, Scope::Read].into_iter().collect();
        assert!(twice.contain(Scope::Read));
        let team = Tenant::parse("team").unwrap();
        let caller = Caller::new(team.clone(), twice, Origin::Here);
        assert_eq!((caller.tenant(), caller.from()), (&team, Origin::Here));
    }

    #[test]
    fn a_network_of_ipv6_is_one_place() {
        let of = |text: &str| Origin::Peer(text.parse().unwrap()).network();
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_ne!(of("::1"), of("::2"));
        assert_eq!(Origin::Here.network(), Origin::Here);
    }

    #[test]
    fn callers_are_told_apart_by_tenant_and_network() {
        let caller = |tenant: &str, address: [u8; 4]| {
            let tenant = Tenant::parse(tenant).unwrap();
            Caller::new(
                tenant,
                Scopes::default(),
                Origin::Peer(IpAddr::from(address)),
            )
        };
        let one = caller("a", [10, 0, 0, 1]).number();
        assert_eq!(caller("a", [10, 0, 0, 1]).number(), one);
        assert_ne!(caller("a", [10, 0, 0, 2]).number(), one);
        assert_ne!(caller("b", [10, 0, 0, 1]).number(), one);
    }

    #[test]
    fn a_log_says_whose_and_from_where() {
        let peer = Origin::Peer(IpAddr::from([127, 0, 0, 1]));
        let caller = Caller::without_keys(peer);
        assert_eq!(caller.to_string(), "default at 127.0.0.1");
        assert_eq!(Caller::local().to_string(), "default at this process");
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

    #[test]
    fn a_host_without_keys_has_one_tenant_with_every_right() {
        let caller = Caller::local();
        assert_eq!(caller.tenant.to_string(), "default");
        assert_eq!(caller.tenant.as_str(), "default");
        let words = Scope::ALL.map(Scope::as_str);
        assert_eq!(words, ["run", "read", "modules", "admin"]);
        assert!(
            Scope::ALL
                .iter()
                .all(|scope| !Scopes::default().contain(*scope))
        );
    }
}
