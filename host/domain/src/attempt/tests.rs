//! How an attempt ended, in words and figures.

use super::*;

#[test]
fn words_round_trip() {
    for kind in FailureKind::ALL {
        assert_eq!(FailureKind::parse(kind.as_str()), Some(kind));
    }
}

#[test]
fn a_failure_keeps_a_part_of_what_a_guest_said() {
    let failure = Failure::new(FailureKind::Trap, "x".repeat(said::MESSAGE_BYTES_MAX + 1));
    assert!(failure.message.len() < said::MESSAGE_BYTES_MAX + 8);
    let kind = Outcome::Failed(failure).failure_kind();
    assert_eq!(kind, Some(FailureKind::Trap));
    let output = Payload {
        content_type: said::OCTET_STREAM.into(),
        body: Bytes::new(),
    };
    assert_eq!(Outcome::Completed(output).failure_kind(), None);
}

#[test]
fn times_are_told_in_whole_microseconds() {
    let usage = Usage {
        duration: Duration::from_nanos(2_999),
        cpu: Duration::MAX,
        ..Usage::default()
    };
    assert_eq!((usage.duration_us(), usage.cpu_us()), (2, u64::MAX));
}

#[test]
fn streams_are_named_and_read_as_text() {
    let words = [Stream::Stdout, Stream::Stderr, Stream::Log].map(Stream::as_str);
    assert_eq!(words, ["stdout", "stderr", "log"]);
    let kept = Captured {
        bytes: Bytes::from_static(b"a\xff"),
        truncated: false,
    };
    assert_eq!(kept.text(), "a\u{fffd}");
}

#[test]
fn what_is_left_out_is_counted_by_its_reason() {
    let one = LeftOut {
        symbolic_links: 1,
        special_files: 2,
        names_not_utf8: 3,
        long_paths: 4,
        too_many: 5,
        unreadable: 6,
    };
    let other = LeftOut {
        symbolic_links: 10,
        special_files: 20,
        names_not_utf8: 30,
        long_paths: 40,
        too_many: 50,
        unreadable: 60,
    };
    let both: Vec<_> = one.plus(other).reasons().collect();
    let expected = [
        ("symbolic_links", 11),
        ("special_files", 22),
        ("names_not_utf8", 33),
        ("long_paths", 44),
        ("too_many", 55),
        ("unreadable", 66),
    ];
    assert_eq!(both, expected);
    assert_eq!(LeftOut::default().reasons().count(), 0);
}
