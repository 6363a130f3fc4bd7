//! Fuzzes the code that reads foreign bytes: every call returns, whatever it is given, and an
//! accepted input has the promised properties. The bytes are whole examples with a few changes,
//! because fully random bytes are refused at once.

use proptest::prelude::*;

use super::inspect::{binary, verdict};
use super::protocol::{
    Accepted, Confinement, Header, Kind, Orders, Rejection, Verdict, read_header, write_header,
};

/// Cases of each test, few enough to run in moments.
const CASES: u32 = 256;

/// Modules of every kind that is accepted, as text.
const MODULES: [&str; 4] = [
    include_str!("../../../../tests/guests/echo.wat"),
    include_str!("../../../../tests/guests/command.wat"),
    include_str!("../../../../tests/guests/many-files.wat"),
    include_str!("../../../../tests/guests/progress.wat"),
];

/// A change to some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>();
    prop_oneof![
        4 => (at, any::<u8>()).prop_map(|(at, to)| Change::Set(at, to)),
        1 => (at, 1..32_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (at, 1..256_usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        1 => at.prop_map(Change::Cut),
    ]
}

fn mutant(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match *change {
            Change::Set(at, to) => bytes[at % length] = to,
            Change::Remove(at, count) => {
                let at = at % length;
                bytes.drain(at..(at + count).min(length));
            }
            Change::Repeat(at, count) => {
                let at = at % length;
                let piece = bytes[at..(at + count).min(length)].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Cut(at) => bytes.truncate(at % length),
        }
    }
    bytes
}

fn header() -> Header {
    Header {
        confinement: Confinement::default(),
        answer: Ok(Accepted {
            verdict: Verdict::new(Kind::Task, vec!["a:b/c".to_owned()], Vec::new()),
            code_bytes: 7,
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn every_mutant_of_a_module_gets_a_verdict(
        module in 0..MODULES.len(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let wasm = wat::parse_str(MODULES[module]).unwrap();
        let bytes = mutant(wasm, &changes);
        if let Ok(wasm) = binary(&bytes)
            && let Ok(verdict) = verdict(&wasm)
        {
            prop_assert!(verdict.imports.is_sorted() && verdict.needs.is_sorted());
        }
    }

    #[test]
    fn every_mutant_of_a_text_is_read_or_refused(
        module in 0..MODULES.len(),
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        let bytes = mutant(MODULES[module].as_bytes().to_vec(), &changes);
        let told = match binary(&bytes) {
            Ok(wasm) => wasm.starts_with(b"\0asm"),
            Err(Rejection::Refused(_) | Rejection::Limit(_)) => true,
            Err(Rejection::OutOfMemory | Rejection::Failed(_)) => false,
        };
        prop_assert!(told);
    }

    #[test]
    fn every_mutant_of_an_answer_is_a_header_or_an_error(
        changes in proptest::collection::vec(change(), 0..4),
    ) {
        let mut frame = Vec::new();
        write_header(&mut frame, &header()).unwrap();
        let honest = frame.clone();
        let bytes = mutant(frame, &changes);
        match read_header(&mut bytes.as_slice()) {
            Ok(read) if bytes == honest => prop_assert_eq!(read, header()),
            Ok(_) | Err(_) => {}
        }
    }

    #[test]
    fn every_list_of_arguments_is_an_order_or_none(
        arguments in proptest::collection::vec("[a-z0-9-]{0,12}", 0..8),
    ) {
        let arguments = arguments.into_iter().map(std::ffi::OsString::from);
        if let Some(orders) = Orders::from_args(arguments.clone()) {
            let again: Vec<_> = orders.to_args().into_iter().map(std::ffi::OsString::from).collect();
            prop_assert_eq!(Orders::from_args(again), Some(orders));
        }
    }
}
