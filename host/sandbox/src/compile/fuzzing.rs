//! What reads bytes of others here, given bytes that nobody meant: the survey of an uploaded module
//! beside the reading of wasmparser's validator, and the answer of the compiling child.
//!
//! Compiled for tests and for fuzzing only; `fuzz/` says how it is used. Cranelift is not tried here:
//! it runs in the confined child, and its own project fuzzes it.

use std::ffi::OsString;
use std::sync::OnceLock;

use wasmparser::Validator;
use wasmparser::component_types::ComponentEntityType;
use wasmparser::types::{EntityType, Types};
use wasmtime::{Engine, Module};

use super::inspect::{binary, verdict};
use super::protocol::{
    Kind, Orders, REASON_BYTES_MAX, Rejection, Verdict, read_answer, read_header, shortened,
    write_header,
};
use super::survey::{CoreImport, Survey, signature};
use crate::EngineClass;
use crate::engine::{EngineShape, engine_config};

/// The most code that an answer may promise here.
const CODE_BYTES_MAX: u64 = 1024;

/// An upload gets a verdict or a reason, and what the survey says of a valid module is what the
/// validator says of it.
///
/// # Panics
///
/// Where that is not so.
pub fn survey(upload: &[u8]) {
    let wasm = match binary(upload) {
        Ok(wasm) => wasm,
        Err(Rejection::Refused(_) | Rejection::Limit(_)) => return,
        Err(other @ (Rejection::OutOfMemory | Rejection::Failed(_))) => {
            panic!("the module is not told that it is at fault: {other:?}")
        }
    };
    assert!(wasm.starts_with(b"\0asm"), "a text became no binary");
    let found = verdict(&wasm);
    let types = Validator::new().validate_all(&wasm);
    match (&found, types) {
        (Ok(found), Ok(types)) => agree(found, &wasm, &types),
        (Ok(found), Err(_)) => ordered(found),
        (Err(Rejection::Refused(why)), _) => {
            let is_malformed = why.starts_with("it is not valid WebAssembly");
            let is_core = wasm.get(4..8) == Some(&[1, 0, 0, 0]);
            assert!(
                !(is_malformed && is_core && Module::validate(engine(), &wasm).is_ok()),
                "a valid module is refused: {why}"
            );
        }
        (Err(Rejection::Limit(_)), _) => {}
        (Err(other @ (Rejection::OutOfMemory | Rejection::Failed(_))), _) => {
            panic!("the module is not told that it is at fault: {other:?}")
        }
    }
}

/// The binary that a module's text means, if it is one.
pub fn translated(text: &[u8]) -> Option<Vec<u8>> {
    match text.starts_with(b"(") {
        true => binary(text).ok().map(std::borrow::Cow::into_owned),
        false => None,
    }
}

/// Bytes of a compiling child are an answer to the byte or none, and arguments are orders or none.
///
/// # Panics
///
/// Where what was read would be written otherwise, or more is taken than was promised.
pub fn protocol(bytes: &[u8]) {
    if let Ok(header) = read_header(&mut &*bytes) {
        let mut again = Vec::new();
        write_header(&mut again, &header).expect("memory takes any header");
        let read = read_header(&mut again.as_slice()).expect("a header that was just written");
        assert_eq!(read, header);
    }
    let (mut rest, mut code) = (bytes, Vec::new());
    let answer = read_answer(&mut rest, CODE_BYTES_MAX, |piece| {
        code.extend_from_slice(piece);
        Ok(())
    });
    assert!(code.len() as u64 <= CODE_BYTES_MAX, "more code than may be");
    if let Ok(answer) = answer {
        let promised = answer.answer.map_or(0, |accepted| accepted.code_bytes);
        assert_eq!(code.len() as u64, promised);
        assert!(bytes[..bytes.len() - rest.len()].ends_with(&code));
    }
    let text = String::from_utf8_lossy(bytes);
    let arguments: Vec<OsString> = text.split(' ').map(OsString::from).collect();
    if let Some(orders) = Orders::from_args(arguments) {
        let again = orders.to_args().map(OsString::from);
        assert_eq!(Orders::from_args(again), Some(orders));
    }
    let reason = shortened(text.into_owned());
    assert!(reason.len() <= REASON_BYTES_MAX + '…'.len_utf8());
}

fn ordered(found: &Verdict) {
    let is_set = |names: &[String]| names.is_sorted_by(|one, next| one < next);
    assert!(is_set(&found.imports) && is_set(&found.needs));
}

/// Whether the verdict on a module is the one that follows from its types.
fn agree(found: &Verdict, wasm: &[u8], types: &Types) {
    ordered(found);
    let Ok(survey) = Survey::of(wasm) else {
        panic!("a survey differs from the one before");
    };
    match found.kind {
        Kind::CoreCommand => core_module(&survey, types),
        Kind::Task | Kind::Command => component(&survey, types),
    }
}

fn core_module(survey: &Survey, types: &Types) {
    let word = |item: &EntityType| match item {
        EntityType::Func(ty) | EntityType::FuncExact(ty) => {
            Some(signature(types[*ty].unwrap_func()))
        }
        EntityType::Table(_)
        | EntityType::Memory(_)
        | EntityType::Global(_)
        | EntityType::Tag(_) => None,
    };
    let reference = types.as_ref();
    let imports = reference.core_imports().expect("it is a core module");
    let mut theirs: Vec<_> = imports
        .map(|(module, name, item)| (module.to_owned(), name.to_owned(), word(&item)))
        .collect();
    let own = |import: &CoreImport| {
        let CoreImport { module, name, item } = import;
        (module.clone(), name.clone(), item.clone().ok())
    };
    let mut ours: Vec<_> = survey.core_imports.iter().map(own).collect();
    theirs.sort_unstable();
    ours.sort_unstable();
    assert_eq!(ours, theirs, "imports");
    let mut exports = reference.core_exports().expect("it is a core module");
    let start = exports.find(|(name, _)| *name == "_start");
    let start = start.and_then(|(_, item)| word(&item));
    assert_eq!(
        start.as_deref(),
        Some(">"),
        "what is accepted can be started"
    );
}

fn component(survey: &Survey, types: &Types) {
    let is_instance = |item: Option<&wasmparser::component_types::ComponentItem>| {
        item.is_some_and(|item| matches!(item.ty, ComponentEntityType::Instance(_)))
    };
    for name in &survey.component_imports {
        assert!(is_instance(types.component_item_for_import(name)), "{name}");
    }
    for name in &survey.component_exports {
        assert!(is_instance(types.component_item_for_export(name)), "{name}");
    }
}

/// The engine that modules are held against, which only validates here.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let shape = EngineShape {
            class: EngineClass::Fast,
            stack_bytes: 512 * 1024,
        };
        Engine::new(&engine_config(shape)).expect("the configuration is a valid one")
    })
}

#[cfg(test)]
mod tests {
    use cofferdam_fuzz::{short_run, short_run_of};

    #[test]
    fn every_upload_gets_a_verdict_that_the_validator_shares() {
        let inputs = |text: Vec<u8>| {
            let binary = super::translated(&text);
            std::iter::once(text).chain(binary).collect()
        };
        short_run_of("survey", 6_000, super::survey, inputs);
    }

    #[test]
    fn every_answer_of_a_child_is_one_or_none() {
        short_run("protocol", 20_000, super::protocol);
    }
}
