//! Keys and tenants.

use std::time::Duration;

use super::fixture::*;
use super::{Backend, Storage};
use crate::{AccessState, DEAD_KEYS_KEPT, PutKey, PutTenant, RemovedTenant, RotatedKey};
use cofferdam_domain::caller::key::{Key, KeyId, KeyName, KeyState, SecretHash};
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::caller::{Scope, Tenant};
use cofferdam_domain::limits::LimitRequest;
use cofferdam_domain::module::ModuleName;
use cofferdam_domain::rate::Rate;
use cofferdam_domain::whose::Whose;

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

fn key_id(byte: u8) -> KeyId {
    KeyId::from_bytes([byte; 8])
}

fn key(byte: u8) -> Key {
    Key {
        id: key_id(byte),
        hash: SecretHash([byte; 32]),
        tenant: Tenant::default(),
        name: KeyName::parse("CI").unwrap(),
        scopes: [Scope::Run, Scope::Admin].into_iter().collect(),
        rate: None,
        created_at: at(0),
        expires_at: None,
        revoked_at: None,
        replaced_by: None,
    }
}

async fn all(storage: &dyn Storage) -> AccessState {
    storage.access(None).await.unwrap().unwrap()
}

async fn put(storage: &dyn Storage, key: &Key) {
    let put = storage.put_key(key.clone(), key.created_at).await.unwrap();
    assert_eq!(put, PutKey::Stored);
}

pub(crate) async fn keys_are_listed_with_what_was_said_of_them<B: Backend>(backend: B) -> B {
    let backend = {
        let storage = backend.storage();
        assert_eq!(all(storage).await.keys, []);
        let full = Key {
            rate: Some(Rate::parse("10/minute", Some(30)).unwrap()),
            expires_at: Some(at(9)),
            scopes: Scope::ALL.into_iter().collect(),
            ..key(9)
        };
        let bare = Key {
            scopes: [].into_iter().collect(),
            ..key(1)
        };
        put(storage, &full).await;
        put(storage, &bare).await;
        assert_eq!(all(storage).await.keys, [bare, full]);
        backend
    };
    let before = all(backend.storage()).await;
    let backend = backend.reopened().await;
    assert_eq!(all(backend.storage()).await, before);
    backend
}

pub(crate) async fn a_key_is_for_a_tenant_that_exists<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let stranger = Key {
        tenant: tenant("nobody"),
        ..key(1)
    };
    let put = storage.put_key(stranger, at(0)).await.unwrap();
    assert_eq!(put, PutKey::NoTenant);
    assert_eq!(all(storage).await.keys, []);
    backend
}

pub(crate) async fn a_key_is_revoked_once<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    put(storage, &key(1)).await;
    assert_eq!(storage.revoke_key(key_id(2), at(1)).await.unwrap(), None);
    for now in [at(5), at(6)] {
        let revoked = storage.revoke_key(key_id(1), now).await.unwrap().unwrap();
        assert_eq!(revoked.revoked_at, Some(at(5)));
        assert_eq!(revoked.state(now), KeyState::Revoked);
        assert_eq!(all(storage).await.keys, [revoked]);
    }
    backend
}

pub(crate) async fn a_rotated_key_ends_and_its_successor_does_not<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    put(storage, &key(1)).await;
    let rotate = async |old, new, until, now| {
        let new = (key_id(new), SecretHash([new; 32]));
        let rotated = storage.rotate_key(key_id(old), new, at(until), at(now));
        rotated.await.unwrap()
    };
    let RotatedKey::Replaced(successor) = rotate(1, 2, 20, 10).await else {
        panic!("it is live")
    };
    let expected = Key {
        id: key_id(2),
        hash: SecretHash([2; 32]),
        created_at: at(10),
        ..key(1)
    };
    assert_eq!(*successor, expected);
    let before = Key {
        expires_at: Some(at(20)),
        replaced_by: Some(key_id(2)),
        ..key(1)
    };
    assert_eq!(all(storage).await.keys, [before, expected]);
    // What is over has no successor; and a rotation makes no end later.
    assert_eq!(rotate(1, 3, 99, 20).await, RotatedKey::NotLive);
    assert_eq!(rotate(7, 3, 99, 20).await, RotatedKey::NotLive);
    rotate(1, 3, 99, 19).await;
    let keys = all(storage).await.keys;
    assert_eq!((keys.len(), keys[0].expires_at), (3, Some(at(20))));
    backend
}

pub(crate) async fn a_state_is_read_again_only_when_it_has_changed<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let mut version = all(storage).await.version;
    assert_eq!(storage.access(Some(version)).await.unwrap(), None);
    let mut changed = async || {
        let state = storage.access(Some(version)).await.unwrap().unwrap();
        assert!(state.version > version);
        version = state.version;
        assert_eq!(storage.access(Some(version)).await.unwrap(), None);
    };
    put(storage, &key(1)).await;
    changed().await;
    let new = (key_id(2), SecretHash([2; 32]));
    let rotated = storage.rotate_key(key_id(1), new, at(9), at(1)).await;
    assert!(matches!(rotated, Ok(RotatedKey::Replaced(_))));
    changed().await;
    storage.revoke_key(key_id(1), at(2)).await.unwrap();
    changed().await;
    let (name, rules) = (tenant("a"), TenantRules::default());
    storage.put_tenant(&name, &rules, at(3)).await.unwrap();
    changed().await;
    storage.remove_tenant(&name, at(4)).await.unwrap();
    changed().await;
    backend
}

pub(crate) async fn dead_keys_are_forgotten_and_the_last_is_not<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let expires = Key {
        expires_at: Some(at(3)),
        ..key(2)
    };
    put(storage, &key(1)).await;
    put(storage, &expires).await;
    storage.revoke_key(key_id(1), at(2)).await.unwrap();
    let ids = async || {
        let keys = all(storage).await.keys;
        keys.iter().map(|key| key.id).collect::<Vec<_>>()
    };
    let long_after = at(3).plus(DEAD_KEYS_KEPT);
    let later = long_after.plus(Duration::from_millis(1));
    storage.put_key(key(3), long_after).await.unwrap();
    assert_eq!(ids().await, [key_id(2), key_id(3)]);
    storage.revoke_key(key_id(3), later).await.unwrap();
    storage.put_key(key(4), later).await.unwrap();
    assert_eq!(ids().await, [key_id(3), key_id(4)]);
    backend
}

/// Rules that say something of everything.
fn rules() -> TenantRules {
    TenantRules {
        weight: 3,
        pending_max: Some(1),
        running_max: Some(2),
        storage_bytes: Some(4),
        cpu_ms_per_day: Some(5),
        sessions_max: Some(6),
        rate: Some(Rate::parse("7/second", Some(8)).unwrap()),
        ceilings: LimitRequest {
            timeout: Some(Duration::from_millis(9)),
            cpu: Some(Duration::from_millis(10)),
            fuel: Some(11),
            memory_bytes: Some(12),
            table_elements: Some(13),
            disk_bytes: Some(14),
            disk_files: Some(15),
            output_bytes: Some(16),
        },
        egress: Some(vec!["*.example.org:443".parse().unwrap()]),
        dirs: Some(Vec::new()),
    }
}

pub(crate) async fn tenants_are_made_and_replaced<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let first = all(storage).await.tenants;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].name, Tenant::default());
    assert_eq!(first[0].rules, TenantRules::default());
    let put = async |rules: &TenantRules, now| {
        let team = tenant("team");
        storage.put_tenant(&team, rules, at(now)).await.unwrap()
    };
    assert_eq!(put(&rules(), 1).await, PutTenant::Created);
    let tenants = all(storage).await.tenants;
    assert_eq!(
        (&tenants[1].name, &tenants[1].rules),
        (&tenant("team"), &rules())
    );
    assert_eq!(tenants[1].created_at, at(1));
    assert_eq!(put(&TenantRules::default(), 2).await, PutTenant::Replaced);
    let tenants = all(storage).await.tenants;
    assert_eq!(tenants[1].rules, TenantRules::default());
    assert_eq!(tenants[1].created_at, at(1));
    backend
}

pub(crate) async fn a_tenant_goes_only_when_it_has_nothing<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let team = tenant("team");
    let remove = async |now| storage.remove_tenant(&team, at(now)).await.unwrap();
    assert_eq!(remove(0).await, RemovedTenant::Unknown);
    storage.put_tenant(&team, &rules(), at(0)).await.unwrap();
    let of_team = Key {
        tenant: team.clone(),
        expires_at: Some(at(9)),
        ..key(1)
    };
    put(storage, &of_team).await;
    let mut task = new_task(1);
    task.tenant = team.clone();
    insert(storage, task).await;
    let name = ModuleName::parse("own").unwrap();
    let wasm = vec![7; 4].into();
    let info = module(7);
    let put = storage.put_module(&team, &name, &info, wasm, None, at(0));
    put.await.unwrap();
    assert_eq!(
        remove(1).await,
        RemovedTenant::NotEmpty {
            keys: 1,
            tasks: 1,
            modules: 1
        }
    );
    assert_eq!(
        remove(9).await,
        RemovedTenant::NotEmpty {
            keys: 0,
            tasks: 1,
            modules: 1
        }
    );
    storage.cancel(&Whose::All, id(1), at(2)).await.unwrap();
    storage.purge(&Whose::All, id(1)).await.unwrap();
    assert_eq!(
        remove(1).await,
        RemovedTenant::NotEmpty {
            keys: 1,
            tasks: 0,
            modules: 1
        }
    );
    storage.remove_module(&team, &name).await.unwrap();
    assert_eq!(remove(9).await, RemovedTenant::Removed);
    assert_eq!(all(storage).await.tenants.len(), 1);
    backend
}
