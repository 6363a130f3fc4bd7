//! Operations on a quota in any order, compared with a simple model.

use std::any::Any;
use std::sync::Arc;

use proptest::prelude::*;

use crate::files::quota::{FileFacts, Ledger, Quota, Zone};
use crate::settings::OverQuota;

const BYTES_MAX: u64 = 1000;
const ENTRIES_MAX: u64 = 8;
const FILES: usize = 4;

/// What a guest does to one of a few files.
#[derive(Clone, Debug)]
enum Operation {
    Create(usize),
    Resize(usize, u64),
    Unlink(usize),
    Open(usize),
    Close(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    let file = 0..FILES;
    prop_oneof![
        file.clone().prop_map(Operation::Create),
        (file.clone(), 0..600_u64).prop_map(|(file, size)| Operation::Resize(file, size)),
        file.clone().prop_map(Operation::Unlink),
        file.clone().prop_map(Operation::Open),
        file.prop_map(Operation::Close),
    ]
}

/// A file on the disk: it has a name, is held open, both or neither.
#[derive(Default)]
struct File {
    named: bool,
    size: u64,
    handle: Option<Arc<dyn Any + Send + Sync>>,
}

impl File {
    fn exists(&self) -> bool {
        self.named || self.handle.is_some()
    }

    fn open(&mut self, number: usize, ledger: &mut Ledger) {
        let handle: Arc<dyn Any + Send + Sync> = Arc::new(());
        ledger.opened(self.facts(number).id, Arc::downgrade(&handle));
        self.handle = Some(handle);
    }

    fn facts(&self, number: usize) -> FileFacts {
        FileFacts {
            id: (1, number as u64),
            regular: true,
            special: false,
            links: u64::from(self.named),
            size: self.size,
        }
    }
}

fn apply(operation: &Operation, files: &mut [File; FILES], ledger: &mut Ledger) {
    match *operation {
        Operation::Create(number) => {
            let file = &mut files[number];
            if !file.exists() && ledger.admit(0, 1).is_ok() {
                (file.named, file.size) = (true, 0);
                ledger.entered();
                file.open(number, ledger);
            }
        }
        Operation::Resize(number, size) => {
            let file = &mut files[number];
            let before = file.size;
            if file.exists() && ledger.admit(size.saturating_sub(before), 0).is_ok() {
                file.size = size;
                ledger.resized(Zone::Scratch, before, &file.facts(number));
            }
        }
        Operation::Unlink(number) => {
            let file = &mut files[number];
            if file.named {
                let was = file.facts(number);
                file.named = false;
                ledger.removed(&was);
            }
        }
        Operation::Open(number) => {
            let file = &mut files[number];
            if file.named && file.handle.is_none() {
                file.open(number, ledger);
            }
        }
        Operation::Close(number) => files[number].handle = None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_quota_is_never_passed_and_nothing_of_it_is_lost(
        operations in proptest::collection::vec(operation(), 0..60),
    ) {
        let quota = Quota::new(BYTES_MAX, ENTRIES_MAX, OverQuota::Refuse);
        let mut ledger = quota.try_lock().unwrap();
        let mut files: [File; FILES] = Default::default();
        for operation in &operations {
            apply(operation, &mut files, &mut ledger);
            let held: u64 = files.iter().filter(|it| it.exists()).map(|it| it.size).sum();
            prop_assert!(held <= BYTES_MAX, "{operation:?} leaves {held} bytes");
        }
        // The rest of the quota can be used, to the byte and to the entry, and no more.
        let held: u64 = files.iter().filter(|it| it.exists()).map(|it| it.size).sum();
        let named = files.iter().filter(|it| it.named).count() as u64;
        prop_assert!(held == BYTES_MAX || ledger.admit(BYTES_MAX - held, 0).is_ok());
        prop_assert!(ledger.admit(BYTES_MAX - held + 1, 0).is_err());
        prop_assert!(named == ENTRIES_MAX || ledger.admit(0, ENTRIES_MAX - named).is_ok());
        prop_assert!(ledger.admit(0, ENTRIES_MAX - named + 1).is_err());
    }
}
