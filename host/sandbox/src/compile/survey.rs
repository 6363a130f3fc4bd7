//! One pass over a binary before Cranelift sees it: lists its imports and exports, and refuses
//! counts that only a bomb has.
//!
//! It does not validate; compiling does. Neither does it predict how long a function takes to
//! compile: twenty kilobytes of nested loops take ten seconds, and real compilers emit functions
//! that look similar. The child's deadline bounds that.

use wasmparser::{
    ComponentExternalKind, ComponentTypeRef, Encoding, FuncType, Parser, Payload, TypeBounds,
    TypeRef, ValType,
};

use super::protocol::Rejection;

/// Functions with a body. clang and yosys have about 100 000, CPython 15 000.
const FUNCTIONS_MAX: u64 = 200_000;
/// The longest body of a function. It is also what wasmparser allows; the largest seen in a real
/// program is CPython's interpreter loop with 0.3 MB.
const BODY_BYTES_MAX: usize = 7_654_321;
/// Types, of all kinds and levels together. clang has 1 500.
const TYPES_MAX: u64 = 50_000;
/// Imports of all levels together. Composed components have a few thousand.
const IMPORTS_MAX: u64 = 50_000;
/// Modules and components inside a component. CPython as a component has about fifteen.
const MODULES_MAX: u64 = 256;
/// Instances of modules and components that a component makes.
const INSTANCES_MAX: u64 = 1_000;
/// How deep they may be nested.
const DEPTH_MAX: usize = 16;
/// Data and element segments. clang has a few; esbuild, a Go program, 7 000.
const SEGMENTS_MAX: u64 = 100_000;
/// No function of WASI has more parameters, so a longer signature matches none.
const SIGNATURE_CHARS_MAX: usize = 16;

/// The result of a pass over a module.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Whether it is a component; else it is a core module.
    pub(super) component: bool,
    /// Imports of a core module.
    pub(super) core_imports: Vec<CoreImport>,
    /// Exports of a core module.
    pub(super) core_exports: Vec<CoreExport>,
    /// Names of the instances a component imports.
    pub(super) component_imports: Vec<String>,
    /// Imports that are not instances, described in words.
    pub(super) odd_imports: Vec<String>,
    /// Names of the instances a component exports.
    pub(super) component_exports: Vec<String>,
    types: Vec<String>,
    functions: Vec<u32>,
    counts: Counts,
}

/// A core module's import.
#[derive(Debug)]
pub(super) struct CoreImport {
    pub(super) module: String,
    pub(super) name: String,
    /// The signature of a function, or the word for anything else.
    pub(super) item: Result<String, &'static str>,
}

/// A core module's export.
#[derive(Debug)]
pub(super) struct CoreExport {
    pub(super) name: String,
    /// The signature, if it is a function.
    pub(super) signature: Option<String>,
}

/// Sums over all levels.
#[derive(Debug, Default)]
struct Counts {
    depth: usize,
    functions: u64,
    types: u64,
    imports: u64,
    modules: u64,
    instances: u64,
    segments: u64,
}

impl Survey {
    /// Goes over `wasm` once.
    pub(super) fn of(wasm: &[u8]) -> Result<Survey, Rejection> {
        let mut survey = Survey::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(malformed)?;
            survey.counts.add(&payload)?;
            if survey.counts.depth == 0 {
                survey.note(payload).map_err(malformed)?;
            }
        }
        Ok(survey)
    }

    /// Records the imports and exports of the outermost level.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum of sixty sections"
    )]
    fn note(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.component = encoding == Encoding::Component;
            }
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    self.types.push(signature(&ty?));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.note_core_import(import?);
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let signature = match export.kind {
                        wasmparser::ExternalKind::Func => self.signature_of(export.index),
                        _ => None,
                    };
                    self.core_exports.push(CoreExport {
                        name: export.name.to_owned(),
                        signature,
                    });
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.note_component_import(import?);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        self.component_exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_core_import(&mut self, import: wasmparser::Import<'_>) {
        let item = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                // Imported functions come first in the index space of functions.
                self.functions.push(ty);
                Ok(self.types.get(ty as usize).cloned().unwrap_or_default())
            }
            TypeRef::Table(_) => Err("a table"),
            TypeRef::Memory(memory) if memory.shared => Err("a shared memory"),
            TypeRef::Memory(_) => Err("a memory"),
            TypeRef::Global(_) => Err("a global"),
            TypeRef::Tag(_) => Err("a tag"),
        };
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        self.core_imports.push(CoreImport { module, name, item });
    }

    fn note_component_import(&mut self, import: wasmparser::ComponentImport<'_>) {
        let name = import.name.name;
        let what = match import.ty {
            ComponentTypeRef::Instance(_) => {
                self.component_imports.push(name.to_owned());
                return;
            }
            // An alias of a known type: the host need not provide anything.
            ComponentTypeRef::Type(TypeBounds::Eq(_)) => return,
            ComponentTypeRef::Type(TypeBounds::SubResource) => "a resource",
            ComponentTypeRef::Func(_) => "a function",
            ComponentTypeRef::Module(_) => "a core module",
            ComponentTypeRef::Component(_) => "a component",
            ComponentTypeRef::Value(_) => "a value",
        };
        self.odd_imports
            .push(format!("{name} ({what}; only interfaces are provided)"));
    }

    fn signature_of(&self, function: u32) -> Option<String> {
        let ty = *self.functions.get(function as usize)?;
        self.types.get(ty as usize).cloned()
    }
}

impl Counts {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum of sixty sections"
    )]
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), Rejection> {
        self.add_section(payload)?;
        match payload {
            Payload::CodeSectionEntry(body) if body.range().len() > BODY_BYTES_MAX => {
                let bytes = body.range().len();
                Err(Rejection::Limit(format!(
                    "a function of the module is {bytes} bytes long; at most {BODY_BYTES_MAX} are \
                     accepted"
                )))
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(Rejection::Limit(format!(
                        "modules are nested more than {DEPTH_MAX} deep"
                    )));
                }
                count("inner modules", &mut self.modules, 1, MODULES_MAX)
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign enum of sixty sections"
    )]
    fn add_section(&mut self, payload: &Payload<'_>) -> Result<(), Rejection> {
        let (what, sum, more, most) = match payload {
            Payload::TypeSection(s) => ("types", &mut self.types, s.count(), TYPES_MAX),
            Payload::CoreTypeSection(s) => ("types", &mut self.types, s.count(), TYPES_MAX),
            Payload::ComponentTypeSection(s) => ("types", &mut self.types, s.count(), TYPES_MAX),
            Payload::ImportSection(s) => ("imports", &mut self.imports, s.count(), IMPORTS_MAX),
            Payload::ComponentImportSection(s) => {
                ("imports", &mut self.imports, s.count(), IMPORTS_MAX)
            }
            Payload::FunctionSection(s) => {
                ("functions", &mut self.functions, s.count(), FUNCTIONS_MAX)
            }
            Payload::DataSection(s) => ("segments", &mut self.segments, s.count(), SEGMENTS_MAX),
            Payload::ElementSection(s) => ("segments", &mut self.segments, s.count(), SEGMENTS_MAX),
            Payload::InstanceSection(s) => {
                ("instances", &mut self.instances, s.count(), INSTANCES_MAX)
            }
            Payload::ComponentInstanceSection(s) => {
                ("instances", &mut self.instances, s.count(), INSTANCES_MAX)
            }
            _ => return Ok(()),
        };
        count(what, sum, more, most)
    }
}

fn count(what: &str, sum: &mut u64, more: u32, most: u64) -> Result<(), Rejection> {
    *sum += u64::from(more);
    match *sum > most {
        true => Err(Rejection::Limit(format!(
            "the module has {sum} {what}; at most {most} are accepted"
        ))),
        false => Ok(()),
    }
}

fn malformed(error: wasmparser::BinaryReaderError) -> Rejection {
    Rejection::Refused(format!("it is not valid WebAssembly: {error}"))
}

/// A function's type as the tables of `wasi` spell it.
pub(super) fn signature(ty: &FuncType) -> String {
    let word = |ty: &ValType| match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'I',
        ValType::F32 => 'f',
        ValType::F64 => 'F',
        ValType::V128 => 'v',
        ValType::Ref(_) => 'r',
    };
    let params = ty.params().iter().map(word);
    let results = ty.results().iter().map(word);
    params
        .chain(['>'])
        .chain(results)
        .take(SIGNATURE_CHARS_MAX)
        .collect()
}
