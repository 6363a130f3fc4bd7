//! Who may ask: keys and tenants, the one entry point for their changes, and the doors that make the
//! [`Caller`] of a request.
//!
//! Keys and tenants are few, so each host has all of them in memory (`known`). Where hosts share a
//! database, each looks every second whether something has changed; one that could not look for
//! [`STALE_AFTER`] lets nobody in, because it cannot know who was revoked. How a key comes with a request
//! is not known here.

mod door;
mod known;
mod rates;
pub mod settings;
#[cfg(test)]
mod tests;
mod text;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::{Notify, watch};

use self::known::Known;
use self::rates::Rates;
use crate::shutdown::Shutdown;
use cofferdam_domain::caller::key::{Key, KeyId, KeyName, SecretHash};
use cofferdam_domain::caller::tenant::{KnownTenant, TenantRules};
use cofferdam_domain::caller::{Caller, Forbidden, Origin, Scope, Scopes, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::rate::Rate;
use cofferdam_domain::time::Timestamp;
use cofferdam_storage::{
    Access as Kept, AccessState, PutKey, PutTenant, RemovedTenant, RotatedKey, StorageError,
};

pub use self::door::{Admitted, Door, Refusal};
pub use self::rates::{Standing, Whose};
pub use self::text::KeyText;

/// How often a host looks for changes that others made.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two looks, whoever asks for one.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// How long somebody with an unknown key waits for the next look.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// How old the last look may be. A key that is revoked anywhere opens nothing after that time.
pub const STALE_AFTER: Duration = Duration::from_secs(5);
/// The longest a key that was rotated may go on.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Keys and tenants.
pub struct Access {
    storage: Arc<dyn Kept>,
    clock: Clock,
    admin: Option<SecretHash>,
    random: Mutex<StdRng>,
    known: Mutex<Arc<Known>>,
    /// Counts what was put into `known`.
    generation: AtomicU64,
    rates: Rates,
    looks: Option<Looks>,
}

/// When a host looked for what others changed.
struct Looks {
    /// The beginning of the last look that was answered.
    last: AtomicI64,
    begun: AtomicU64,
    wanted: Notify,
    /// The number of the newest look that was answered.
    done: watch::Sender<u64>,
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// For whom it speaks.
    pub tenant: Tenant,
    /// What people call it.
    pub name: KeyName,
    /// What it may do.
    pub scopes: Scopes,
    /// When it ceases to open anything.
    pub expires_at: Option<Timestamp>,
    /// How many requests it may make.
    pub rate: Option<Rate>,
}

/// Why a change of a key or a tenant was refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The caller is no administrator.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    UnknownTenant(Tenant),
    /// There is no such key.
    #[error("there is no key {0}")]
    UnknownKey(KeyId),
    /// The key opens nothing any more, or there is none.
    #[error("there is no live key {0}")]
    NotLive(KeyId),
    /// It would end before it begins.
    #[error("expires_at is not in the future")]
    Expired,
    /// From then on nobody could make another.
    #[error(
        "from the first key on every request needs one, so the first one needs the scope admin, unless \
         access.admin_key is set"
    )]
    FirstKey,
    /// There are as many keys as may be.
    #[error("there are as many keys as this storage keeps; those that are dead go after a month")]
    TooManyKeys,
    /// There are as many tenants as may be.
    #[error("there are as many tenants as this storage keeps")]
    TooManyTenants,
    /// The tenant that always exists.
    #[error("the tenant default always exists")]
    DefaultTenant,
    /// Its keys would be revoked before it is gone.
    #[error(
        "the key that asks for it is the tenant's own; another administrator can remove the tenant"
    )]
    OwnTenant,
    /// The tenant has something.
    #[error("the tenant has {keys} live keys, {tasks} tasks and {modules} modules")]
    NotEmpty {
        /// Keys that open something.
        keys: u64,
        /// Tasks, final ones included.
        tasks: u64,
        /// Names of modules.
        modules: u64,
    },
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Access {
    /// Reads the keys and tenants. `is_shared` says whether other hosts may change them.
    pub async fn open(
        storage: Arc<dyn Kept>,
        clock: Clock,
        admin: Option<settings::AdminKey>,
        random: StdRng,
        is_shared: bool,
    ) -> Result<Arc<Access>, StorageError> {
        let begun = clock.now().as_millis();
        let state = storage.access(None).await?.ok_or_else(nothing_read)?;
        let looks = is_shared.then(|| Looks {
            last: AtomicI64::new(begun),
            begun: AtomicU64::new(0),
            wanted: Notify::new(),
            done: watch::Sender::new(0),
        });
        Ok(Arc::new(Access {
            storage,
            clock,
            admin: admin.map(settings::AdminKey::hash),
            random: Mutex::new(random),
            known: Mutex::new(Arc::new(Known::of(state))),
            generation: AtomicU64::new(1),
            rates: Rates::default(),
            looks,
        }))
    }

    /// Looks for what other hosts change, until shutdown is requested.
    pub fn follow(self: &Arc<Self>, shutdown: &Shutdown) {
        let (access, stop) = (Arc::clone(self), shutdown.clone());
        if self.looks.is_none() {
            return;
        }
        shutdown.spawn("keys", async move {
            tokio::select! {
                () = access.keep_looking() => {}
                () = stop.requested() => {}
            }
        });
    }

    /// A door for one thread.
    pub fn door(self: &Arc<Self>) -> Door {
        Door::new(Arc::clone(self))
    }

    /// Whether whoever asks from elsewhere needs a key.
    pub fn asks_for_keys(&self) -> bool {
        self.admin.is_some() || self.known().has_keys()
    }

    /// Makes a key. Its text is known to nobody else.
    pub async fn create_key(
        &self,
        caller: &Caller,
        new: NewKey,
    ) -> Result<(Key, KeyText), AccessError> {
        caller.may(Scope::Admin)?;
        let now = self.clock.now();
        if new.expires_at.is_some_and(|at| at <= now) {
            return Err(AccessError::Expired);
        }
        let text = self.mint();
        let key = Key {
            id: text.id(),
            hash: text.hash(),
            tenant: new.tenant,
            name: new.name,
            scopes: new.scopes,
            rate: new.rate,
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            replaced_by: None,
        };
        if !self.asks_for_keys() && !door::may_administer(&key) {
            return Err(AccessError::FirstKey);
        }
        match self.storage.put_key(key.clone(), now).await? {
            PutKey::Stored => {}
            PutKey::NoTenant => return Err(AccessError::UnknownTenant(key.tenant)),
            PutKey::TooMany => return Err(AccessError::TooManyKeys),
        }
        tracing::info!(key.id = %key.id, tenant = %key.tenant, %caller, "a key was made");
        self.look().await?;
        Ok((key, text))
    }

    /// Makes a key in the place of another, which goes on for `overlap`.
    pub async fn rotate_key(
        &self,
        caller: &Caller,
        id: KeyId,
        overlap: Duration,
    ) -> Result<(Key, KeyText), AccessError> {
        caller.may(Scope::Admin)?;
        let (now, text) = (self.clock.now(), self.mint());
        let new = (text.id(), text.hash());
        let until = now.plus(overlap.min(OVERLAP_MAX));
        let key = match self.storage.rotate_key(id, new, until, now).await? {
            RotatedKey::Replaced(key) => *key,
            RotatedKey::NotLive => return Err(AccessError::NotLive(id)),
            RotatedKey::TooMany => return Err(AccessError::TooManyKeys),
        };
        tracing::info!(key.id = %id, successor = %key.id, %caller, "a key was rotated");
        self.look().await?;
        Ok((key, text))
    }

    /// Revokes a key: here at once, at every other host within [`STALE_AFTER`].
    pub async fn revoke_key(&self, caller: &Caller, id: KeyId) -> Result<Key, AccessError> {
        caller.may(Scope::Admin)?;
        let revoked = self.storage.revoke_key(id, self.clock.now()).await?;
        let key = revoked.ok_or(AccessError::UnknownKey(id))?;
        tracing::info!(key.id = %id, %caller, "a key was revoked");
        self.look().await?;
        Ok(key)
    }

    /// Every key, by id.
    pub async fn keys(&self, caller: &Caller) -> Result<Vec<Key>, AccessError> {
        Ok(self.all(caller).await?.keys)
    }

    /// Every tenant, by name.
    pub async fn tenants(&self, caller: &Caller) -> Result<Vec<KnownTenant>, AccessError> {
        Ok(self.all(caller).await?.tenants)
    }

    /// Makes a tenant, or replaces what was said of it; whether it is new.
    pub async fn put_tenant(
        &self,
        caller: &Caller,
        name: &Tenant,
        rules: &TenantRules,
    ) -> Result<bool, AccessError> {
        caller.may(Scope::Admin)?;
        let put = self.storage.put_tenant(name, rules, self.clock.now());
        let is_new = match put.await? {
            PutTenant::Created => true,
            PutTenant::Replaced => false,
            PutTenant::TooMany => return Err(AccessError::TooManyTenants),
        };
        tracing::info!(tenant = %name, is_new, %caller, "a tenant was put");
        self.look().await?;
        Ok(is_new)
    }

    /// Removes a tenant that has nothing.
    pub async fn remove_tenant(&self, caller: &Caller, name: &Tenant) -> Result<(), AccessError> {
        caller.may(Scope::Admin)?;
        if *name == Tenant::default() {
            return Err(AccessError::DefaultTenant);
        }
        match self.storage.remove_tenant(name, self.clock.now()).await? {
            RemovedTenant::Removed => {}
            RemovedTenant::NotEmpty {
                keys,
                tasks,
                modules,
            } => {
                return Err(AccessError::NotEmpty {
                    keys,
                    tasks,
                    modules,
                });
            }
            RemovedTenant::Unknown => return Err(AccessError::UnknownTenant(name.clone())),
        }
        tracing::info!(tenant = %name, %caller, "a tenant was removed");
        self.look().await?;
        Ok(())
    }

    /// Who asks when the host does something for a tenant on its own, such as at an instant of a schedule.
    pub fn on_behalf_of(&self, tenant: &Tenant) -> Caller {
        let scopes = [Scope::Run, Scope::Read].into_iter().collect();
        let caller = Caller::new(tenant.clone(), scopes, Origin::Here);
        match self.rules_of(tenant) {
            Some(rules) => caller.under(rules),
            None => caller,
        }
    }

    /// Whether what a tenant had at that instant is still its own: no longer once it was removed, even if there is
    /// another of its name.
    pub fn is_still_of(&self, tenant: &Tenant, at: Timestamp) -> bool {
        let since = self.known().tenant_since(tenant);
        *tenant == Tenant::default() || since.is_some_and(|since| since <= at)
    }

    /// Revokes every key of a tenant that is to be removed, and removes its schedules. Gives when no host lets
    /// anybody in with one any more; none if it has no key.
    pub async fn close_tenant(
        &self,
        caller: &Caller,
        name: &Tenant,
    ) -> Result<Option<Timestamp>, AccessError> {
        if *name == Tenant::default() {
            caller.may(Scope::Admin)?;
            return Err(AccessError::DefaultTenant);
        }
        if name == caller.tenant() {
            caller.may(Scope::Admin)?;
            return Err(AccessError::OwnTenant);
        }
        let tenants = self.tenants(caller).await?;
        if !tenants.iter().any(|tenant| tenant.name == *name) {
            return Err(AccessError::UnknownTenant(name.clone()));
        }
        let last = self.storage.close_tenant(name, self.clock.now()).await?;
        tracing::info!(tenant = %name, %caller, "a tenant is being removed with all that it has");
        self.look().await?;
        let heard_after = match self.looks {
            None => Duration::ZERO,
            Some(_) => STALE_AFTER,
        };
        Ok(last.map(|last| last.plus(heard_after)))
    }

    async fn all(&self, caller: &Caller) -> Result<AccessState, AccessError> {
        caller.may(Scope::Admin)?;
        Ok(self.storage.access(None).await?.ok_or_else(nothing_read)?)
    }

    /// What holds for a tenant, as this host last heard; nothing if it has not heard of such a tenant.
    pub fn rules_of(&self, tenant: &Tenant) -> Option<Arc<TenantRules>> {
        self.known().rules(tenant).cloned()
    }

    fn mint(&self) -> KeyText {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        KeyText::mint(&mut *random)
    }

    fn known(&self) -> Arc<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&known)
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether somebody may have been revoked without this host having heard of it in time.
    fn is_stale(&self, now: Timestamp) -> bool {
        self.looks.as_ref().is_some_and(|looks| {
            let last = Timestamp::from_millis(looks.last.load(Ordering::Relaxed));
            now.since(last) > STALE_AFTER
        })
    }

    /// Reads what has changed.
    async fn look(&self) -> Result<(), StorageError> {
        let begun = self.clock.now().as_millis();
        let looks = self.looks.as_ref();
        let number = looks.map(|looks| looks.begun.fetch_add(1, Ordering::SeqCst) + 1);
        let version = self.known().version;
        if let Some(state) = self.storage.access(Some(version)).await? {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            // Another look may have been faster.
            if state.version > known.version {
                *known = Arc::new(Known::of(state));
                self.rates.keep(&known);
                self.generation.fetch_add(1, Ordering::Release);
            }
        }
        if let (Some(looks), Some(number)) = (looks, number) {
            looks.last.fetch_max(begun, Ordering::Relaxed);
            looks.done.send_modify(|done| *done = number.max(*done));
        }
        Ok(())
    }

    async fn keep_looking(&self) {
        let Some(looks) = &self.looks else { return };
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "changes of keys cannot be read");
            }
            tokio::time::sleep(LOOK_PAUSE).await;
            let _asked_or_time = tokio::time::timeout(
                LOOK_INTERVAL.saturating_sub(LOOK_PAUSE),
                looks.wanted.notified(),
            )
            .await;
        }
    }

    /// Waits for a look that begins from now on; whether there was one.
    async fn look_again(&self) -> bool {
        let Some(looks) = &self.looks else {
            return false;
        };
        // A look that is under way may have begun before the key was made.
        let begun = looks.begun.load(Ordering::SeqCst);
        let mut done = looks.done.subscribe();
        looks.wanted.notify_one();
        let next = done.wait_for(|done| *done > begun);
        let looked = tokio::time::timeout(LOOK_PATIENCE, next).await;
        matches!(looked, Ok(Ok(_)))
    }
}

fn nothing_read() -> StorageError {
    StorageError::Corrupt("a first reading of the keys found no change".to_owned())
}
