//! The audit trail: what was noted is read back in one chain, and whoever changes it is found out.

use uuid::Uuid;

use super::Tampered;
use super::fixture::*;
use crate::trail::{Broken, Entry, Fault, Link, Order, Verified, Wanted, after};
use crate::verify::verify;
use cofferdam_domain::audit::{Note, Outcome, Text};

/// The note of that number.
pub(crate) fn note(number: u64) -> Note {
    let kinds = ["put_module", "create_key", "revoke_key"];
    let place = usize::try_from(number).unwrap() % kinds.len();
    Note {
        id: Uuid::from_u128(number.into()),
        at: at(i64::try_from(number).unwrap()),
        tenant: Text::of(if number.is_multiple_of(2) {
            "even"
        } else {
            "odd"
        }),
        actor: Text::of(&format!("{number:016x}")),
        origin: Text::of("2001:db8::1"),
        action: Text::of(kinds[place]),
        resource: Text::of("/v1/modules/é\0"),
        outcome: Outcome::ALL[place],
        status: 200,
        count: number,
        detail: Text::of(""),
    }
}

/// A backend with so many notes in its trail.
async fn noted<B: Tampered>(backend: B, count: u64) -> B {
    let notes: Vec<Note> = (1..=count).map(note).collect();
    for some in notes.chunks(crate::trail::NOTES_MAX) {
        backend.storage().append(some.to_vec()).await.unwrap();
    }
    backend
}

async fn all<B: Tampered>(backend: &B) -> Vec<Entry> {
    let wanted = Wanted {
        order: Order::Oldest,
        ..Wanted::default()
    };
    let page = backend.storage().entries(&wanted, 1000).await.unwrap();
    assert_eq!(page.next, None);
    page.entries
}

fn verified<B: Tampered>(backend: &B, noted: Option<Link>) -> Verified {
    verify(&backend.config(), noted).unwrap()
}

/// That the trail is broken there, and in no other way.
#[track_caller]
fn is_broken<B: Tampered>(backend: &B, seq: u64, fault: Fault) {
    assert_eq!(verified(backend, None).broken, Some(Broken { seq, fault }));
}

pub(crate) async fn entries_are_read_as_they_were_noted<B: Tampered>(backend: B) -> B {
    let backend = noted(backend, 3).await;
    // A call whose answer was lost is repeated, and so is one of which only a part is new.
    let again = vec![note(2), note(3), note(4)];
    backend.storage().append(again).await.unwrap();
    let backend = backend.reopened().await;
    let entries = all(&backend).await;
    let mut last = Link::default();
    for (entry, number) in entries.iter().zip(1..) {
        assert_eq!(*entry, after(last, note(number)));
        last = entry.link();
    }
    assert_eq!(last.seq, 4);
    let whole = verified(&backend, Some(entries[1].link()));
    assert_eq!((whole.entries, whole.broken), (4, None));
    assert_eq!(whole.ends.head, last);
    backend
}

pub(crate) async fn entries_are_found_and_cut_into_pages<B: Tampered>(backend: B) -> B {
    let backend = noted(backend, 30).await;
    let numbers = async |wanted: Wanted, limit: u32| {
        let (mut wanted, mut numbers) = (wanted, Vec::new());
        loop {
            let page = backend.storage().entries(&wanted, limit).await.unwrap();
            assert!(page.entries.len() <= limit as usize);
            numbers.extend(page.entries.iter().map(|entry| entry.note.count));
            wanted.after = page.next;
            if page.next.is_none() {
                return numbers;
            }
        }
    };
    let newest: Vec<u64> = (1..=30).rev().collect();
    let oldest: Vec<u64> = (1..=30).collect();
    for limit in [1, 7, 30, 1000] {
        assert_eq!(numbers(Wanted::default(), limit).await, newest);
        let wanted = Wanted {
            order: Order::Oldest,
            ..Wanted::default()
        };
        assert_eq!(numbers(wanted, limit).await, oldest);
    }
    let wanted = Wanted {
        since: Some(at(21)),
        tenant: Some(Text::of("even")),
        ..Wanted::default()
    };
    assert_eq!(numbers(wanted, 2).await, [30, 28, 26, 24, 22]);
    let wanted = Wanted {
        action: Some(Text::of("create_key")),
        actor: Some(Text::of("000000000000000d")),
        ..Wanted::default()
    };
    assert_eq!(numbers(wanted, 2).await, [13]);
    backend
}

pub(crate) async fn what_is_appended_at_once_is_one_chain<B: Tampered>(backend: B) -> B {
    let storage = backend.storage();
    let appends = (0..20).map(|batch| {
        let notes = (1..=10).map(|number| note(10 * batch + number)).collect();
        storage.append(notes)
    });
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    let whole = verified(&backend, None);
    assert_eq!((whole.entries, whole.broken), (200, None));
    let mut numbers: Vec<u64> = all(&backend)
        .await
        .iter()
        .map(|entry| entry.note.count)
        .collect();
    // Those of one call stay together and in their order.
    for batch in numbers.chunks(10) {
        assert!(batch.is_sorted() && batch[9] - batch[0] == 9, "{batch:?}");
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=200));
    backend
}

pub(crate) async fn nobody_changes_what_was_appended<B: Tampered>(backend: B) -> B {
    let backend = noted(backend, 5).await;
    for sql in [
        "UPDATE TRAIL SET actor = 'nobody' WHERE seq = 3",
        "UPDATE TRAIL SET seq = 9 WHERE seq = 5",
        "DELETE FROM TRAIL WHERE seq = 1",
        "DELETE FROM TRAIL",
        "INSERT INTO TRAIL SELECT 6, NEWID, at, tenant, actor, origin, action, resource, outcome, status,
            count, detail, previous, hash FROM TRAIL WHERE seq = 5",
        "DELETE FROM TRAIL_ends",
        "UPDATE TRAIL_ends SET head_seq = 4",
        "UPDATE TRAIL_ends SET gone_seq = 6",
    ] {
        backend.refuses(sql);
    }
    assert_eq!(verified(&backend, None).broken, None);
    assert_eq!(all(&backend).await.len(), 5);
    backend
}

pub(crate) async fn whoever_tampers_is_found_out<B: Tampered>(backend: B) -> B {
    let backend = noted(backend, 9).await;
    let entries = all(&backend).await;
    backend.tamper("UPDATE TRAIL SET actor = 'nobody' WHERE seq = 3");
    is_broken(&backend, 3, Fault::Changed);
    // With the hash that it would have had.
    let mut forged = note(3);
    forged.actor = Text::of("nobody");
    let forged = after(entries[1].link(), forged);
    let hex = |link: Link| link.to_string().split_once(':').unwrap().1.to_owned();
    let hash = hex(forged.link());
    backend.tamper(&format!(
        "UPDATE TRAIL SET hash = HEX[{hash}] WHERE seq = 3"
    ));
    is_broken(&backend, 4, Fault::Unlinked);
    let (actor, hash) = (entries[2].note.actor.as_str(), hex(entries[2].link()));
    backend.tamper(&format!(
        "UPDATE TRAIL SET actor = '{actor}', hash = HEX[{hash}] WHERE seq = 3"
    ));
    assert_eq!(verified(&backend, None).broken, None);
    // Two changed places.
    let swap = "UPDATE TRAIL SET seq = -5 WHERE seq = 5; UPDATE TRAIL SET seq = 5 WHERE seq = 6;
        UPDATE TRAIL SET seq = 6 WHERE seq = -5";
    backend.tamper(swap);
    is_broken(&backend, 5, Fault::Changed);
    backend.tamper(swap);
    assert_eq!(verified(&backend, None).broken, None);
    // One was put behind the last.
    backend.tamper(
        "INSERT INTO TRAIL SELECT 10, NEWID, at, tenant, actor, origin, action, resource, outcome, status,
            count, detail, previous, hash FROM TRAIL WHERE seq = 9",
    );
    is_broken(&backend, 10, Fault::Changed);
    backend.tamper("DELETE FROM TRAIL WHERE seq = 10");
    assert_eq!(verified(&backend, None).broken, None);
    // One was put in between, and those behind it were numbered anew.
    backend.tamper(
        "UPDATE TRAIL SET seq = -seq WHERE seq >= 8; UPDATE TRAIL SET seq = 1 - seq WHERE seq < 0;
         INSERT INTO TRAIL SELECT 8, NEWID, at, tenant, actor, origin, action, resource, outcome, status,
            count, detail, previous, hash FROM TRAIL WHERE seq = 7",
    );
    is_broken(&backend, 8, Fault::Changed);
    // One was removed.
    backend.tamper("DELETE FROM TRAIL WHERE seq = 7");
    is_broken(&backend, 7, Fault::Missing);
    // The end was cut off.
    backend.tamper("DELETE FROM TRAIL WHERE seq > 3");
    is_broken(&backend, 4, Fault::Missing);
    backend
}

pub(crate) async fn a_trail_made_anew_is_found_out_by_a_note<B: Tampered>(backend: B) -> B {
    let backend = noted(backend, 4).await;
    let entries = all(&backend).await;
    let (third, head) = (entries[2].link(), entries[3].link());
    let hex = third.to_string().split_once(':').unwrap().1.to_owned();
    // The end was cut off with what tells of it.
    backend.tamper(&format!(
        "DELETE FROM TRAIL WHERE seq = 4; UPDATE TRAIL_ends SET head_seq = 3, head_hash = HEX[{hex}]"
    ));
    assert_eq!(verified(&backend, None).broken, None);
    let broken = |noted| verified(&backend, Some(noted)).broken;
    let missing = Fault::Missing;
    assert_eq!(
        broken(head),
        Some(Broken {
            seq: 4,
            fault: missing
        })
    );
    assert_eq!(broken(third), None);
    let other = Link {
        hash: head.hash,
        ..third
    };
    let fault = Fault::NotAsNoted;
    assert_eq!(broken(other), Some(Broken { seq: 3, fault }));
    // The beginning was cut off, as if it had been too old.
    let hex = entries[0]
        .link()
        .to_string()
        .split_once(':')
        .unwrap()
        .1
        .to_owned();
    backend.tamper(&format!(
        "UPDATE TRAIL_ends SET gone_seq = 1, gone_hash = HEX[{hex}]; DELETE FROM TRAIL WHERE seq = 1"
    ));
    is_broken(&backend, 2, Fault::Unfounded);
    backend
}

pub(crate) async fn old_entries_go_and_the_rest_is_verified<B: Tampered>(backend: B) -> B {
    let backend = noted(backend, 10).await;
    let storage = backend.storage();
    let head = all(&backend).await[9].link();
    let pruning = |number: u128| Note {
        id: Uuid::from_u128(number),
        ..note(20)
    };
    let any = u64::MAX;
    assert_eq!(storage.shorten(at(1), any, pruning(100)).await.unwrap(), 0);
    assert_eq!(storage.shorten(at(4), any, pruning(101)).await.unwrap(), 3);
    let entries = all(&backend).await;
    assert_eq!((entries[0].seq, entries.len()), (4, 8));
    let told = &entries[7].note;
    assert_eq!((told.action.as_str(), told.count), ("prune_audit", 3));
    assert_eq!(told.resource.as_str(), "entries up to 3");
    let whole = verified(&backend, Some(head));
    assert_eq!((whole.entries, whole.broken), (8, None));
    // By number: eight are there.
    assert_eq!(storage.shorten(at(0), 6, pruning(102)).await.unwrap(), 2);
    let whole = verified(&backend, None);
    assert_eq!((whole.entries, whole.broken), (7, None));
    assert_eq!((whole.ends.gone.seq, whole.ends.head.seq), (5, 12));
    // What was noted of one that is gone cannot be compared any more.
    let first = Link {
        seq: 2,
        hash: [7; 32],
    };
    assert_eq!(verified(&backend, Some(first)).broken, None);
    backend.refuses("DELETE FROM TRAIL WHERE seq = 6");
    backend
}
