//! Floods of frames: memory stays level, the connection is told to be calm, and others are served.

use std::io::{Read, Write};

use super::Secure;
use super::raw::{HTTP2, Stream};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;
/// `GET /livez` of `https://localhost`, in the static table's words.
const HEAD: &[u8] = b"\x82\x87\x04\x06/livez\x41\x09localhost";
/// How much more memory a flood may leave in use.
const SLACK_BYTES: u64 = 24 << 20;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn begin(secure: &Secure) -> Stream {
    let mut stream = secure.shake(HTTP2);
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    stream
}

/// Sends pieces until the host takes no more.
fn flood(stream: &mut Stream, pieces: impl Iterator<Item = Vec<u8>>) {
    for piece in pieces {
        if stream.write_all(&piece).is_err() {
            return;
        }
    }
    panic!("the host took all of it");
}

/// The reason that the host gives for the end; `None` if it gives none.
fn reason(stream: &mut Stream) -> Option<u32> {
    let bytes = rest_of(stream);
    let mut rest = &bytes[..];
    let mut reason = None;
    while let Some((head, after)) = rest.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (payload, after) = after.split_at_checked(length)?;
        if head[3] == GO_AWAY {
            reason = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = after;
    }
    reason
}

/// What came before the end. The host no longer takes anything, so nothing more is written.
fn rest_of(stream: &mut Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(1..) = stream.conn.read_tls(&mut stream.sock) {
        if stream.conn.process_new_packets().is_err() {
            break;
        }
        // There is no more for now.
        let _would_block = stream.conn.reader().read_to_end(&mut bytes);
    }
    bytes
}

/// Floods the host with what `pieces` makes, from several connections.
#[track_caller]
fn is_told_to_be_calm(pieces: fn() -> Box<dyn Iterator<Item = Vec<u8>>>) {
    let secure = Secure::start("");
    secure.host.client.get("/livez").expect(200);
    let before = secure.host.resident_bytes();
    let mut told = 0;
    for _ in 0..20 {
        let mut stream = begin(&secure);
        flood(&mut stream, pieces());
        // A reset of the connection may overtake what it says.
        if let Some(reason) = reason(&mut stream) {
            assert_eq!(reason, ENHANCE_YOUR_CALM);
            told += 1;
        }
        secure.host.client.get("/livez").expect(200);
    }
    assert!(told > 0, "no connection was told why it ends");
    let now = secure.host.resident_bytes();
    assert!(
        now < before + SLACK_BYTES,
        "{before} bytes before, {now} now"
    );
}

#[test]
fn requests_that_are_taken_back_at_once() {
    is_told_to_be_calm(|| {
        let both = (0..500_000).map(|number| {
            let stream = 2 * number + 1;
            let mut both = frame(HEADERS, END_STREAM | END_HEADERS, stream, HEAD);
            both.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
            both
        });
        Box::new(both)
    });
}

#[test]
fn a_head_without_an_end() {
    is_told_to_be_calm(|| {
        let first = std::iter::once(frame(HEADERS, END_STREAM, 1, HEAD));
        // A literal header, again and again: `a: ` and a kibibyte of `b`.
        let mut header = b"\x00\x01a\x7f\x81\x07".to_vec();
        header.extend([b'b'; 1024]);
        let next = move |_| frame(CONTINUATION, 0, 1, &header.repeat(15));
        Box::new(first.chain((0..500_000).map(next)))
    });
}

#[test]
fn requests_that_are_taken_back_when_they_have_begun() {
    let secure = Secure::start("");
    let mut stream = begin(&secure);
    let mut told = Vec::new();
    for number in 0..10_000 {
        let id = 2 * number + 1;
        // It is answered, or has begun to be, when the reset comes.
        let request = frame(
            HEADERS,
            END_HEADERS,
            id,
            b"\x83\x87\x04\x0c/v1/run/none\x41\x09localhost",
        );
        if stream.write_all(&request).is_err() {
            break;
        }
        let reset = frame(RESET, 0, id, &8_u32.to_be_bytes());
        if stream.write_all(&reset).is_err() || stream.flush().is_err() {
            break;
        }
        told.push(id);
    }
    secure.host.client.get("/livez").expect(200);
    assert!(told.len() < 10_000, "it was never told to stop");
}
