//! Definitions of workflows: versions that never change, under names that mean the newest.

use super::fixture::*;
use super::{Backend, Storage};
use crate::{DEFINITIONS_MAX, NewDefinition, PutDefinition, StorageError, StoredDefinition};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::module::Digest;
use cofferdam_domain::workflow::definition::{DefinitionName, DefinitionRef};

fn them() -> Tenant {
    Tenant::parse("them").unwrap()
}

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

fn named(text: &str) -> DefinitionName {
    DefinitionName::parse(text).unwrap()
}

fn new(name: &str, number: u8) -> NewDefinition {
    NewDefinition {
        name: named(name),
        digest: digest(number),
        text: format!("text {number}"),
        size_bytes: 10,
    }
}

async fn put(storage: &dyn Storage, name: &str, number: u8, now: i64) -> PutDefinition {
    let put = storage.put_definition(&US, new(name, number), None, at(now));
    put.await.unwrap()
}

async fn find(
    storage: &dyn Storage,
    tenant: &Tenant,
    name: &str,
    version: Option<u8>,
) -> Option<(StoredDefinition, String)> {
    let reference = DefinitionRef {
        name: named(name),
        digest: version.map(digest),
    };
    storage.find_definition(tenant, &reference).await.unwrap()
}

async fn versions(storage: &dyn Storage, name: &str) -> Vec<Digest> {
    let versions = storage.definition_versions(&US, &named(name)).await;
    let versions = versions.unwrap().into_iter();
    versions.map(|version| version.digest).collect()
}

pub(crate) async fn a_definition_means_what_was_put_last<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    assert_eq!(put(storage, "a", 1, 1).await, PutDefinition::Created);
    assert_eq!(put(storage, "a", 1, 2).await, PutDefinition::Unchanged);
    assert_eq!(put(storage, "a", 2, 3).await, PutDefinition::Created);
    let backend = backend.reopened().await;
    let storage = backend.storage();
    let newest = StoredDefinition {
        name: named("a"),
        digest: digest(2),
        size_bytes: 10,
        created_at: at(3),
    };
    let found = find(storage, &US, "a", None).await;
    assert_eq!(found, Some((newest, "text 2".to_owned())));
    let pinned = find(storage, &US, "a", Some(1)).await.unwrap();
    assert_eq!((pinned.0.created_at, &*pinned.1), (at(1), "text 1"));
    assert_eq!(find(storage, &US, "a", Some(3)).await, None);
    assert_eq!(versions(storage, "a").await, [digest(2), digest(1)]);
    // One that comes back is the newest again.
    assert_eq!(put(storage, "a", 1, 4).await, PutDefinition::Created);
    assert_eq!(versions(storage, "a").await, [digest(1), digest(2)]);
    assert!(storage.remove_definition(&US, &named("a")).await.unwrap());
    assert!(!storage.remove_definition(&US, &named("a")).await.unwrap());
    assert_eq!(find(storage, &US, "a", Some(1)).await, None);
    backend
}

pub(crate) async fn definitions_are_listed_by_name<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for (name, number) in [("b", 1), ("a.c", 2), ("a-b", 3), ("b", 4), ("c", 1)] {
        put(storage, name, number, 1).await;
    }
    let list = async |after: Option<&str>, limit| -> Vec<String> {
        let after = after.map(named);
        let listed = storage.list_definitions(&US, after.as_ref(), limit).await;
        let listed = listed.unwrap().into_iter();
        listed
            .map(|it| format!("{}{}", it.name, it.digest.as_bytes()[0]))
            .collect()
    };
    assert_eq!(list(None, 9).await, ["a-b3", "a.c2", "b4", "c1"]);
    assert_eq!(list(Some("a-b"), 2).await, ["a.c2", "b4"]);
    assert!(list(Some("c"), 9).await.is_empty());
    backend
}

pub(crate) async fn definitions_are_counted_and_bounded<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let before = storage.holdings(&US).await.unwrap().kept_bytes;
    let kept = async || storage.holdings(&US).await.unwrap().kept_bytes - before;
    put(storage, "a", 1, 1).await;
    put(storage, "b", 1, 1).await;
    assert_eq!(kept().await, 20);
    let limit = Some(before + 29);
    let refused = storage.put_definition(&US, new("b", 2), limit, at(2)).await;
    assert!(
        matches!(refused, Err(StorageError::OverQuota(told)) if told.used == before + 20),
        "{refused:?}"
    );
    // What is there already needs no room.
    let same = storage
        .put_definition(&US, new("b", 1), Some(0), at(2))
        .await;
    assert_eq!(same.unwrap(), PutDefinition::Unchanged);
    put(storage, "b", 2, 3).await;
    storage.remove_definition(&US, &named("b")).await.unwrap();
    assert_eq!(kept().await, 10);
    for number in 1..DEFINITIONS_MAX {
        put(storage, &format!("n{number}"), 7, 4).await;
    }
    assert_eq!(put(storage, "more", 7, 5).await, PutDefinition::TooMany);
    assert_eq!(put(storage, "n7", 8, 5).await, PutDefinition::TooMany);
    assert_eq!(put(storage, "n7", 7, 5).await, PutDefinition::Unchanged);
    let them = them();
    let theirs = storage.put_definition(&them, new("a", 1), None, at(5));
    assert_eq!(theirs.await.unwrap(), PutDefinition::Created);
    backend
}

pub(crate) async fn definitions_are_their_tenants<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let (them, rules) = (them(), TenantRules::default());
    storage.put_tenant(&them, &rules, at(0)).await.unwrap();
    put(storage, "a", 1, 1).await;
    assert_eq!(find(storage, &them, "a", None).await, None);
    assert_eq!(find(storage, &them, "a", Some(1)).await, None);
    assert!(!storage.remove_definition(&them, &named("a")).await.unwrap());
    let listed = storage.list_definitions(&them, None, 9).await.unwrap();
    assert_eq!(listed, []);
    let theirs = storage.put_definition(&them, new("a", 2), None, at(2));
    assert_eq!(theirs.await.unwrap(), PutDefinition::Created);
    // They go with it.
    storage.remove_tenant(&them, at(3)).await.unwrap();
    assert_eq!(find(storage, &them, "a", None).await, None);
    let ours = find(storage, &US, "a", None).await.unwrap();
    assert_eq!(ours.0.digest, digest(1));
    backend
}
