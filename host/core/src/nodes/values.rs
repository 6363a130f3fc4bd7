//! What the references of a node stand for: outputs and failures of the nodes before it, and its workflow's input.
//!
//! Everything is in memory here; reading it from storage is [`super::Nodes`]' part.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::plan::Plan;
use super::pointer::Pointer;
use super::template::{Reference, Source};
use cofferdam_domain::attempt::{Failure, Payload};
use cofferdam_domain::said;
use cofferdam_domain::state::TaskState;
use cofferdam_sandbox::files::{InputContent, InputFile, InputPlace};

/// What is known of the nodes before one, and of its workflow.
#[derive(Debug, Default)]
pub(super) struct Values {
    ended: HashMap<String, Ended>,
    /// The workflow's input, as JSON text.
    pub(super) input: Option<String>,
}

/// How one of them ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) state: TaskState,
    pub(super) failure: Option<Failure>,
    pub(super) output: Output,
}

/// Its output.
#[derive(Debug)]
pub(super) enum Output {
    /// It has none.
    None,
    /// In memory.
    Here(Payload),
    /// It is too long to be put into an input, and is the file of that name in `/in`.
    File { name: String, payload: Payload },
}

impl Values {
    /// The outputs that are files.
    pub(super) fn into_files(self) -> Result<Vec<InputFile>, String> {
        let file = |ended: Ended| match ended.output {
            Output::File { name, payload } => Some((name, payload.body)),
            Output::None | Output::Here(_) => None,
        };
        let files = self
            .ended
            .into_values()
            .filter_map(file)
            .map(|(name, body)| {
                InputFile::new(&name, InputPlace::In, InputContent::Bytes(body))
                    .map_err(|error| error.to_string())
            });
        files.collect()
    }

    pub(super) fn add(&mut self, node: String, ended: Ended) {
        self.ended.insert(node, ended);
    }

    /// What a reference of that plan stands for.
    pub(super) fn of(&self, plan: &Plan, reference: &Reference) -> Result<Cow<'_, str>, String> {
        let Some(found) = self.find(plan, reference)? else {
            let pointer = &reference.pointer;
            let what = told(&reference.source);
            return Err(format!("{what} has nothing at {pointer}"));
        };
        Ok(found)
    }

    /// The same for a condition, for which there may be nothing.
    pub(super) fn perhaps(
        &self,
        plan: &Plan,
        reference: &Reference,
    ) -> Result<Option<Box<RawValue>>, String> {
        let is_part =
            matches!(reference.source, Source::Output(_)) && !reference.pointer.is_whole();
        let found = match self.find(plan, reference) {
            // An output that is not JSON has nothing at a pointer.
            Err(_) if is_part => None,
            found => found?,
        };
        Ok(found.and_then(|text| RawValue::from_string(text.into_owned()).ok()))
    }

    fn find(&self, plan: &Plan, reference: &Reference) -> Result<Option<Cow<'_, str>>, String> {
        let Reference { source, pointer } = reference;
        let node = plan.node_of(source);
        let ended = || {
            let name = node.as_deref().unwrap_or_default();
            self.ended
                .get(name)
                .ok_or_else(|| format!("nothing is known of {name}"))
        };
        match source {
            Source::Input if node.is_none() => match &self.input {
                Some(input) => Ok(found(pointer, input)),
                None => Ok(pointer.is_whole().then_some(Cow::Borrowed("null"))),
            },
            Source::Input | Source::Output(_) => ended()?.output(source, pointer),
            Source::Failure(_) => {
                let failure = ended()?.failure_json();
                let value = pointer.find(&failure).map_or("null", RawValue::get);
                Ok(Some(Cow::Owned(value.to_owned())))
            }
            Source::Item | Source::Index => Err("only a node with map has items".to_owned()),
        }
    }
}

/// A source as people read it.
fn told(source: &Source) -> String {
    match source {
        Source::Input => "the input of the workflow".to_owned(),
        Source::Output(node) => format!("the output of {node}"),
        Source::Failure(node) => format!("the failure of {node}"),
        Source::Item => "the item".to_owned(),
        Source::Index => "the index".to_owned(),
    }
}

fn found<'a>(pointer: &Pointer, text: &'a str) -> Option<Cow<'a, str>> {
    pointer.find(text).map(|value| Cow::Borrowed(value.get()))
}

impl Ended {
    fn output(&self, source: &Source, pointer: &Pointer) -> Result<Option<Cow<'_, str>>, String> {
        let payload = match &self.output {
            _ if self.state != TaskState::Completed => return Ok(Some(Cow::Borrowed("null"))),
            Output::None => return Ok(pointer.is_whole().then_some(Cow::Borrowed("null"))),
            Output::File { name, payload } if pointer.is_whole() => {
                let file = json!({
                    "file": format!("/in/{name}"),
                    "content_type": &*payload.content_type,
                    "size_bytes": payload.body.len(),
                });
                return Ok(Some(Cow::Owned(file.to_string())));
            }
            Output::Here(payload) | Output::File { payload, .. } => payload,
        };
        if pointer.is_whole() {
            return Ok(Some(whole(payload)));
        }
        let text = std::str::from_utf8(&payload.body).ok();
        if let Some(found) = text.and_then(|text| found(pointer, text)) {
            return Ok(Some(found));
        }
        let is_json = |text: &str| serde_json::from_str::<&RawValue>(text).is_ok();
        if text.is_some_and(is_json) {
            return Ok(None);
        }
        let (what, content_type) = (told(source), &payload.content_type);
        Err(format!(
            "{what} is not JSON ({content_type}), so {pointer} leads nowhere in it"
        ))
    }

    /// The failure as JSON; null if there was none.
    fn failure_json(&self) -> String {
        match &self.failure {
            Some(failure) if self.state != TaskState::Completed => {
                let mut told = json!({
                    "kind": failure.kind.as_str(),
                    "message": failure.message,
                    "transient": failure.transient,
                });
                if let Some(code) = failure.exit_code {
                    told["exit_code"] = json!(code);
                }
                told.to_string()
            }
            Some(_) | None => "null".to_owned(),
        }
    }
}

/// An output as a JSON value: JSON as it is, other text as a text, and other bytes as `{"base64": …}`.
pub(super) fn whole(payload: &Payload) -> Cow<'_, str> {
    let text = std::str::from_utf8(&payload.body).ok();
    let is_json = said::is_json(&payload.content_type);
    match text {
        Some("") => Cow::Borrowed("null"),
        Some(text) if is_json && serde_json::from_str::<&RawValue>(text).is_ok() => {
            Cow::Borrowed(text)
        }
        Some(text) => Cow::Owned(Value::from(text).to_string()),
        None => Cow::Owned(json!({ "base64": STANDARD.encode(&payload.body) }).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::nodes::template::Template;
    use cofferdam_domain::attempt::FailureKind;

    fn values() -> Values {
        let mut values = Values {
            input: Some(r#"{"n": 1.50}"#.to_owned()),
            ..Values::default()
        };
        let completed = |output: Output| Ended {
            state: TaskState::Completed,
            failure: None,
            output,
        };
        let payload = |content_type: &str, body: &'static [u8]| Payload {
            content_type: content_type.into(),
            body: Bytes::from_static(body),
        };
        let json = payload("application/json", br#"{"x": [10, 20]}"#);
        values.add("a".to_owned(), completed(Output::Here(json.clone())));
        values.add(
            "text".to_owned(),
            completed(Output::Here(payload("text/plain", b"hi"))),
        );
        values.add(
            "bytes".to_owned(),
            completed(Output::Here(payload("image/png", &[0xff]))),
        );
        values.add("empty".to_owned(), completed(Output::None));
        let name = "big".to_owned();
        values.add(
            "big".to_owned(),
            completed(Output::File {
                name,
                payload: json,
            }),
        );
        let failure = Failure::new(FailureKind::Trap, "it trapped");
        values.add(
            "bad".to_owned(),
            Ended {
                state: TaskState::Failed,
                failure: Some(failure),
                output: Output::None,
            },
        );
        values
    }

    fn filled(text: &str) -> Result<String, String> {
        let (values, plan) = (values(), Plan::read(None).unwrap());
        let template = Template::read(&Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let filled = template.fill(|reference| values.of(&plan, reference));
        filled
            .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn outputs_failures_and_the_input_are_json_values() {
        for (text, expected) in [
            (r#"{"$from": "a"}"#, r#"{"x": [10, 20]}"#),
            (r#"{"$from": "a", "pointer": "/x/1"}"#, "20"),
            (r#"{"$from": "text"}"#, r#""hi""#),
            (r#"{"$from": "bytes"}"#, r#"{"base64":"/w=="}"#),
            (r#"{"$from": "empty"}"#, "null"),
            (r#"{"$from": "bad"}"#, "null"),
            (r#"{"$from": "bad", "pointer": "/x"}"#, "null"),
            (r#"{"$from": "big", "pointer": "/x/0"}"#, "10"),
            (r#"{"$error": "bad", "pointer": "/kind"}"#, r#""trap""#),
            (r#"{"$error": "a"}"#, "null"),
            (r#"{"$input": "/n"}"#, "1.50"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
        let file: Value = serde_json::from_str(&filled(r#"{"$from": "big"}"#).unwrap()).unwrap();
        assert_eq!(
            (&file["file"], &file["size_bytes"]),
            (&json!("/in/big"), &json!(15))
        );
    }

    #[test]
    fn what_is_not_there_is_told_with_its_place() {
        let refused = |text: &str| filled(text).unwrap_err();
        assert_eq!(
            refused(r#"{"$from": "a", "pointer": "/y"}"#),
            "the output of a has nothing at /y"
        );
        let not_json = refused(r#"{"$from": "text", "pointer": "/y"}"#);
        assert_eq!(
            not_json,
            "the output of text is not JSON (text/plain), so /y leads nowhere in it"
        );
        assert_eq!(
            refused(r#"{"$input": "/m"}"#),
            "the input of the workflow has nothing at /m"
        );
        assert!(refused(r#"{"$from": "nobody"}"#).contains("nobody"));
    }
}
