//! Secrets, as a request puts them. What is refused says nothing of what was sent, because that is most
//! likely the secret.

use serde::Deserialize;

use crate::intake::refused::Refused;
use cofferdam_domain::secret::{SecretName, SecretValue};

/// A secret to be kept.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRequest {
    /// The value, which is never shown again.
    #[schema(min_length = 1, max_length = 8192)]
    value: String,
}

/// Reads a secret's value.
pub(crate) fn value(body: &[u8]) -> Result<SecretValue, Refused> {
    let asked: Result<SecretRequest, _> = serde_json::from_slice(body);
    let asked = asked.map_err(|_not_to_be_told| {
        Refused::field(
            "value",
            "the body must be {\"value\": \"…\"} and nothing else",
        )
    })?;
    let value = SecretValue::new(asked.value.into_bytes());
    value.map_err(|error| Refused::field("value", error))
}

/// Reads a secret's name.
pub(crate) fn name(text: &str) -> Result<SecretName, Refused> {
    SecretName::parse(text).map_err(|error| Refused::field("name", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_nothing_of_the_value() {
        assert_eq!(
            value(br#"{"value":"hunter2"}"#).unwrap().reveal(),
            b"hunter2"
        );
        for bad in [
            r#""hunter2""#,
            r#"{"value":"hunter2","hunter2":1}"#,
            r#"{"value":["hunter2"]}"#,
            r#"{"hunter2":"hunter2"}"#,
            "hunter2",
            r#"{"value":""}"#,
        ] {
            let refused = format!("{:?}", value(bad.as_bytes()).unwrap_err());
            assert!(!refused.contains("hunter2"), "{refused}");
        }
    }
}
