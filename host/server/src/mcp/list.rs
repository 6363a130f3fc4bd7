//! The list of tools: code of the installed interpreters' languages, then every module with an
//! input schema, by name. The list is made again for each page.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::model::{ErrorData, ListToolsResult, Tool};

use crate::mcp::schema::{self, InputSchema};
use crate::mcp::{Parts, call, code, harmless, names};
use cofferdam::interpreters::State;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{Language, ModuleName};
use cofferdam_storage::StoredModule;

/// Tools on a page.
const TOOLS_MAX: usize = 100;
/// Bytes of text on a page, without the last tool's.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// The most modules examined for a page; most hosts have fewer.
const LOOKED_AT_MAX: usize = 1000;
/// The most chunks searched for a module by the hash of its name.
const CALLED_CHUNKS_MAX: usize = 100;
/// Modules read at once.
const CHUNK: u32 = 100;

/// One page of what a tenant may call, from where `cursor` says.
pub(super) async fn page(
    parts: &Parts,
    tenant: &Tenant,
    cursor: Option<&str>,
) -> Result<ListToolsResult, ErrorData> {
    let mut page = Page::default();
    let mut after = match cursor {
        Some(cursor) => Some(position(cursor)?),
        None => {
            page.extend(Language::ALL.iter().filter_map(|it| code_tool(parts, *it)));
            None
        }
    };
    loop {
        let chunk = parts.modules.list_modules(tenant, after.as_ref(), CHUNK);
        let chunk = chunk.await;
        let chunk = chunk.map_err(call::internal)?;
        let is_last = chunk.len() < CHUNK as usize;
        for module in chunk {
            page.looked_at += 1;
            page.extend(module_tool(&module));
            after = Some(module.name);
            if page.is_full() {
                return Ok(page.ending(after));
            }
        }
        if is_last {
            return Ok(page.ending(None));
        }
    }
}

/// The module of the tool `tool`, among those of a tenant whose names come after `first` and share its
/// beginning.
pub(super) async fn called(
    parts: &Parts,
    tenant: &Tenant,
    first: ModuleName,
    tool: &str,
) -> Result<Option<ModuleName>, ErrorData> {
    let start = first.as_str().to_owned();
    let mut after = first;
    for _chunk in 0..CALLED_CHUNKS_MAX {
        let chunk = parts.modules.list_modules(tenant, Some(&after), CHUNK);
        let chunk = chunk.await;
        let chunk = chunk.map_err(call::internal)?;
        let is_last = chunk.len() < CHUNK as usize;
        for StoredModule { name, .. } in chunk {
            if !name.as_str().starts_with(&start) {
                return Ok(None);
            }
            if names::module_tool(&name) == tool {
                return Ok(Some(name));
            }
            after = name;
        }
        if is_last {
            break;
        }
    }
    Ok(None)
}

#[derive(Default)]
struct Page {
    tools: Vec<Tool>,
    text_bytes: usize,
    looked_at: usize,
}

impl Page {
    fn extend(&mut self, tools: impl IntoIterator<Item = (Tool, usize)>) {
        for (tool, text_bytes) in tools {
            self.text_bytes += text_bytes;
            self.tools.push(tool);
        }
    }

    fn is_full(&self) -> bool {
        self.tools.len() >= TOOLS_MAX
            || self.text_bytes >= TEXT_BYTES_MAX
            || self.looked_at >= LOOKED_AT_MAX
    }

    fn ending(self, after: Option<ModuleName>) -> ListToolsResult {
        let mut list = ListToolsResult::with_all_items(self.tools);
        list.next_cursor = after.map(|name| URL_SAFE_NO_PAD.encode(name.as_str()));
        list
    }
}

fn position(cursor: &str) -> Result<ModuleName, ErrorData> {
    let name = URL_SAFE_NO_PAD.decode(cursor).ok();
    let name = name.and_then(|name| String::from_utf8(name).ok());
    name.and_then(|name| ModuleName::parse(&name).ok())
        .ok_or_else(|| {
            ErrorData::invalid_params("cursor: must be the nextCursor of an earlier list", None)
        })
}

fn code_tool(parts: &Parts, language: Language) -> Option<(Tool, usize)> {
    let interpreters = parts.runner.interpreters();
    match interpreters.state(language) {
        State::NotInstalled => None,
        State::WarmingUp | State::Ready(_) | State::NoRoom | State::Failed { .. } => {
            Some((code::tool(language, interpreters.packages()), 0))
        }
    }
}

fn module_tool(module: &StoredModule) -> Option<(Tool, usize)> {
    let descriptor = module.info.descriptor.as_ref()?;
    let text = descriptor.input_schema.as_ref()?;
    if module.name.is_reserved() {
        return None;
    }
    let output = descriptor.output_schema.as_deref();
    let summary = match descriptor.summary.as_str() {
        "" => format!("Runs the module {}.", module.name),
        summary => summary.to_owned(),
    };
    let size = summary.len() + text.len() + output.map_or(0, str::len);
    let schema = InputSchema::of(text)?.into_schema();
    let mut tool = Tool::new(names::module_tool(&module.name), summary, Arc::new(schema))
        .with_title(module.name.as_str())
        .with_annotations(harmless(module.name.as_str()));
    tool.output_schema = output.and_then(schema::object).map(Arc::new);
    Some((tool, size))
}
