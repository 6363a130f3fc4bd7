//! The result of a call as content: without repetition, within the size that clients accept, and in
//! the kinds that they show.
//!
//! A model reads text, so the content is text: output, result and error, each cut if it is long.
//! Images come as images, other small files whole, everything else by its address. Usage figures
//! are beside the content, for the client.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock, Resource, ResourceContents};
use rmcp::service::RequestContext;
use serde_json::Value;

use crate::mcp::door::beside;
use crate::mcp::exact::Exact;
use crate::mcp::text::Kept as Texts;
use crate::mcp::{Parts, call, files};
use cofferdam::executions::{self, Kept};
use cofferdam::interpreters::answer::{Answer, written};
use cofferdam_domain::attempt::{Failure, Outcome, Payload};
use cofferdam_domain::caller::Caller;
use cofferdam_domain::said;
use cofferdam_sandbox::Report;

/// The most bytes of a result's content as it is sent. Clients accept half a megabyte.
const CONTENT_BYTES_MAX: usize = 400_000;
/// Bytes of text that are shown of a result, and of standard output.
const LONG_BYTES: usize = 24 * 1024;
/// Bytes that are shown of every other text: standard error, a log, a traceback.
const SHORT_BYTES: usize = 8 * 1024;
/// Bytes of the data that a tool promised.
const DATA_BYTES_MAX: usize = 300_000;
/// Bytes of such data that are shown as text as well.
const PREVIEW_BYTES: usize = 2 * 1024;

/// The result of code.
pub(super) async fn code(
    (parts, caller): (&Parts, &Caller),
    kept: &Kept,
    figures: Value,
    context: &RequestContext<RoleServer>,
) -> CallToolResult {
    let base = files::base(context);
    let Kept { answer, id } = kept;
    let words = words(answer, &Texts::new(parts, caller, &base)).await;
    let mut content = vec![ContentBlock::text(words)];
    if let Some(id) = id {
        let room = CONTENT_BYTES_MAX.saturating_sub(size(&content));
        content.extend(files::content((parts, caller), *id, &answer.files, &base, room).await);
    }
    call::result(answer.error.is_some(), content, None, figures)
}

/// The result of a module's run, with data if the tool `promised` it.
pub(super) async fn module(
    (parts, caller): (&Parts, &Caller),
    report: &Report,
    promised: bool,
    context: &RequestContext<RoleServer>,
) -> CallToolResult {
    let base = files::base(context);
    let texts = Texts::new(parts, caller, &base);
    let (failure, mut content, data) = match &report.outcome {
        Outcome::Failed(failure) => {
            let words = failed(failure, report, &texts).await;
            (Some(failure), vec![ContentBlock::text(words)], None)
        }
        Outcome::Completed(output) if promised => match data(output, &texts).await {
            Ok((text, data)) => (None, vec![ContentBlock::text(text)], Some(data)),
            Err(why) => return call::refused(why),
        },
        Outcome::Completed(output) => (None, vec![shown(output, &texts).await], None),
    };
    let figures = call::figures(failure, &report.usage);
    let data_bytes = data.as_ref().map_or(0, Bytes::len);
    let kept = executions::keep_files(
        &parts.files,
        caller,
        parts.clock.now(),
        report.files.as_ref(),
    )
    .await;
    match (kept, &report.files) {
        (Ok(Some(id)), Some(left)) => {
            let named = written(left.artifacts(), &executions::files_url(id));
            let room = CONTENT_BYTES_MAX.saturating_sub(size(&content) + data_bytes);
            content.extend(files::content((parts, caller), id, &named, &base, room).await);
        }
        (Ok(_), _) => {}
        (Err(error), _) => {
            content.push(ContentBlock::text(format!(
                "The files it wrote are lost: {error}"
            )));
        }
    }
    let exact: Option<Exact> = beside(context);
    let data = data.zip(exact).map(|(data, exact)| exact.keep(&data));
    call::result(failure.is_some(), content, data, figures)
}

/// The length of content as it is sent.
fn size(content: &[ContentBlock]) -> usize {
    serde_json::to_vec(content).map_or(usize::MAX, |text| text.len())
}

/// The text of code's result for a model: output, result and error, each once.
async fn words(answer: &Answer, texts: &Texts<'_>) -> String {
    let mut words = Words::default();
    let traceback = answer
        .error
        .as_ref()
        .and_then(|error| error.traceback.as_deref());
    let traceback = traceback.map(str::trim_end).unwrap_or_default();
    // The interpreter has also written it to standard error.
    let stderr = match traceback.is_empty() {
        true => answer.stderr.clone(),
        false => answer.stderr.replacen(traceback, "", 1),
    };
    words.add(
        "",
        &texts.cut("stdout.txt", &answer.stdout, LONG_BYTES).await,
    );
    let stderr = texts
        .cut("stderr.txt", stderr.trim_end(), SHORT_BYTES)
        .await;
    words.add("stderr: ", &stderr);
    match &answer.error {
        Some(error) => {
            // A traceback ends in the message.
            if !traceback.contains(error.message.as_str()) {
                let message = format!("{}: {}", error.kind, error.message);
                words.add("", &texts.cut("message.txt", &message, SHORT_BYTES).await);
            }
            words.add(
                "",
                &texts.cut("traceback.txt", traceback, SHORT_BYTES).await,
            );
        }
        None => match (answer.result.get(), &answer.result_repr) {
            ("null", None) => {}
            (json, None) => {
                words.add(
                    "result: ",
                    &texts.cut("result.json", json, LONG_BYTES).await,
                );
            }
            (_, Some(repr)) => {
                words.add("result: ", &texts.cut("result.txt", repr, LONG_BYTES).await);
            }
        },
    }
    let left_out = answer.files_left_out.iter();
    let left_out: Vec<String> = left_out
        .map(|(why, count)| format!("{count} ({why})"))
        .collect();
    words.add("files left out: ", &left_out.join(", "));
    words.0
}

/// The text of a failed run of a module for a model.
async fn failed(failure: &Failure, report: &Report, texts: &Texts<'_>) -> String {
    let mut words = Words::default();
    let message = format!("{}: {}", failure.kind.as_str(), failure.message);
    words.add("", &texts.cut("message.txt", &message, SHORT_BYTES).await);
    let backtrace = failure.backtrace.as_deref().unwrap_or_default();
    words.add(
        "",
        &texts.cut("backtrace.txt", backtrace, SHORT_BYTES).await,
    );
    let streams = &report.streams;
    for (label, name, stream) in [
        ("stdout: ", "stdout.txt", &streams.stdout),
        ("stderr: ", "stderr.txt", &streams.stderr),
        ("log: ", "log.txt", &streams.log),
    ] {
        words.add(
            label,
            &texts.cut(name, stream.text().trim_end(), SHORT_BYTES).await,
        );
    }
    words.0
}

/// Lines with labels, without empty ones.
#[derive(Default)]
struct Words(String);

impl Words {
    fn add(&mut self, label: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.0.is_empty() && !self.0.ends_with('\n') {
            self.0.push('\n');
        }
        write!(self.0, "{label}{text}").expect("memory takes any text");
    }
}

/// The data that a tool promised, and what is shown of it as text.
async fn data(output: &Payload, texts: &Texts<'_>) -> Result<(String, Bytes), String> {
    let bytes = output.body.len();
    if bytes > DATA_BYTES_MAX {
        let whole = texts.keep("result.json", output.body.clone()).await;
        let whole = whole.map_or_else(
            || "there is no room to keep it".to_owned(),
            |url| format!("all of it: {url}"),
        );
        return Err(format!(
            "the result has {bytes} bytes; this protocol's clients accept at most \
                 {DATA_BYTES_MAX}; {whole}"
        ));
    }
    let is_object = serde_json::from_slice(&output.body).is_ok_and(|data: Value| data.is_object());
    if !is_object {
        return Err("the output is not the object that the output schema promises".to_owned());
    }
    let text = String::from_utf8_lossy(&output.body);
    let text = match bytes <= PREVIEW_BYTES {
        true => text.into_owned(),
        false => {
            let begin = text.floor_char_boundary(PREVIEW_BYTES);
            format!(
                "{}\n[… the structured content of this result is all of it, {bytes} bytes …]",
                &text[..begin]
            )
        }
    };
    Ok((text, output.body.clone()))
}

/// An output as content of a fitting kind.
async fn shown(output: &Payload, texts: &Texts<'_>) -> ContentBlock {
    let media_type = said::essence(&output.content_type);
    let is_small = output.body.len() <= files::EMBEDDED_BYTES_MAX;
    if let Some(image) = is_small.then(|| files::image(&output.body)).flatten() {
        return ContentBlock::image(STANDARD.encode(&output.body), image);
    }
    if is_small && media_type.starts_with("audio/") {
        return ContentBlock::audio(STANDARD.encode(&output.body), media_type);
    }
    match std::str::from_utf8(&output.body) {
        Ok(text) => {
            let name = match said::is_json(&output.content_type) {
                true => "result.json",
                false => "result.txt",
            };
            ContentBlock::text(texts.cut(name, text, LONG_BYTES).await)
        }
        Err(_binary) if is_small => {
            let bytes = STANDARD.encode(&output.body);
            let bytes = ResourceContents::blob(bytes, "output:///").with_mime_type(media_type);
            ContentBlock::resource(bytes)
        }
        Err(_binary) => by_address(output.body.clone(), &media_type, texts).await,
    }
}

async fn by_address(bytes: Bytes, media_type: &str, texts: &Texts<'_>) -> ContentBlock {
    let size = bytes.len();
    match texts.keep("result.bin", bytes).await {
        Some(url) => {
            let link = Resource::new(url, "result.bin").with_size(size as u64);
            ContentBlock::resource_link(link.with_mime_type(media_type))
        }
        None => ContentBlock::text(format!("The result of {size} bytes could not be kept.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_text_takes_no_line() {
        let mut words = Words::default();
        words.add("stdout: ", "");
        words.add("", "out\n");
        words.add("stderr: ", "err");
        words.add("result: ", "1");
        assert_eq!(words.0, "out\nstderr: err\nresult: 1");
    }
}
