//! The upload of a module: where its bytes are kept until they are complete, and their kind.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;

use crate::http::Services;
use crate::http::body::{BodyLimit, BodyReader};
use crate::http::error::ApiError;
use crate::http::room::UNCOUNTED_BYTES;
use cofferdam_domain::module::{Language, ModuleName};

/// The body, which is on disk until it is complete, however slowly it arrives.
pub(super) async fn upload(
    services: &Services,
    headers: &HeaderMap,
    body: Body,
    limit: BodyLimit,
) -> Result<Bytes, ApiError> {
    let mut reader = BodyReader::new(headers, body, limit)?;
    if reader
        .announced_bytes()
        .is_some_and(|bytes| bytes <= UNCOUNTED_BYTES)
    {
        return reader.collect().await;
    }
    let mut writer = services.files.spool().await?;
    while let Some(chunk) = reader.chunk().await? {
        writer.write(chunk).await?;
    }
    let held = services.room.take(writer.size_bytes()).await?;
    Ok(held.keep(writer.take_back().await?))
}

/// The declared kind of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// WebAssembly, as a binary or as text; the first bytes tell which.
    Wasm,
    /// A script.
    Script(Language),
    /// The sender declared no kind.
    Nothing,
}

/// Reads the content type, or the name if that says nothing: `curl -T report.py` sends a script
/// without a content type.
pub(super) fn said(headers: &HeaderMap, name: &ModuleName) -> Result<Said, ApiError> {
    let said = headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or_default());
    let essence = said.map(|said| {
        let essence = said.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    });
    match essence.as_deref() {
        Some("application/wasm" | "text/wat") => Ok(Said::Wasm),
        Some("text/x-python" | "application/x-python" | "text/x-python-script") => {
            Ok(Said::Script(Language::Python))
        }
        // JavaScript's interpreter removes the types.
        Some(
            "text/javascript"
            | "application/javascript"
            | "application/x-javascript"
            | "text/typescript"
            | "application/typescript"
            | "application/x-typescript",
        ) => Ok(Said::Script(Language::JavaScript)),
        None
        | Some("application/octet-stream" | "application/x-www-form-urlencoded" | "text/plain") => {
            let name = name.as_str();
            let ending = name.rsplit_once('.').map(|(_, ending)| ending);
            match (Language::of_file(name), ending) {
                (Some(language), _) => Ok(Said::Script(language)),
                (None, Some("wasm" | "wat")) => Ok(Said::Wasm),
                (None, Some(_) | None) => Ok(Said::Nothing),
            }
        }
        Some(other) => Err(unsupported(format!(
            "a module is application/wasm, text/wat, text/x-python, text/javascript or text/typescript, not {other:?}"
        ))),
    }
}

/// Whether the bytes begin like a WebAssembly binary or text.
pub(super) fn looks_like_wasm(bytes: &[u8]) -> bool {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = text.trim_ascii_start();
    // Compiled code is refused with its own reason.
    let is_binary = bytes.starts_with(b"\0asm") || bytes.starts_with(b"\x7fELF");
    bytes.is_empty() || is_binary || text.starts_with(b"(") || text.starts_with(b";;")
}

pub(super) fn unsaid(name: &ModuleName) -> ApiError {
    unsupported(format!(
        "{name} is neither a WebAssembly binary nor its text; a script says what it is, with \
         Content-Type: text/x-python, text/javascript or text/typescript, or by a name that ends in .py, .js or .ts"
    ))
}

fn unsupported(detail: String) -> ApiError {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    ApiError::new(status, "unsupported_media_type", detail)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn said_of(media_type: Option<&'static str>, name: &str) -> Result<Said, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        said(&headers, &ModuleName::parse(name).unwrap())
    }

    #[test]
    fn the_content_type_says_what_a_module_is_else_its_name() {
        let (python, javascript) = (
            Said::Script(Language::Python),
            Said::Script(Language::JavaScript),
        );
        for (media_type, name, expected) in [
            (Some("Application/WASM"), "a", Said::Wasm),
            (Some("text/wat; charset=utf-8"), "a.py", Said::Wasm),
            (Some("text/x-python; charset=utf-8"), "a", python),
            (None, "team/a.py", python),
            (Some("application/octet-stream"), "a.mjs", javascript),
            (
                Some("application/x-www-form-urlencoded"),
                "a.js",
                javascript,
            ),
            (Some("text/typescript"), "a", javascript),
            (None, "a.ts", javascript),
            (None, "a.wasm", Said::Wasm),
            (None, "a", Said::Nothing),
        ] {
            assert_eq!(
                said_of(media_type, name).unwrap(),
                expected,
                "{media_type:?} {name}"
            );
        }
        let refused = said_of(Some("application/json"), "a").unwrap_err();
        let detail = refused.detail();
        assert!(detail.contains("application/json"), "{detail}");
    }

    #[test]
    fn wasm_is_known_by_its_first_bytes() {
        for wasm in [
            &b"\0asm\x01\0\0\0"[..],
            b" (module)",
            b";; text\n(component)",
            b"",
        ] {
            assert!(looks_like_wasm(wasm));
        }
        for other in [&b"def run(input): pass"[..], b"const a = 1;", b"\x89PNG"] {
            assert!(!looks_like_wasm(other));
        }
    }
}
