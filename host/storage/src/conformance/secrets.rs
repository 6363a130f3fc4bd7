//! Secrets, as backends keep them.

use super::fixture::*;
use super::{Backend, Storage};
use crate::secrets::{PutSecret, SECRETS_MAX};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::secret::{KnownSecret, SecretName};

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

async fn put(storage: &dyn Storage, owner: &str, text: &str, sealed: u8, when: i64) -> PutSecret {
    let (owner, name) = (tenant(owner), name(text));
    let put = storage.put_secret(&owner, &name, vec![sealed], at(when));
    put.await.unwrap()
}

async fn value(storage: &dyn Storage, owner: &str, text: &str) -> Option<Vec<u8>> {
    let (owner, name) = (tenant(owner), name(text));
    storage.secret(&owner, &name).await.unwrap()
}

async fn remove(storage: &dyn Storage, owner: &str, text: &str) -> bool {
    let (owner, name) = (tenant(owner), name(text));
    storage.remove_secret(&owner, &name).await.unwrap()
}

async fn all(storage: &dyn Storage, owner: &str) -> Vec<KnownSecret> {
    storage.secrets(&tenant(owner)).await.unwrap()
}

pub(crate) async fn a_secret_is_its_tenants_alone<B: Backend>(backend: B) -> B {
    {
        let storage = backend.storage();
        assert_eq!(put(storage, "a", "token", 1, 1).await, PutSecret::Created);
        assert_eq!(put(storage, "b", "token", 2, 2).await, PutSecret::Created);
        assert_eq!(put(storage, "a", "token", 3, 3).await, PutSecret::Replaced);
        assert_eq!(put(storage, "a", "Other", 4, 4).await, PutSecret::Created);
    }
    let backend = backend.reopened().await;
    {
        let storage = backend.storage();
        let known = |text: &str, created: i64, updated: i64| KnownSecret {
            name: name(text),
            created_at: at(created),
            updated_at: at(updated),
        };
        let of_a = [known("Other", 4, 4), known("token", 1, 3)];
        assert_eq!(all(storage, "a").await, of_a);
        assert_eq!(all(storage, "b").await, [known("token", 2, 2)]);
        assert_eq!(value(storage, "a", "token").await, Some(vec![3]));
        assert_eq!(value(storage, "b", "token").await, Some(vec![2]));
        assert_eq!(value(storage, "b", "Other").await, None);
        assert!(!remove(storage, "b", "Other").await);
        assert!(remove(storage, "b", "token").await);
        assert!(!remove(storage, "b", "token").await);
        assert_eq!(value(storage, "b", "token").await, None);
        assert_eq!(all(storage, "a").await, of_a);
    }
    backend
}

pub(crate) async fn no_more_secrets_than_there_may_be<B: Backend>(backend: B) -> B {
    {
        let storage = backend.storage();
        for number in 0..SECRETS_MAX {
            let is_new = put(storage, "a", &format!("s{number}"), 1, 1).await;
            assert_eq!(is_new, PutSecret::Created);
        }
        assert_eq!(put(storage, "a", "more", 1, 1).await, PutSecret::TooMany);
        assert_eq!(put(storage, "a", "s0", 1, 1).await, PutSecret::Replaced);
        assert_eq!(put(storage, "b", "more", 1, 1).await, PutSecret::Created);
    }
    backend
}

pub(crate) async fn secrets_go_with_their_tenant<B: Backend>(backend: B) -> B {
    {
        let (storage, team) = (backend.storage(), tenant("team"));
        let rules = TenantRules::default();
        storage.put_tenant(&team, &rules, at(0)).await.unwrap();
        put(storage, "team", "token", 1, 1).await;
        storage.remove_tenant(&team, at(2)).await.unwrap();
        assert_eq!(all(storage, "team").await, []);
    }
    backend
}
