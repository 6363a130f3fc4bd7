//! The files that a run left, as content: images as images, small files whole, and the others by
//! their address.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::RoleServer;
use rmcp::model::{ContentBlock, Resource, ResourceContents};
use rmcp::service::RequestContext;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use crate::mcp::Parts;
use cofferdam::interpreters::answer::WrittenFile;
use cofferdam_domain::caller::Caller;

/// The largest file in an answer.
pub(super) const EMBEDDED_BYTES_MAX: usize = 200 * 1024;
/// The bytes of a link in a message besides its name and address.
const LINK_BYTES: usize = 256;

/// The files in a result, in the order of their names, within `room` bytes as they are sent.
pub(super) async fn content(
    (parts, caller): (&Parts, &Caller),
    id: Uuid,
    files: &BTreeMap<String, WrittenFile>,
    base: &str,
    mut room: usize,
) -> Vec<ContentBlock> {
    let mut content = Vec::new();
    // Room for each file's address is reserved until it is known that the file itself fits.
    let address =
        |name: &str, file: &WrittenFile| LINK_BYTES + 2 * name.len() + base.len() + file.url.len();
    let mut links: usize = files.iter().map(|(name, file)| address(name, file)).sum();
    for (number, (name, file)) in files.iter().enumerate() {
        let link_bytes = address(name, file);
        links -= link_bytes;
        if link_bytes > room {
            let left_out = files.len() - number;
            content.push(ContentBlock::text(format!(
                "[… {left_out} more files are not named here; write them into one archive …]"
            )));
            return content;
        }
        let uri = format!("{base}{}", file.url);
        let whole = match room.saturating_sub(links) {
            room if file.size_bytes <= EMBEDDED_BYTES_MAX as u64 => {
                let bytes = read((parts, caller), id, name, file.size_bytes).await;
                bytes.and_then(|bytes| whole(bytes, &uri, name, room))
            }
            _ => None,
        };
        let block = whole.unwrap_or_else(|| {
            let link = Resource::new(uri, name.as_str()).with_size(file.size_bytes);
            ContentBlock::resource_link(link.with_mime_type(media_type(name)))
        });
        let bytes = serde_json::to_vec(&block).map_or(link_bytes, |text| text.len());
        room = room.saturating_sub(bytes);
        content.push(block);
    }
    content
}

/// The host's address for this caller: the name it used, which was checked.
pub(super) fn base(context: &RequestContext<RoleServer>) -> String {
    let parts = context.extensions.get::<http::request::Parts>();
    let host = parts
        .and_then(|parts| parts.headers.get(http::header::HOST))
        .and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost"))
}

/// The media type of an image that models can see, by its first bytes.
pub(super) fn image(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        return Some("image/gif");
    }
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp.then_some("image/webp")
}

async fn read(
    (parts, caller): (&Parts, &Caller),
    id: Uuid,
    name: &str,
    size_bytes: u64,
) -> Option<Vec<u8>> {
    let (files, tenant) = (&parts.files, caller.tenant());
    let opened = files.open_execution_file(tenant, id, name).await;
    // A file that cannot be read is named by its address, which says why.
    let (file, _) = opened.ok().flatten()?;
    let mut bytes = Vec::new();
    file.take(size_bytes).read_to_end(&mut bytes).await.ok()?;
    Some(bytes)
}

/// The file itself, if it fits into `room`.
fn whole(bytes: Vec<u8>, uri: &str, name: &str, room: usize) -> Option<ContentBlock> {
    let block = match image(&bytes) {
        Some(media_type) => ContentBlock::image(STANDARD.encode(&bytes), media_type),
        None => {
            let contents = match String::from_utf8(bytes) {
                Ok(text) => ResourceContents::text(text, uri),
                Err(binary) => ResourceContents::blob(STANDARD.encode(binary.as_bytes()), uri),
            };
            ContentBlock::resource(contents.with_mime_type(media_type(name)))
        }
    };
    let bytes = serde_json::to_vec(&block).map_or(usize::MAX, |text| text.len());
    (bytes <= room).then_some(block)
}

/// The media type by a file's name; clients tell other text and bytes apart.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_by_its_bytes_and_anything_else_comes_as_it_is() {
        let png = b"\x89PNG\r\n\x1a\nrest".to_vec();
        let block = whole(png, "u", "a.bin", 1000).unwrap();
        let block = serde_json::to_value(block).unwrap();
        assert_eq!(
            (&block["type"], &block["mimeType"]),
            (&"image".into(), &"image/png".into())
        );
        assert_eq!(image(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        assert_eq!(image(b"RIFF\0\0\0\0WAVEfmt "), None);
        let named_so = whole(b"text".to_vec(), "u", "a.png", 1000).unwrap();
        let named_so = serde_json::to_value(named_so).unwrap();
        assert_eq!(named_so["resource"]["text"], "text");
        assert!(whole(b"text".to_vec(), "u", "a.txt", 10).is_none());
        // It is six times as long when it is escaped.
        assert!(whole(vec![1; 100], "u", "a.txt", 400).is_none());
    }
}
