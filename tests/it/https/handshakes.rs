//! Beginnings of connections: old ones, half ones, and those that are none.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;

use super::Secure;
use super::raw::{HTTP1, HTTP2, Offer};

/// The beginning of a record that says it has much more.
const HALF: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half";

const ONLY_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const ONLY_1_3: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// A hello of TLS 1.1, which knows no later version.
fn hello_of_tls_1_1() -> Vec<u8> {
    let mut hello = vec![0x03, 0x02];
    hello.extend([7; 32]);
    // No session, two suites that every server of that time knew, no compression, no extensions.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0, 0, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 0x03, 0x01, 0, length + 4, 0x01, 0, 0, length];
    record.append(&mut hello);
    record
}

#[test]
fn tls_1_2_and_newer_are_spoken_and_older_is_refused() {
    let secure = Secure::start("");
    for versions in [ONLY_1_2, ONLY_1_3] {
        let stream = secure.shake(Offer { versions, ..HTTP1 });
        assert_eq!(stream.conn.protocol_version(), Some(versions[0].version),);
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    assert_eq!(secure.shake(HTTP2).conn.alpn_protocol(), Some(&b"h2"[..]));

    let mut old = secure.host.connect();
    old.write_all(&hello_of_tls_1_1()).unwrap();
    let mut answer = Vec::new();
    let _reset = old.read_to_end(&mut answer);
    // A fatal alert: protocol_version, or that nothing on offer will do.
    assert_eq!(answer.first(), Some(&0x15), "{answer:?}");
    assert_eq!(answer.get(5), Some(&2), "{answer:?}");
    assert!(matches!(answer.get(6), Some(40 | 70)), "{answer:?}");
}

#[test]
fn whoever_speaks_http_is_told_to_speak_https() {
    let secure = Secure::start("");
    let mut plain = secure.host.connect();
    plain
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("https_only"), "{answer}");
}

#[test]
fn half_handshakes_end_in_time() {
    let secure = Secure::start("handshake_timeout_ms = 300\nheader_timeout_ms = 60000\n");
    let began = Instant::now();
    for half in [&b""[..], HALF] {
        let mut stream = secure.host.connect();
        stream.write_all(half).unwrap();
        let mut rest = Vec::new();
        let _reset = stream.read_to_end(&mut rest);
    }
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert!(began.elapsed() < Duration::from_secs(20));
    secure.host.client.get("/livez").expect(200);
}

#[test]
fn half_handshakes_lock_nobody_out() {
    let secure = Secure::start("connections_max = 16\nhandshake_timeout_ms = 60000\n");
    let began = Instant::now();
    let mut halves = Vec::new();
    for _ in 0..64 {
        let mut stream = secure.host.connect();
        // One that gave way already takes nothing more.
        let _closed = stream.write_all(HALF);
        halves.push(stream);
    }
    loop {
        let answered = secure.host.client.try_send("GET", "/v1/workers", &[], b"");
        if answered.is_ok_and(|answer| answer.status == 200) {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "nobody is served"
        );
    }
    drop(halves);
}
