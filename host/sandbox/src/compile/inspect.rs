//! From uploaded bytes to a verdict: what kind of module it is, what it imports and which grants
//! it needs, or why it is refused. Runs inside the child; compiling comes after.

use std::borrow::Cow;

use wasmtime::{Engine, Precompiled};

use super::protocol::{Kind, Rejection, Verdict};
use super::survey::{CoreImport, Survey};
use super::wasi;
use cofferdam_domain::module::ModuleKind;

/// The longest module text. Nobody writes more by hand, and the syntax tree is many times larger.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many missing imports a refusal names.
const NAMES_MAX: usize = 8;
const ELF_MAGIC: &[u8] = b"\x7fELF";
const WASM_MAGIC: &[u8] = b"\0asm";

/// The module as binary: `bytes` themselves, or their translation if they are text.
pub(super) fn binary(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Rejection> {
    if bytes.is_empty() {
        return Err(refused("it is empty"));
    }
    if bytes.starts_with(WASM_MAGIC) {
        return Ok(Cow::Borrowed(bytes));
    }
    if let Some(kind) = Engine::detect_precompiled(bytes) {
        let kind = match kind {
            Precompiled::Module => "module",
            Precompiled::Component => "component",
        };
        return Err(Rejection::Refused(format!(
            "it is a precompiled {kind} (.cwasm); upload the WebAssembly it was made from"
        )));
    }
    if bytes.starts_with(ELF_MAGIC) {
        return Err(refused("it is an ELF file: native code, not WebAssembly"));
    }
    let text = std::str::from_utf8(bytes).ok().map(str::trim_start);
    match text {
        Some(text) if text.starts_with(['(', ';']) => translate(text).map(Cow::Owned),
        Some(_) | None => Err(refused(
            "it is neither a WebAssembly binary nor WebAssembly text (WAT)",
        )),
    }
}

fn translate(text: &str) -> Result<Vec<u8>, Rejection> {
    if text.len() > TEXT_BYTES_MAX {
        let bytes = text.len();
        return Err(Rejection::Limit(format!(
            "the module's text is {bytes} bytes long; at most {TEXT_BYTES_MAX} are accepted"
        )));
    }
    wat::parse_str(text)
        .map_err(|error| Rejection::Refused(format!("its text cannot be read: {error}")))
}

/// What the module is, judged by its imports and exports.
pub(super) fn verdict(wasm: &[u8]) -> Result<Verdict, Rejection> {
    let survey = Survey::of(wasm)?;
    match survey.component {
        true => component(survey),
        false => core_module(survey),
    }
}

fn component(survey: Survey) -> Result<Verdict, Rejection> {
    let kinds: Vec<ModuleKind> = survey
        .component_exports
        .iter()
        .filter_map(|name| wasi::kind_of_export(name))
        .collect();
    let kind = if kinds.contains(&ModuleKind::Task) {
        Kind::Task
    } else if kinds.contains(&ModuleKind::Command) {
        Kind::Command
    } else {
        return Err(Rejection::Refused(format!(
            "the component exports neither cofferdam:task/handler@0.1 nor wasi:cli/run@0.2; {}",
            match survey.component_exports.is_empty() {
                true => "it exports no interface".to_owned(),
                false => format!("it exports {}", some_of(&survey.component_exports)),
            }
        )));
    };
    let mut missing = survey.odd_imports;
    let mut needs = Vec::new();
    for name in &survey.component_imports {
        match wasi::component_import(name) {
            Ok(grant) => needs.extend(grant.map(str::to_owned)),
            Err(why) => missing.push(why),
        }
    }
    provided(&missing)?;
    Ok(Verdict::new(kind, survey.component_imports, needs))
}

fn core_module(survey: Survey) -> Result<Verdict, Rejection> {
    let missing: Vec<String> = survey
        .core_imports
        .iter()
        .filter_map(core_import_missing)
        .collect();
    provided(&missing)?;
    let exports = |name: &str| {
        survey
            .core_exports
            .iter()
            .find(|export| export.name == name)
    };
    match exports("_start").map(|export| export.signature.as_deref()) {
        Some(Some(">")) => {}
        Some(Some(_) | None) => {
            return Err(refused(
                "its export _start is not a function without parameters and results",
            ));
        }
        None if exports("_initialize").is_some() => {
            return Err(refused(
                "it is a library (it exports _initialize); a core module needs _start to be run",
            ));
        }
        None => {
            return Err(refused(
                "the core module exports no _start, so it cannot be run",
            ));
        }
    }
    let names = survey
        .core_imports
        .iter()
        .map(|i| format!("{}.{}", i.module, i.name))
        .collect();
    Ok(Verdict::new(Kind::CoreCommand, names, Vec::new()))
}

fn core_import_missing(import: &CoreImport) -> Option<String> {
    match &import.item {
        Ok(signature) => wasi::core_import(&import.module, &import.name, signature).err(),
        Err(what) => Some(format!("{}.{} ({what})", import.module, import.name)),
    }
}

fn provided(missing: &[String]) -> Result<(), Rejection> {
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Rejection::Refused(format!(
            "it imports what no grant can give: {}",
            some_of(missing)
        ))),
    }
}

fn some_of(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMES_MAX)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn refused(why: &str) -> Rejection {
    Rejection::Refused(why.to_owned())
}
