//! The content of a file in a request: text, or `{"base64": …}`.
//!
//! It is read by hand, because serde would also read a list as the members of that object.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The content of a file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum FileContent<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// Bytes.
    Base64 {
        /// In the standard alphabet, padded.
        base64: Cow<'a, str>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bytes<'a> {
    #[serde(borrow)]
    base64: Cow<'a, str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for FileContent<'a> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<FileContent<'a>, D::Error> {
        struct Content<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for Content<'a> {
            type Value = FileContent<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or {\"base64\": …}")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(FileContent::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(FileContent::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let Bytes { base64 } = Bytes::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FileContent::Base64 { base64 })
            }
        }
        input.deserialize_any(Content(PhantomData))
    }
}
