//! Mapped and linked modules, so that a run begins without a disk access.
//!
//! A hit only takes a shared lock. A miss is loaded once, however many callers wait for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::OnceCell;

use cofferdam_domain::module::Digest;
use cofferdam_sandbox::EngineClass;

/// The mapped modules, counted separately for each class.
pub(crate) struct LoadedModules<M> {
    fast: Class<M>,
    metered: Class<M>,
    interpreter: Class<M>,
    unchecked: Class<M>,
    max: usize,
    /// Grows by two with each loaded module. A use is marked one above the present value: after all
    /// modules loaded before it. Uses between two loads need no order, and a hit does not write to
    /// memory that another thread's hit reads.
    loads: AtomicU64,
}

type Class<M> = RwLock<HashMap<Digest, Arc<Slot<M>>>>;

struct Slot<M> {
    module: OnceCell<Arc<M>>,
    used: AtomicU64,
}

impl<M> LoadedModules<M> {
    /// Keeps `max` of each class, at least one.
    pub(crate) fn new(max: usize) -> LoadedModules<M> {
        LoadedModules {
            fast: RwLock::default(),
            metered: RwLock::default(),
            interpreter: RwLock::default(),
            unchecked: RwLock::default(),
            max: max.max(1),
            loads: AtomicU64::new(0),
        }
    }

    /// The module, if it is mapped.
    pub(crate) fn get(&self, digest: Digest, class: EngineClass) -> Option<Arc<M>> {
        let slots = self
            .class(class)
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get(&digest)?;
        let module = slot.module.get()?;
        let used = self.loads.load(Ordering::Relaxed) + 1;
        if slot.used.load(Ordering::Relaxed) != used {
            slot.used.store(used, Ordering::Relaxed);
        }
        Some(Arc::clone(module))
    }

    /// The module, loaded by `load` if it is not mapped. If `load` fails, its caller gets the error
    /// and the next waiter tries again.
    pub(crate) async fn get_or_load<E, F>(
        &self,
        digest: Digest,
        class: EngineClass,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<M>, E>
    where
        F: Future<Output = Result<Arc<M>, E>>,
    {
        if let Some(module) = self.get(digest, class) {
            return Ok(module);
        }
        let slot = self.slot(digest, class);
        slot.module.get_or_try_init(load).await.map(Arc::clone)
    }

    /// Forgets a version in every class. Runs in progress keep it mapped until they end.
    pub(crate) fn remove(&self, digest: Digest) {
        for class in EngineClass::ALL {
            let mut slots = self
                .class(class)
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            slots.remove(&digest);
        }
    }

    /// Forgets every version in every class; they are loaded again when they are used.
    pub(crate) fn clear(&self) {
        for class in EngineClass::ALL {
            let forgotten = {
                let mut slots = self
                    .class(class)
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut *slots)
            };
            // They are unmapped without the lock.
            drop(forgotten);
        }
    }

    fn slot(&self, digest: Digest, class: EngineClass) -> Arc<Slot<M>> {
        let mut slots = self
            .class(class)
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= self.max && !slots.contains_key(&digest) {
            let least = slots
                .iter()
                .min_by_key(|(_, slot)| slot.used.load(Ordering::Relaxed));
            if let Some(digest) = least.map(|(digest, _)| *digest) {
                slots.remove(&digest);
            }
        }
        let used = AtomicU64::new(self.loads.fetch_add(2, Ordering::Relaxed) + 2);
        let fresh = || {
            Arc::new(Slot {
                module: OnceCell::new(),
                used,
            })
        };
        Arc::clone(slots.entry(digest).or_insert_with(fresh))
    }

    fn class(&self, class: EngineClass) -> &Class<M> {
        match class {
            EngineClass::Fast => &self.fast,
            EngineClass::Metered => &self.metered,
            EngineClass::Interpreter => &self.interpreter,
            EngineClass::Unchecked => &self.unchecked,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::from_bytes([n; 32])
    }

    async fn load(modules: &LoadedModules<u8>, n: u8) -> Arc<u8> {
        let load = || async { Ok::<_, Infallible>(Arc::new(n)) };
        modules
            .get_or_load(digest(n), EngineClass::Fast, load)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn concurrent_loads_of_one_version_are_one() {
        let modules = LoadedModules::new(4);
        let loads = AtomicUsize::new(0);
        let one = || {
            modules.get_or_load(digest(1), EngineClass::Fast, || async {
                loads.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Arc::new(1))
            })
        };
        let (a, b, c) = tokio::join!(one(), one(), one());
        assert!(Arc::ptr_eq(&a.unwrap(), &b.unwrap()) && c.is_ok());
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_failed_load_is_tried_again() {
        let modules = LoadedModules::<u8>::new(4);
        let fails = || async { Err::<Arc<u8>, _>("no") };
        assert!(
            modules
                .get_or_load(digest(1), EngineClass::Fast, fails)
                .await
                .is_err()
        );
        assert_eq!(*load(&modules, 1).await, 1);
    }

    #[tokio::test]
    async fn the_least_recently_used_gives_way() {
        let modules = LoadedModules::new(2);
        load(&modules, 1).await;
        load(&modules, 2).await;
        load(&modules, 1).await;
        load(&modules, 3).await;
        assert!(modules.get(digest(1), EngineClass::Fast).is_some());
        assert!(modules.get(digest(2), EngineClass::Fast).is_none());
        assert!(modules.get(digest(3), EngineClass::Fast).is_some());
        assert!(modules.get(digest(3), EngineClass::Metered).is_none());
        modules.remove(digest(3));
        assert!(modules.get(digest(3), EngineClass::Fast).is_none());
        modules.clear();
        assert!(modules.get(digest(1), EngineClass::Fast).is_none());
    }
}
