//! Names and versions.

use super::fixture::*;
use super::{Backend, Storage};
use crate::{PutModule, StoredModule};
use cofferdam_domain::module::{Digest, ModuleName, ModuleRef};

async fn put(storage: &dyn Storage, text: &str, byte: u8, now: i64) -> PutModule {
    let wasm = vec![byte; 4].into();
    storage
        .put_module(&name(text), &module(byte), wasm, at(now))
        .await
        .unwrap()
}

async fn find(storage: &dyn Storage, text: &str, digest: Option<Digest>) -> Option<StoredModule> {
    storage
        .find_module(&ModuleRef {
            name: name(text),
            digest,
        })
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
    let versions = storage.module_versions(&name("a")).await.unwrap();
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
        let found = storage.list_modules(after, limit).await.unwrap();
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
