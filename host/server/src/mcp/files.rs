//! The files that code wrote, as content: small ones whole, the others by their address.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::RoleServer;
use rmcp::model::{ContentBlock, ErrorData, Resource, ResourceContents};
use rmcp::service::RequestContext;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::mcp::{Parts, call};
use cofferdam::interpreters::answer::Answer;

/// Bytes of files that one answer carries; beyond that it names them.
const EMBEDDED_BYTES_MAX: u64 = 256 * 1024;

/// What `answer`'s files are in a result, in the order of their names.
pub(super) async fn content(
    parts: &Parts,
    id: Uuid,
    answer: &Answer,
    context: &RequestContext<RoleServer>,
) -> Result<Vec<ContentBlock>, ErrorData> {
    let base = base(context);
    let mut room = EMBEDDED_BYTES_MAX;
    let mut content = Vec::with_capacity(answer.files.len());
    for (name, file) in &answer.files {
        let uri = format!("{base}{}", file.url);
        let kind = media_type(name);
        let bytes = match file.size_bytes <= room {
            true => read(parts, id, name, file.size_bytes).await?,
            false => None,
        };
        content.push(match bytes {
            Some(bytes) => {
                room -= file.size_bytes;
                ContentBlock::resource(whole(bytes, uri, kind))
            }
            None => {
                let link = Resource::new(uri, name.as_str()).with_size(file.size_bytes);
                ContentBlock::resource_link(link.with_mime_type(kind))
            }
        });
    }
    Ok(content)
}

/// Where the host is for this caller: the name it called, which was checked.
fn base(context: &RequestContext<RoleServer>) -> String {
    let parts = context.extensions.get::<http::request::Parts>();
    let host = parts
        .and_then(|parts| parts.headers.get(http::header::HOST))
        .and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost"))
}

async fn read(
    parts: &Parts,
    id: Uuid,
    name: &str,
    size_bytes: u64,
) -> Result<Option<Vec<u8>>, ErrorData> {
    let opened = parts.files.open_execution_file(id, name).await;
    let Some((file, _)) = opened.map_err(call::internal)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = file.take(size_bytes).read_to_end(&mut bytes).await;
    read.map_err(call::internal)?;
    Ok(Some(bytes))
}

fn whole(bytes: Vec<u8>, uri: String, kind: &str) -> ResourceContents {
    match String::from_utf8(bytes) {
        Ok(text) => ResourceContents::text(text, uri),
        Err(binary) => ResourceContents::blob(STANDARD.encode(binary.as_bytes()), uri),
    }
    .with_mime_type(kind)
}

/// What a file's name says of its kind; text and bytes that say nothing are told apart by clients.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "csv" => "text/csv",
        "html" => "text/html",
        "md" => "text/markdown",
        "txt" => "text/plain",
        _ => "application/octet-stream",
    }
}
