//! The door: who a caller is, by what they show. One for each thread, so that threads share no count
//! and no lock that is taken for every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::known::Known;
use super::rates::{Counter, Standing, count};
use super::{Access, KeyText};
use cofferdam_domain::caller::key::{Key, KeyId, KeyState, SecretHash};
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::caller::{Caller, Origin, Scope, Tenant};

/// Who is let in by one thread.
pub struct Door {
    access: Arc<Access>,
    own: Mutex<Own>,
}

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The caller.
    pub caller: Caller,
    /// How they stand with the scarcest of their rates, if they have any.
    pub standing: Option<Standing>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// They show nothing.
    #[error("this host asks for a key")]
    Missing,
    /// What they show is not a key of this host, as far as it knows.
    #[error("this key opens nothing here")]
    Unknown,
    /// The key's time is over.
    #[error("this key has expired")]
    Expired,
    /// Somebody revoked the key.
    #[error("this key was revoked")]
    Revoked,
    /// The key, or its tenant, makes too many requests.
    #[error("more requests than {} a {} of this {}", .0.rate.number(), .0.rate.per().as_str(), .0.whose.as_str())]
    TooMany(Standing),
    /// This host has not heard of revoked keys for too long.
    #[error("this host cannot tell which keys were revoked, because storage does not answer")]
    Stale,
    /// There is no key, so only this machine may call.
    #[error("this host has no keys, so it answers this machine only")]
    NotLocal,
}

/// What a thread knows; the same as all know, with its own counted references.
struct Own {
    generation: u64,
    known: Arc<Known>,
    ready: HashMap<KeyId, Ready>,
    rules: HashMap<Tenant, Arc<TenantRules>>,
}

/// A key that was shown before.
struct Ready {
    key: Arc<Key>,
    caller: Caller,
    counters: Vec<Arc<Counter>>,
}

impl Door {
    pub(super) fn new(access: Arc<Access>) -> Door {
        Door {
            own: Mutex::new(Own {
                generation: 0,
                known: Arc::default(),
                ready: HashMap::new(),
                rules: HashMap::new(),
            }),
            access,
        }
    }

    /// The caller who shows `shown` and asks from that place.
    pub fn admit(&self, shown: Option<&str>, from: Origin) -> Result<Admitted, Refusal> {
        if from == Origin::Here {
            return Ok(uncounted(Caller::local()));
        }
        let mut own = self.own();
        let access = &self.access;
        if !own.known.has_keys() && access.admin.is_none() {
            let is_local = match from {
                Origin::Here => true,
                Origin::Peer(address) => address.to_canonical().is_loopback(),
            };
            return match is_local {
                true => Ok(uncounted(own.under_rules(Caller::without_keys(from)))),
                false => Err(Refusal::NotLocal),
            };
        }
        let shown = shown.ok_or(Refusal::Missing)?;
        let text = KeyText::parse(shown);
        if let Some(text) = text
            && let Some(found) = own.ready(access, text.id())
        {
            return admitted(access, found, &text, from);
        }
        match access.admin {
            Some(admin) if is_same(admin, SecretHash(Sha256::digest(shown).into())) => {
                Ok(uncounted(own.under_rules(Caller::without_keys(from))))
            }
            Some(_) | None => Err(Refusal::Unknown),
        }
    }

    /// Tells of changes that this host has not heard of yet; whether it may have heard of some.
    pub async fn look_again(&self) -> bool {
        self.access.look_again().await
    }

    /// The same caller under what the operator says of their tenant here.
    pub fn under_rules(&self, caller: Caller) -> Caller {
        self.own().under_rules(caller)
    }

    /// Whether whoever asks from elsewhere needs a key.
    pub fn asks_for_keys(&self) -> bool {
        self.access.asks_for_keys()
    }

    /// What this thread knows, brought up to date.
    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.access.generation();
        if own.generation != generation {
            own.known = self.access.known();
            own.generation = generation;
            own.ready.clear();
            own.rules.clear();
        }
        own
    }
}

/// Whether the secret is that of the key, and the key opens anything.
fn admitted(
    access: &Access,
    found: &Ready,
    text: &KeyText,
    from: Origin,
) -> Result<Admitted, Refusal> {
    if !is_same(found.key.hash, text.hash()) {
        return Err(Refusal::Unknown);
    }
    let now = access.clock.now();
    match found.key.state(now) {
        KeyState::Revoked => Err(Refusal::Revoked),
        KeyState::Expired => Err(Refusal::Expired),
        KeyState::Live if access.is_stale(now) => Err(Refusal::Stale),
        KeyState::Live => Ok(Admitted {
            standing: count(&found.counters).map_err(Refusal::TooMany)?,
            caller: found.caller.clone().at(from),
        }),
    }
}

/// A caller who has no rate.
fn uncounted(caller: Caller) -> Admitted {
    Admitted {
        caller,
        standing: None,
    }
}

/// Compares in the same time, whichever byte differs.
fn is_same(one: SecretHash, other: SecretHash) -> bool {
    one.0.ct_eq(&other.0).into()
}

impl Own {
    fn ready(&mut self, access: &Access, id: KeyId) -> Option<&Ready> {
        if !self.ready.contains_key(&id) {
            let key = Key::clone(self.known.key(id)?);
            let caller = Caller::new(key.tenant.clone(), key.scopes, Origin::Here).by_key(id);
            let caller = self.under_rules(caller);
            let counters = access.rates.of(&key, &self.known);
            let ready = Ready {
                key: Arc::new(key),
                caller,
                counters,
            };
            self.ready.insert(id, ready);
        }
        self.ready.get(&id)
    }

    fn under_rules(&mut self, caller: Caller) -> Caller {
        if let Some(rules) = self.rules.get(caller.tenant()) {
            return caller.under(Arc::clone(rules));
        }
        let Some(rules) = self.known.rules(caller.tenant()) else {
            return caller;
        };
        // A copy, so that threads do not count references to the same one.
        let rules = Arc::new(TenantRules::clone(rules));
        let name = caller.tenant().clone();
        self.rules.insert(name, Arc::clone(&rules));
        caller.under(rules)
    }
}

/// The scopes of a key that opens everything.
pub(super) fn may_administer(key: &Key) -> bool {
    key.scopes.contain(Scope::Admin)
}
