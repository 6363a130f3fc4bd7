//! Conversions between a task's own types and a [`Payload`]: JSON for types that serde and schemars
//! know, raw bytes for `Payload` itself. A task with another format takes a `Payload` and reads it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Failure, OrFail, Payload, Unread};

/// What a task can take as its input.
///
/// It is implemented for [`Payload`] (raw bytes), for [`Unread`] (raw bytes that are streamed), for
/// [`Json`], and for every type that implements `serde::Deserialize` and `schemars::JsonSchema`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the input of a task",
    label = "not a task's input",
    note = "derive `serde::Deserialize` and `schemars::JsonSchema` for JSON, or take `cofferdam_guest::Payload` for raw bytes"
)]
pub trait Input: Sized {
    /// Reads the input; an input that cannot be read is [`Failure::InvalidInput`].
    fn decode(payload: Payload) -> Result<Self, Failure>;

    /// The JSON Schema of the input as text, if it has one.
    fn schema() -> Option<String>;
}

/// What a task can return, alone or in a `Result`.
///
/// It is implemented for [`Payload`] (raw bytes), for [`Json`], and for every type that implements
/// `serde::Serialize` and `schemars::JsonSchema`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the output of a task",
    label = "not a task's output",
    note = "derive `serde::Serialize` and `schemars::JsonSchema` for JSON, or return `cofferdam_guest::Payload` for raw bytes"
)]
pub trait Output: Sized {
    /// Writes the output.
    fn encode(self) -> Result<Payload, Failure>;

    /// The JSON Schema of the output as text, if it has one.
    fn schema() -> Option<String>;
}

/// JSON of a type that has no JSON Schema: `fn f(input: Json<Foreign>) -> Json<Other>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + JsonSchema> Input for T {
    fn decode(payload: Payload) -> Result<Self, Failure> {
        from_json(payload)
    }

    fn schema() -> Option<String> {
        schema_text::<T>(SchemaSettings::draft2020_12().for_deserialize())
    }
}

impl<T: Serialize + JsonSchema> Output for T {
    fn encode(self) -> Result<Payload, Failure> {
        to_json(&self)
    }

    fn schema() -> Option<String> {
        schema_text::<T>(SchemaSettings::draft2020_12().for_serialize())
    }
}

impl<T: DeserializeOwned> Input for Json<T> {
    fn decode(payload: Payload) -> Result<Self, Failure> {
        from_json(payload).map(Json)
    }

    fn schema() -> Option<String> {
        None
    }
}

impl<T: Serialize> Output for Json<T> {
    fn encode(self) -> Result<Payload, Failure> {
        to_json(&self.0)
    }

    fn schema() -> Option<String> {
        None
    }
}

impl Input for Payload {
    /// The whole payload, also where the host keeps it in a file.
    fn decode(payload: Payload) -> Result<Self, Failure> {
        payload.load().or_transient("reading the large input")
    }

    fn schema() -> Option<String> {
        None
    }
}

impl Input for Unread {
    fn decode(payload: Payload) -> Result<Self, Failure> {
        Ok(Self(payload))
    }

    fn schema() -> Option<String> {
        None
    }
}

impl Output for Payload {
    fn encode(self) -> Result<Payload, Failure> {
        Ok(self)
    }

    fn schema() -> Option<String> {
        None
    }
}

/// The media type is ignored, and only named when the text is wrong: `curl --data` and many
/// clients send JSON under another name. A task submitted without an input reads `null`.
fn from_json<T: DeserializeOwned>(payload: Payload) -> Result<T, Failure> {
    let payload = payload.load().or_transient("reading the large input")?;
    let text: &[u8] = if payload.body.is_empty() {
        b"null"
    } else {
        &payload.body
    };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." {
            String::new()
        } else {
            format!(" at `{path}`")
        };
        refusal(&payload, &place, error.inner())
    })?;
    reader
        .end()
        .map_err(|error| refusal(&payload, "", &error))?;
    Ok(value)
}

fn refusal(payload: &Payload, place: &str, error: &serde_json::Error) -> Failure {
    let content_type = payload.content_type.as_str();
    let message = if payload.body.is_empty() {
        format!("the input is empty; this task takes JSON ({error})")
    } else if error.is_data() || payload.essence().ends_with("json") {
        format!("the input does not fit{place}: {error}")
    } else {
        format!("the input ({content_type}) is not JSON: {error}")
    };
    Failure::InvalidInput(message)
}

fn to_json<T: Serialize>(value: &T) -> Result<Payload, Failure> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Failure::Permanent(format!("the output is not JSON: {error}")))?;
    Ok(Payload::json(text))
}

fn schema_text<T: JsonSchema>(settings: SchemaSettings) -> Option<String> {
    let schema = settings.into_generator().into_root_schema_for::<T>();
    Some(serde_json::to_string(&schema).expect("a schema is made of JSON values"))
}
