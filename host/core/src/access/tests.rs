//! Who is let in.

use std::net::IpAddr;

use rand::SeedableRng;
use tempfile::TempDir;

use super::settings::AdminKey;
use super::*;
use cofferdam_domain::caller::Origin;
use cofferdam_storage::Opened;
use cofferdam_storage::settings::StorageConfig;

const ADMIN: &str = "an-administrator-s-key-from-outside-0123456789";

/// A storage, and what is known over it.
struct Site {
    storage: Opened,
    clock: Clock,
    _data: TempDir,
}

impl Site {
    fn new() -> Site {
        let data = tempfile::tempdir().unwrap();
        let settings = StorageConfig {
            data: data.path().to_owned(),
            ..StorageConfig::default()
        };
        let clock = Clock::manual(Timestamp::from_millis(1_000_000));
        let storage = cofferdam_storage::open(&settings, StdRng::seed_from_u64(1), &clock);
        Site {
            storage: storage.unwrap(),
            clock,
            _data: data,
        }
    }

    async fn access(&self, admin: Option<&str>, is_shared: bool) -> Arc<Access> {
        let admin = admin.map(|text| AdminKey::parse(text).unwrap());
        let kept = Arc::clone(&self.storage.access);
        let (clock, random) = (self.clock.clone(), StdRng::from_os_rng());
        let opened = Access::open(kept, clock, admin, random, is_shared);
        opened.await.unwrap()
    }

    fn later(&self, by: Duration) {
        self.clock.set(self.clock.now().plus(by));
    }
}

fn peer() -> Origin {
    Origin::Peer(IpAddr::from([127, 0, 0, 1]))
}

fn elsewhere() -> Origin {
    Origin::Peer(IpAddr::from([10, 0, 0, 1]))
}

fn new_key(tenant: &str, scopes: &[Scope]) -> NewKey {
    NewKey {
        tenant: Tenant::parse(tenant).unwrap(),
        name: KeyName::parse("a").unwrap(),
        scopes: scopes.iter().copied().collect(),
        expires_at: None,
        rate: None,
    }
}

async fn made(access: &Access, new: NewKey) -> (Key, String) {
    let (key, text) = access.create_key(&Caller::local(), new).await.unwrap();
    (key, text.reveal())
}

#[tokio::test]
async fn a_host_without_keys_answers_its_own_machine_only() {
    let access = Site::new().access(None, false).await;
    let door = access.door();
    assert!(!door.asks_for_keys());
    let caller = door.admit(None, peer()).unwrap().caller;
    assert_eq!(caller.tenant(), &Tenant::default());
    assert!(Scope::ALL.iter().all(|scope| caller.may(*scope).is_ok()));
    let same = door.admit(Some("anything"), peer()).unwrap();
    assert_eq!((same.caller, same.standing), (caller, None));
    assert_eq!(door.admit(None, elsewhere()), Err(Refusal::NotLocal));
}

#[tokio::test]
async fn from_the_first_key_on_every_caller_needs_one() {
    let site = Site::new();
    let access = site.access(None, false).await;
    let doors = [access.door(), access.door()];
    let useless = new_key("default", &[Scope::Run]);
    let refused = access.create_key(&Caller::local(), useless).await;
    assert!(matches!(refused, Err(AccessError::FirstKey)));
    let (key, text) = made(&access, new_key("default", &[Scope::Admin])).await;
    for door in &doors {
        assert_eq!(door.admit(None, peer()), Err(Refusal::Missing));
        let caller = door.admit(Some(&text), elsewhere()).unwrap().caller;
        assert_eq!((caller.key(), caller.from()), (Some(key.id), elsewhere()));
        assert!(caller.may(Scope::Admin).is_ok() && caller.may(Scope::Run).is_err());
        let other_secret = format!("{}{}", &text[..84], if text.ends_with('0') { 1 } else { 0 });
        let other_id = text.replace(&key.id.to_string(), "0123456789abcdef");
        for wrong in [&other_secret, &other_id, &text[1..], "", "é"] {
            let refused = door.admit(Some(wrong), peer());
            assert_eq!(refused, Err(Refusal::Unknown), "{wrong}");
        }
        // The process itself needs none.
        assert!(door.admit(None, Origin::Here).is_ok());
    }
    // No key opens the door again, not even after a restart.
    access.revoke_key(&Caller::local(), key.id).await.unwrap();
    assert_eq!(doors[0].admit(Some(&text), peer()), Err(Refusal::Revoked));
    let again = site.access(None, false).await.door();
    assert_eq!(again.admit(None, peer()), Err(Refusal::Missing));
    assert_eq!(again.admit(Some(&text), peer()), Err(Refusal::Revoked));
}

#[tokio::test]
async fn a_key_ends_with_its_time_and_a_rotated_one_with_its_overlap() {
    let site = Site::new();
    let access = site.access(Some(ADMIN), false).await;
    let door = access.door();
    let minute = Duration::from_secs(60);
    let expires = NewKey {
        expires_at: Some(site.clock.now().plus(minute)),
        ..new_key("default", &[Scope::Run])
    };
    let (key, text) = made(&access, expires.clone()).await;
    let me = Caller::local();
    let rotated = access.rotate_key(&me, key.id, minute / 2).await;
    let (_, successor) = rotated.unwrap();
    let successor = successor.reveal();
    assert!(door.admit(Some(&text), peer()).is_ok());
    assert!(door.admit(Some(&successor), peer()).is_ok());
    site.later(minute / 2);
    assert_eq!(door.admit(Some(&text), peer()), Err(Refusal::Expired));
    assert!(door.admit(Some(&successor), peer()).is_ok());
    let again = access.rotate_key(&Caller::local(), key.id, minute).await;
    assert!(matches!(again, Err(AccessError::NotLive(_))));
    site.later(minute / 2);
    assert_eq!(door.admit(Some(&successor), peer()), Err(Refusal::Expired));
    let past = access.create_key(&Caller::local(), expires).await;
    assert!(matches!(past, Err(AccessError::Expired)));
}

#[tokio::test]
async fn an_administrators_key_from_outside_opens_everything() {
    let access = Site::new().access(Some(ADMIN), false).await;
    let door = access.door();
    assert!(door.asks_for_keys());
    assert_eq!(door.admit(None, peer()), Err(Refusal::Missing));
    assert_eq!(door.admit(Some(&ADMIN[1..]), peer()), Err(Refusal::Unknown));
    let caller = door.admit(Some(ADMIN), elsewhere()).unwrap().caller;
    assert!(Scope::ALL.iter().all(|scope| caller.may(*scope).is_ok()));
    assert_eq!((caller.key(), caller.tenant()), (None, &Tenant::default()));
}

#[tokio::test]
async fn only_administrators_change_keys_and_tenants() {
    let access = Site::new().access(None, false).await;
    let scopes = [Scope::Run, Scope::Read, Scope::Modules];
    let caller = Caller::new(Tenant::default(), scopes.into_iter().collect(), peer());
    let (id, tenant) = (KeyId::from_bytes([0; 8]), Tenant::parse("a").unwrap());
    let forbidden = |refused: AccessError| matches!(refused, AccessError::Forbidden(_));
    let new = new_key("default", &[Scope::Admin]);
    assert!(forbidden(
        access.create_key(&caller, new).await.unwrap_err()
    ));
    let overlap = Duration::ZERO;
    assert!(forbidden(
        access.rotate_key(&caller, id, overlap).await.unwrap_err()
    ));
    assert!(forbidden(access.revoke_key(&caller, id).await.unwrap_err()));
    assert!(forbidden(access.keys(&caller).await.unwrap_err()));
    assert!(forbidden(access.tenants(&caller).await.unwrap_err()));
    let rules = TenantRules::default();
    assert!(forbidden(
        access
            .put_tenant(&caller, &tenant, &rules)
            .await
            .unwrap_err()
    ));
    assert!(forbidden(
        access.remove_tenant(&caller, &tenant).await.unwrap_err()
    ));
}

#[tokio::test]
async fn a_caller_is_under_the_rules_of_their_tenant() {
    let access = Site::new().access(None, false).await;
    let door = access.door();
    let team = Tenant::parse("team").unwrap();
    let me = Caller::local();
    let unknown = access
        .create_key(&me, new_key("team", &[Scope::Admin]))
        .await;
    assert!(matches!(unknown, Err(AccessError::UnknownTenant(_))));
    let rules = |pending_max| TenantRules {
        pending_max: Some(pending_max),
        ..TenantRules::default()
    };
    assert!(access.put_tenant(&me, &team, &rules(1)).await.unwrap());
    let (_, text) = made(&access, new_key("team", &[Scope::Admin])).await;
    for pending_max in [1, 2] {
        assert!(pending_max == 1 || !access.put_tenant(&me, &team, &rules(2)).await.unwrap());
        let caller = door.admit(Some(&text), peer()).unwrap().caller;
        assert_eq!(caller.tenant(), &team);
        assert_eq!(caller.rules(), Some(&rules(pending_max)));
    }
    let stays = access.remove_tenant(&me, &team).await;
    assert!(matches!(
        stays,
        Err(AccessError::NotEmpty {
            keys: 1,
            tasks: 0,
            modules: 0
        })
    ));
    let always = access.remove_tenant(&me, &Tenant::default()).await;
    assert!(matches!(always, Err(AccessError::DefaultTenant)));
}

#[tokio::test]
async fn a_host_that_hears_of_no_revocations_lets_nobody_in() {
    let site = Site::new();
    let (here, there) = (site.access(None, true).await, site.access(None, true).await);
    let (key, text) = made(&here, new_key("default", &[Scope::Admin])).await;
    let door = there.door();
    assert!(door.admit(None, peer()).is_ok());
    there.look().await.unwrap();
    assert!(door.admit(Some(&text), peer()).is_ok());
    here.revoke_key(&Caller::local(), key.id).await.unwrap();
    site.later(STALE_AFTER);
    assert!(door.admit(Some(&text), peer()).is_ok());
    site.later(Duration::from_millis(1));
    assert_eq!(door.admit(Some(&text), peer()), Err(Refusal::Stale));
    there.look().await.unwrap();
    assert_eq!(door.admit(Some(&text), peer()), Err(Refusal::Revoked));
}

#[tokio::test]
async fn a_key_that_another_host_made_is_known_after_the_next_look() {
    let site = Site::new();
    let (here, there) = (
        site.access(Some(ADMIN), true).await,
        site.access(Some(ADMIN), true).await,
    );
    let stop = Shutdown::new();
    there.follow(&stop);
    let door = there.door();
    let (_, text) = made(&here, new_key("default", &[Scope::Run])).await;
    while door.admit(Some(&text), peer()).is_err() {
        assert!(door.look_again().await);
    }
    stop.request();
    assert!(stop.drained(Duration::from_secs(60)).await);
}

#[tokio::test]
async fn a_key_and_its_tenant_have_rates_of_their_own() {
    let site = Site::new();
    let access = site.access(Some(ADMIN), false).await;
    let doors = [access.door(), access.door()];
    let (team, me) = (Tenant::parse("team").unwrap(), Caller::local());
    let rules = TenantRules {
        rate: Rate::parse("5/hour", None).ok(),
        ..TenantRules::default()
    };
    access.put_tenant(&me, &team, &rules).await.unwrap();
    let rated = NewKey {
        rate: Rate::parse("1/hour", Some(3)).ok(),
        ..new_key("team", &[Scope::Run])
    };
    let ((_, first), (_, second)) = (
        made(&access, rated).await,
        made(&access, new_key("team", &[Scope::Run])).await,
    );
    // Threads count together.
    for (place, remaining) in [(0, 2), (1, 1), (0, 0)] {
        let admitted = doors[place].admit(Some(&first), peer()).unwrap();
        let standing = admitted.standing.unwrap();
        assert_eq!(
            (standing.whose, standing.remaining),
            (Whose::Key, remaining)
        );
    }
    let Err(Refusal::TooMany(standing)) = doors[1].admit(Some(&first), peer()) else {
        panic!("it has made as many as it may")
    };
    assert_eq!(standing.whose, Whose::Key);
    assert!(standing.wait > Duration::from_secs(50 * 60), "{standing:?}");
    // A change of something else gives nothing back.
    made(&access, new_key("team", &[Scope::Run])).await;
    assert!(doors[0].admit(Some(&first), peer()).is_err());
    for remaining in [1, 0] {
        let admitted = doors[1].admit(Some(&second), peer()).unwrap();
        let standing = admitted.standing.unwrap();
        assert_eq!(
            (standing.whose, standing.remaining),
            (Whose::Tenant, remaining)
        );
    }
    let Err(Refusal::TooMany(standing)) = doors[0].admit(Some(&second), peer()) else {
        panic!("its tenant has made as many as it may")
    };
    assert_eq!(standing.whose, Whose::Tenant);
    assert!(doors[0].admit(Some(ADMIN), peer()).is_ok());
}
