//! What is sealed is opened at its place alone, and only as it was.

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::pieces::{FILE_HEAD_BYTES, file_bytes};
use super::*;

const PLACE: Place<'static> = Place {
    tenant: "team",
    column: ("task_spec", "body"),
    row: "task 7",
};

fn sealer(keys: &[u8]) -> Sealer {
    let words: Vec<String> = keys
        .iter()
        .map(|key| format!("{key:02x}").repeat(32))
        .collect();
    let keys = EncryptionKeys::parse(words.iter().map(String::as_str)).unwrap();
    Sealer::new(&keys, StdRng::seed_from_u64(7))
}

#[test]
fn what_is_sealed_is_opened_again_and_is_not_legible() {
    let sealer = sealer(&[1]);
    for plain in [&b""[..], b"x", b"a marker in the plain text", &[7; 100_000]] {
        let sealed = sealer.keep(&PLACE, Bytes::copy_from_slice(plain));
        assert!(plain.len() < 2 || !sealed.windows(plain.len()).any(|part| part == plain));
        assert_eq!(sealer.open(&PLACE, sealed).unwrap(), plain);
    }
    let twice = [(); 2].map(|()| sealer.seal(&PLACE, b"x").unwrap());
    assert_ne!(twice[0], twice[1]);
}

#[test]
fn every_changed_bit_is_noticed() {
    let sealer = sealer(&[1]);
    let sealed = sealer.seal(&PLACE, b"plain").unwrap();
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let refused = sealer.unseal(&PLACE, &changed).unwrap_err().to_string();
        assert!(
            refused.contains("body of task 7 in task_spec of the tenant team"),
            "{refused}"
        );
    }
    for length in 0..sealed.len() {
        assert!(
            sealer.unseal(&PLACE, &sealed[..length]).is_err(),
            "{length}"
        );
    }
}

#[test]
fn what_is_put_elsewhere_is_noticed() {
    let sealer = sealer(&[1]);
    let sealed = Bytes::from(sealer.seal(&PLACE, b"plain").unwrap());
    for elsewhere in [
        Place {
            tenant: "other",
            ..PLACE
        },
        Place {
            row: "task 8",
            ..PLACE
        },
        Place {
            column: ("task_spec", "args"),
            ..PLACE
        },
        Place {
            column: ("attempt", "body"),
            ..PLACE
        },
        // The parts are told apart by their lengths.
        Place {
            column: ("task_specb", "ody"),
            ..PLACE
        },
    ] {
        let refused = sealer.open(&elsewhere, sealed.clone()).unwrap_err();
        assert!(matches!(refused, StorageError::Corrupt(_)), "{refused}");
    }
}

#[test]
fn every_key_opens_and_the_first_one_seals() {
    let (old, both, new) = (sealer(&[1]), sealer(&[2, 1]), sealer(&[2]));
    let by_old = Bytes::from(old.seal(&PLACE, b"plain").unwrap());
    let by_both = Bytes::from(both.seal(&PLACE, b"plain").unwrap());
    assert_eq!(both.open(&PLACE, by_old.clone()).unwrap(), b"plain"[..]);
    assert_eq!(new.open(&PLACE, by_both.clone()).unwrap(), b"plain"[..]);
    for (sealer, sealed) in [
        (&old, by_both),
        (&new, by_old.clone()),
        (&sealer(&[]), by_old),
    ] {
        let refused = sealer.open(&PLACE, sealed).unwrap_err();
        assert!(
            matches!(refused, StorageError::KeyMissing { .. }),
            "{refused}"
        );
        assert!(refused.to_string().contains("body of task 7"), "{refused}");
    }
}

#[test]
fn what_is_plain_is_told_apart_from_what_is_sealed() {
    let (without, with) = (sealer(&[]), sealer(&[1]));
    let sealed = Bytes::from(with.seal(&PLACE, b"plain").unwrap());
    // Also what somebody submits that looks as if it were sealed.
    for plain in [
        Bytes::from_static(b"plain"),
        Bytes::new(),
        sealed,
        Bytes::from_static(MARK),
    ] {
        let kept = without.keep(&PLACE, plain.clone());
        assert_eq!(kept == plain, !plain.starts_with(MARK));
        for sealer in [&without, &with] {
            assert_eq!(sealer.open(&PLACE, kept.clone()).unwrap(), plain);
        }
    }
}

#[test]
fn texts_are_kept_as_values_are() {
    let (without, with) = (sealer(&[]), sealer(&[1]));
    let sealed = with.keep_text(&PLACE, "a marker");
    assert!(is_sealed_text(&sealed) && !sealed.contains("marker"));
    assert_eq!(with.open_text(&PLACE, &sealed).unwrap(), "a marker");
    let elsewhere = Place {
        row: "task 8",
        ..PLACE
    };
    assert!(with.open_text(&elsewhere, &sealed).is_err());
    assert!(with.open_text(&PLACE, &sealed[..sealed.len() - 1]).is_err());
    assert!(without.open_text(&PLACE, &sealed).is_err());
    for plain in ["", "a marker", &sealed, TEXT_MARK] {
        let kept = without.keep_text(&PLACE, plain);
        assert!(!is_sealed_text(&kept), "{plain}");
        assert_eq!(with.open_text(&PLACE, &kept).unwrap(), plain);
    }
}

#[test]
fn a_sealed_value_is_longer_by_what_is_told() {
    let plain = b"plain";
    let sealed = sealer(&[1]).seal(&PLACE, plain).unwrap();
    // Statements subtract this.
    assert_eq!(sealed.len(), plain.len() + 44 + PLACE.tenant.len());
}

#[test]
fn no_key_is_shown() {
    let sealer = sealer(&[0xab]);
    assert!(!format!("{sealer:?}").contains("ab"));
}

fn sealed_file(sealer: &Sealer, place: &Place<'_>, plain: &[u8], step: usize) -> Vec<u8> {
    let (mut sealed, mut file) = sealer.begin_file(place).unwrap();
    plain
        .chunks(step)
        .for_each(|some| sealed.extend(file.push(some)));
    sealed.extend(file.finish());
    assert_eq!(file_bytes(sealed.len() as u64), plain.len() as u64);
    sealed
}

fn opened_file(sealer: &Sealer, place: &Place<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    let (head, rest) = sealed.split_at_checked(FILE_HEAD_BYTES)?;
    let mut file = sealer.open_file(place, head, rest).ok()??;
    let mut plain = Vec::new();
    loop {
        let piece = file.next_piece().ok()?;
        if piece.is_empty() {
            return Some(plain);
        }
        plain.extend(piece);
    }
}

#[test]
fn a_file_is_sealed_in_pieces_whose_order_and_number_count() {
    let (sealer, piece) = (sealer(&[1]), 64 << 10);
    for (length, step) in [
        (0, 1),
        (1, 1),
        (piece - 1, 1000),
        (piece, piece),
        (piece + 1, 3 * piece),
        (3 * piece, 70_000),
        (3 * piece + 5, 4 * piece),
    ] {
        let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let sealed = sealed_file(&sealer, &PLACE, &plain, step);
        assert_eq!(
            opened_file(&sealer, &PLACE, &sealed).unwrap(),
            plain,
            "{length}"
        );
    }
    let plain = vec![7; 3 * piece];
    let sealed = sealed_file(&sealer, &PLACE, &plain, piece);
    let elsewhere = Place {
        row: "task 8",
        ..PLACE
    };
    assert_eq!(opened_file(&sealer, &elsewhere, &sealed), None);
    let kept_piece = piece + TAG_BYTES;
    for length in [
        FILE_HEAD_BYTES,
        FILE_HEAD_BYTES + kept_piece,
        FILE_HEAD_BYTES + 2 * kept_piece,
        sealed.len() - 1,
    ] {
        assert_eq!(
            opened_file(&sealer, &PLACE, &sealed[..length]),
            None,
            "{length}"
        );
    }
    let longer = [&sealed[..], &[0]].concat();
    assert_eq!(opened_file(&sealer, &PLACE, &longer), None);
    let mut exchanged = sealed.clone();
    let (first, second) = exchanged[FILE_HEAD_BYTES..].split_at_mut(kept_piece);
    first.swap_with_slice(&mut second[..kept_piece]);
    assert_eq!(opened_file(&sealer, &PLACE, &exchanged), None);
    for place in [
        FILE_HEAD_BYTES - 1,
        FILE_HEAD_BYTES,
        sealed.len() / 2,
        sealed.len() - 1,
    ] {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        assert_eq!(opened_file(&sealer, &PLACE, &changed), None, "{place}");
    }
}
