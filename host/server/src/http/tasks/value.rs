//! A task's output as a JSON value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use cofferdam_domain::attempt::Payload;
use cofferdam_domain::said;

/// JSON stays verbatim, because a tree would round its numbers; other text is a string, and other bytes are
/// `{"base64": …}`.
pub(crate) fn value_of(output: &Payload) -> Box<RawValue> {
    let json = said::is_json(&output.content_type)
        .then(|| serde_json::from_slice::<&RawValue>(&output.body).ok())
        .flatten();
    if let Some(json) = json {
        return json.to_owned();
    }
    let value = match std::str::from_utf8(&output.body) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(&output.body) }),
    };
    to_raw_value(&value).expect("it is plain JSON")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn outputs_become_json_values() {
        let value = |content_type: &str, body: &'static [u8]| {
            value_of(&Payload {
                content_type: content_type.into(),
                body: Bytes::from_static(body),
            })
            .to_string()
        };
        assert_eq!(value("application/json", b"[1e999]"), "[1e999]");
        assert_eq!(value("text/plain", b"[1]"), r#""[1]""#);
        assert_eq!(value("image/png", &[0xff]), r#"{"base64":"/w=="}"#);
    }
}
