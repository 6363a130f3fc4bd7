//! Operations on a quota in any order, compared with a simple model.

use std::any::Any;
use std::sync::Arc;

use proptest::prelude::*;

use crate::files::quota::{Axis, DiskExceeded, FileFacts, Ledger, Quota, Refusal, Zone};
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

fn facts(links: u64, size: u64) -> FileFacts {
    FileFacts {
        id: (1, 1),
        regular: true,
        special: false,
        links,
        size,
    }
}

#[test]
fn the_most_that_was_used_is_told_and_the_first_refusal() {
    let quota = Quota::new(100, 2, OverQuota::Kill);
    let mut ledger = quota.try_lock().unwrap();
    assert!(quota.try_lock().is_none());
    assert!(ledger.kills());
    ledger.resized(Zone::Scratch, 0, &facts(1, 80));
    ledger.resized(Zone::Scratch, 80, &facts(1, 10));
    assert_eq!(quota.peak_bytes(), 80);
    assert_eq!(quota.exceeded(), None);
    let exceeded = DiskExceeded {
        axis: Axis::Bytes,
        used: 101,
        allowed: 100,
    };
    let refused = ledger.admit(91, 3).unwrap_err();
    assert!(matches!(refused, Refusal::Kill(told) if told == exceeded));
    assert!(ledger.admit(0, 3).is_err());
    assert_eq!(quota.exceeded(), Some(exceeded));
    let patient = Quota::new(100, 2, OverQuota::Refuse);
    let mut patient = patient.try_lock().unwrap();
    assert!(!patient.kills());
    assert!(matches!(patient.admit(0, 3), Err(Refusal::NoSpace(_))));
}

#[test]
fn what_takes_nothing_more_is_admitted_beyond_the_quota() {
    let quota = Quota::new(100, 1, OverQuota::Refuse);
    let mut ledger = quota.try_lock().unwrap();
    ledger.resized(Zone::Scratch, 0, &facts(1, 101));
    assert!(ledger.admit(0, 1).is_ok());
    ledger.resized(Zone::Scratch, 101, &facts(1, 100));
    ledger.entered();
    ledger.entered();
    assert!(ledger.admit(0, 0).is_ok() && ledger.admit(0, 1).is_err());
    ledger.resized(Zone::Scratch, 100, &facts(1, 99));
    assert!(ledger.admit(1, 0).is_ok() && ledger.admit(2, 0).is_err());
}

#[test]
fn only_what_is_the_guests_alone_is_given_back() {
    let quota = Quota::new(100, 9, OverQuota::Refuse);
    let mut ledger = quota.try_lock().unwrap();
    ledger.resized(Zone::Mount(0), 0, &facts(1, 30));
    ledger.resized(Zone::Mount(0), 30, &facts(1, 0));
    assert_eq!(ledger.in_use(), (30, 0));
    ledger.resized(Zone::Scratch, 0, &facts(1, 40));
    for _ in 0..3 {
        ledger.entered();
    }
    // Its last name is another one.
    ledger.removed(&facts(2, 40));
    assert_eq!(ledger.in_use(), (70, 2));
    let directory = FileFacts {
        regular: false,
        ..facts(1, 4096)
    };
    ledger.removed(&directory);
    assert_eq!(ledger.in_use(), (70, 1));
    ledger.removed(&facts(1, 40));
    assert_eq!(ledger.in_use(), (30, 0));
}

#[test]
fn closed_files_are_forgotten_while_others_stay_open() {
    let quota = Quota::new(u64::MAX, u64::MAX, OverQuota::Refuse);
    let mut ledger = quota.try_lock().unwrap();
    for number in 0..10_000 {
        let handle: Arc<dyn Any + Send + Sync> = Arc::new(());
        ledger.opened((1, number), Arc::downgrade(&handle));
        assert!(ledger.files_known() <= 64);
    }
    let held: Vec<Arc<dyn Any + Send + Sync>> = (0..100).map(|_| Arc::new(()) as _).collect();
    for (number, handle) in (0..).zip(&held) {
        ledger.opened((2, number), Arc::downgrade(handle));
    }
    // Looking through all of them is paid for by as many that were opened meanwhile.
    let mut most = 0;
    for number in 0..10_000 {
        let handle: Arc<dyn Any + Send + Sync> = Arc::new(());
        ledger.opened((3, number), Arc::downgrade(&handle));
        most = most.max(ledger.files_known());
    }
    assert_eq!(most, 200);
}
