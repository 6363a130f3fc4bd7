//! One change of an input: of a byte, of a stretch, of a number, or by a piece of another input.

use rand::Rng;
use rand::rngs::StdRng;

/// What parsers have special cases for.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"/",
    b"..",
    b"%",
    b"=",
    b"&",
    b"\n",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775807",
    b"\xed\xa0\x80",
    b"\\ud800",
    "é".as_bytes(),
];
/// The longest stretch that is removed, repeated or brought from another input.
const STRETCH_BYTES_MAX: usize = 64;

/// `input` with one change, perhaps by a piece of `other`.
pub(crate) fn changed(mut input: Vec<u8>, other: &[u8], random: &mut StdRng) -> Vec<u8> {
    let at = random.random_range(0..=input.len());
    match random.random_range(0..8) {
        0 | 1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.random();
            }
        }
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
        3 => {
            let end = stretch(at, input.len(), random);
            input.drain(at..end);
        }
        4 => {
            let end = stretch(at, input.len(), random);
            let piece = input[at..end].to_vec();
            insert(&mut input, at, &piece);
        }
        5 => {
            let start = random.random_range(0..=other.len());
            let end = stretch(start, other.len(), random);
            insert(&mut input, at, &other[start..end]);
        }
        6 => insert(&mut input, at, WORDS[random.random_range(0..WORDS.len())]),
        _ => input.truncate(at),
    }
    input
}

fn stretch(start: usize, length: usize, random: &mut StdRng) -> usize {
    let most = (length - start).min(STRETCH_BYTES_MAX);
    start + random.random_range(0..=most)
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}
