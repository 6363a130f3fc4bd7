//! Calls of modules: the arguments as JSON in, what came out as content.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock, ErrorData, JsonObject, ResourceContents};
use rmcp::service::RequestContext;
use serde_json::Value;

use crate::mcp::progress::Progress;
use crate::mcp::schema::{self, InputSchema};
use crate::mcp::{Parts, call};
use cofferdam::runner::RunRequest;
use cofferdam_domain::attempt::{Outcome, Payload};
use cofferdam_domain::module::{ModuleName, ModuleRef};

const JSON: &str = "application/json";

/// Calls a module by the name it has as a tool.
pub(super) async fn call(
    parts: &Parts,
    name: ModuleName,
    tool: &str,
    arguments: JsonObject,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    let module = ModuleRef { name, digest: None };
    let info = match parts.runner.registry().resolve(&module).await {
        Ok(info) => info,
        Err(error) => return call::not_begun(tool, error.into()),
    };
    let Some(descriptor) = &info.descriptor else {
        return Err(call::unknown_tool(tool));
    };
    let schema = descriptor.input_schema.as_deref().and_then(InputSchema::of);
    let schema = schema.ok_or_else(|| call::unknown_tool(tool))?;
    let input = match schema.input(arguments) {
        Ok(input) => input,
        Err(why) => return Ok(call::refused(why)),
    };
    let body = serde_json::to_vec(&input).map_err(call::internal)?;
    // The version whose schema was read, even if the name comes to mean another meanwhile.
    let pinned = ModuleRef {
        digest: Some(info.digest),
        ..module
    };
    let label = pinned.name.clone();
    let run = RunRequest::inline(pinned, payload(body.into()));
    let report = match Progress::asked_by(context) {
        None => parts.runner.run_now(run).await,
        Some(progress) => {
            let run = run.heard_by(progress.listener());
            progress.told_during(parts.runner.run_now(run)).await
        }
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => return call::not_begun(tool, error),
    };
    let duration = report.usage.duration;
    match report.outcome {
        Outcome::Completed(output) => {
            parts.metrics.run_finished(label.as_str(), None, duration);
            let promised = descriptor.output_schema.as_deref().and_then(schema::object);
            Ok(completed(&output, promised.is_some()))
        }
        Outcome::Failed(failure) => {
            parts
                .metrics
                .run_finished(label.as_str(), Some(failure.kind), duration);
            Ok(call::failed(&failure, &report.usage, &report.streams))
        }
    }
}

fn payload(body: Bytes) -> Payload {
    Payload {
        content_type: JSON.into(),
        body,
    }
}

/// An output as content; what is a JSON object is data too, which a tool with an output schema
/// promises.
fn completed(output: &Payload, promised: bool) -> CallToolResult {
    let data = match media_type(&output.content_type) {
        JSON => serde_json::from_slice(&output.body)
            .ok()
            .filter(Value::is_object),
        _ => None,
    };
    match (promised, &data) {
        (true, None) => {
            call::refused("the output is not the object that the output schema promises")
        }
        (true, Some(_)) | (false, _) => call::result(false, vec![content(output)], data),
    }
}

fn content(output: &Payload) -> ContentBlock {
    let media_type = media_type(&output.content_type);
    let encoded = || STANDARD.encode(&output.body);
    if media_type.starts_with("image/") {
        return ContentBlock::image(encoded(), media_type);
    }
    if media_type.starts_with("audio/") {
        return ContentBlock::audio(encoded(), media_type);
    }
    match std::str::from_utf8(&output.body) {
        Ok(text) => ContentBlock::text(text),
        Err(_binary) => {
            let bytes = ResourceContents::blob(encoded(), "output:///").with_mime_type(media_type);
            ContentBlock::resource(bytes)
        }
    }
}

/// A content type without its parameters.
fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(content_type: &str, body: &'static [u8], promised: bool) -> Value {
        let output = Payload {
            content_type: content_type.into(),
            body: body.into(),
        };
        serde_json::to_value(completed(&output, promised)).unwrap()
    }

    #[test]
    fn an_object_is_text_and_data() {
        let told = told("application/json; charset=utf-8", br#"{"n":1}"#, true);
        assert_eq!(told["structuredContent"], json!({"n": 1}));
        assert_eq!(told["content"][0]["text"], r#"{"n":1}"#);
        assert_eq!(told["isError"], false);
    }

    #[test]
    fn what_is_no_object_is_content_and_breaks_a_promise() {
        assert_eq!(
            told("application/json", b"[1]", false)["content"][0]["text"],
            "[1]"
        );
        assert!(
            told("application/json", b"[1]", false)
                .get("structuredContent")
                .is_none()
        );
        assert_eq!(told("application/json", b"[1]", true)["isError"], true);
        assert_eq!(told("text/plain", br#"{"n":1}"#, true)["isError"], true);
    }

    #[test]
    fn bytes_come_in_the_form_that_fits_their_kind() {
        let image = told("image/png", b"\xff", false)["content"][0].clone();
        assert_eq!(
            image,
            json!({"type": "image", "data": "/w==", "mimeType": "image/png"})
        );
        let bytes = told("application/zip", b"\xff", false)["content"][0].clone();
        assert_eq!(bytes["resource"]["blob"], "/w==");
        assert_eq!(bytes["resource"]["mimeType"], "application/zip");
    }
}
