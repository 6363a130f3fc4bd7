//! Names and versions.

use super::fixture::*;
use super::{Backend, Storage};
use crate::{PutModule, StoredModule};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{Digest, ModuleName, ModuleRef};

async fn put(storage: &dyn Storage, text: &str, byte: u8, now: i64) -> PutModule {
    let wasm = vec![byte; 4].into();
    storage
        .put_module(&US, &name(text), &module(byte), wasm, None, at(now))
        .await
        .unwrap()
}

async fn find(storage: &dyn Storage, text: &str, digest: Option<Digest>) -> Option<StoredModule> {
    storage
        .find_module(
            &US,
            &ModuleRef {
                name: name(text),
                digest,
            },
        )
        .await
        .unwrap()
}

pub(crate) async fn a_name_means_what_was_put_last<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    assert_eq!(put(storage, "a", 1, 0).await, PutModule::Created);
    assert_eq!(put(storage, "a", 1, 1).await, PutModule::Unchanged);
    assert_eq!(find(storage, "a", None).await.unwrap().created_at, at(0));
    assert_eq!(put(storage, "a", 2, 2).await, PutModule::Created);
    assert_eq!(find(storage, "a", None).await.unwrap().info, module(2));
    assert_eq!(put(storage, "a", 1, 3).await, PutModule::Created);
    assert_eq!(find(storage, "a", None).await.unwrap().info, module(1));
    assert_eq!(
        storage.module_wasm(&digest(2)).await.unwrap().unwrap(),
        [2; 4][..]
    );
    backend
}

pub(crate) async fn versions_are_kept_and_pinned<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for (byte, now) in [(1, 0), (2, 1), (3, 2)] {
        put(storage, "a", byte, now).await;
    }
    put(storage, "b", 4, 3).await;
    let versions = storage.module_versions(&US, &name("a")).await.unwrap();
    let digests: Vec<_> = versions.iter().map(|version| version.info.digest).collect();
    assert_eq!(digests, [3, 2, 1].map(digest));
    assert_eq!(
        find(storage, "a", Some(digest(1))).await.unwrap().info,
        module(1)
    );
    assert!(find(storage, "a", Some(digest(4))).await.is_none());
    assert!(find(storage, "c", None).await.is_none());
    backend
}

pub(crate) async fn names_are_listed_in_order<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    for text in ["c", "a", "b"] {
        put(storage, text, 1, 0).await;
        put(storage, text, 2, 1).await;
    }
    let list = async |after: Option<&ModuleName>, limit| {
        let found = storage.list_modules(&US, after, limit).await.unwrap();
        assert!(found.iter().all(|module| module.info.digest == digest(2)));
        found
            .into_iter()
            .map(|module| module.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(None, 2).await, ["a", "b"].map(name));
    assert_eq!(list(Some(&name("b")), 1).await, [name("c")]);
    backend
}

pub(crate) async fn a_name_is_its_tenants_or_everybodys<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let them = Tenant::parse("them").unwrap();
    let put = async |tenant: &Tenant, text: &str, byte: u8| {
        let wasm = vec![byte; 4].into();
        let (name, info) = (name(text), module(byte));
        let put = storage.put_module(tenant, &name, &info, wasm, None, at(0));
        put.await.unwrap()
    };
    let found = async |tenant: &Tenant, text: &str, pinned: Option<u8>| {
        let reference = ModuleRef {
            name: name(text),
            digest: pinned.map(digest),
        };
        let found = storage.find_module(tenant, &reference).await.unwrap();
        found.map(|found| found.info.digest)
    };
    // The same name, and the same bytes.
    for (tenant, byte) in [(&US, 2), (&them, 3), (&US, 4), (&them, 4)] {
        assert_eq!(put(tenant, "a", byte).await, PutModule::Created);
    }
    assert_eq!(put(&them, "a", 4).await, PutModule::Unchanged);
    assert_eq!(put(&US, "ours", 5).await, PutModule::Created);
    assert_eq!(put(&them, "public/x", 6).await, PutModule::Created);
    assert_eq!(put(&US, "interpreters/y", 7).await, PutModule::Created);
    assert_eq!(found(&them, "a", None).await, Some(digest(4)));
    assert_eq!(found(&them, "a", Some(2)).await, None);
    assert_eq!(found(&US, "a", Some(3)).await, None);
    assert_eq!(found(&them, "ours", None).await, None);
    assert_eq!(found(&them, "ours", Some(5)).await, None);
    for tenant in [&US, &them] {
        assert_eq!(found(tenant, "public/x", None).await, Some(digest(6)));
        let pinned = found(tenant, "interpreters/y", Some(7)).await;
        assert_eq!(pinned, Some(digest(7)));
    }
    let versions = async |tenant: &Tenant, text: &str| {
        let versions = storage.module_versions(tenant, &name(text)).await.unwrap();
        let digests = versions.into_iter().map(|version| version.info.digest);
        digests.collect::<Vec<_>>()
    };
    assert_eq!(versions(&US, "a").await, [4, 2].map(digest));
    assert_eq!(versions(&them, "a").await, [4, 3].map(digest));
    assert_eq!(versions(&them, "ours").await, []);
    let list = async |tenant: &Tenant, after: Option<&str>, limit: u32| {
        let after = after.map(name);
        let found = storage.list_modules(tenant, after.as_ref(), limit);
        let names = found.await.unwrap().into_iter();
        names
            .map(|found| found.name.to_string())
            .collect::<Vec<_>>()
    };
    let shared = ["interpreters/y", "public/x"];
    assert_eq!(
        list(&US, None, 9).await,
        ["a", "echo", "interpreters/y", "ours", "public/x"]
    );
    assert_eq!(
        list(&them, None, 9).await,
        ["a", "interpreters/y", "public/x"]
    );
    assert_eq!(list(&them, Some("a"), 9).await, shared);
    assert_eq!(list(&them, None, 2).await, ["a", "interpreters/y"]);
    assert_eq!(list(&them, Some("interpreters/y"), 9).await, ["public/x"]);
    assert_eq!(list(&them, Some("public/x"), 9).await, [""; 0]);
    // What one removes stays another's.
    assert!(!storage.remove_module(&them, &name("ours")).await.unwrap());
    assert!(storage.remove_module(&them, &name("a")).await.unwrap());
    assert_eq!(found(&them, "a", None).await, None);
    assert_eq!(found(&US, "a", None).await, Some(digest(4)));
    backend
}
