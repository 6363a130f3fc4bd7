//! The JSON of a module version.

use serde::{Deserialize, Serialize};

use cofferdam_domain::module::{Descriptor, Digest, Language, ModuleInfo, ModuleKind};

/// A [`ModuleInfo`] without its digest, which is the row's key.
#[derive(Serialize, Deserialize)]
pub(crate) struct InfoRow {
    kind: KindRow,
    size_bytes: u64,
    imports: Vec<String>,
    needs: Vec<String>,
    descriptor: Option<DescriptorRow>,
    compiled_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindRow {
    Task,
    Command,
    CoreCommand,
    PythonInterpreter,
    JavascriptInterpreter,
    PythonScript,
    JavascriptScript,
}

#[derive(Serialize, Deserialize)]
struct DescriptorRow {
    summary: String,
    input_schema: Option<String>,
    output_schema: Option<String>,
}

impl From<&ModuleInfo> for InfoRow {
    fn from(info: &ModuleInfo) -> InfoRow {
        InfoRow {
            kind: match info.kind {
                ModuleKind::Task => KindRow::Task,
                ModuleKind::Command => KindRow::Command,
                ModuleKind::CoreCommand => KindRow::CoreCommand,
                ModuleKind::Interpreter(Language::Python) => KindRow::PythonInterpreter,
                ModuleKind::Interpreter(Language::JavaScript) => KindRow::JavascriptInterpreter,
                ModuleKind::Script(Language::Python) => KindRow::PythonScript,
                ModuleKind::Script(Language::JavaScript) => KindRow::JavascriptScript,
            },
            size_bytes: info.size_bytes,
            imports: info.imports.clone(),
            needs: info.needs.clone(),
            descriptor: info.descriptor.as_ref().map(|said| DescriptorRow {
                summary: said.summary.clone(),
                input_schema: said.input_schema.clone(),
                output_schema: said.output_schema.clone(),
            }),
            compiled_ms: info.compiled_ms,
        }
    }
}

impl InfoRow {
    pub(crate) fn with_digest(self, digest: Digest) -> ModuleInfo {
        ModuleInfo {
            digest,
            kind: match self.kind {
                KindRow::Task => ModuleKind::Task,
                KindRow::Command => ModuleKind::Command,
                KindRow::CoreCommand => ModuleKind::CoreCommand,
                KindRow::PythonInterpreter => ModuleKind::Interpreter(Language::Python),
                KindRow::JavascriptInterpreter => ModuleKind::Interpreter(Language::JavaScript),
                KindRow::PythonScript => ModuleKind::Script(Language::Python),
                KindRow::JavascriptScript => ModuleKind::Script(Language::JavaScript),
            },
            size_bytes: self.size_bytes,
            imports: self.imports,
            needs: self.needs,
            descriptor: self.descriptor.map(|said| Descriptor {
                summary: said.summary,
                input_schema: said.input_schema,
                output_schema: said.output_schema,
            }),
            compiled_ms: self.compiled_ms,
        }
    }
}
