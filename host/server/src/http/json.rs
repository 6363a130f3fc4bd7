//! JSON in and out: one place that parses bodies, one that writes them.
//!
//! A body is parsed once at full speed; only a body that is refused is parsed a second time, to
//! name the field.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};
use serde::{Serialize, Serializer};

use crate::http::error::ApiError;
use cofferdam_domain::said;
use cofferdam_domain::time::Timestamp;

/// Reads a body that must be one JSON object of this shape.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    // A list of the fields in their order would be read as well, which nobody means.
    let is_object = body.trim_ascii_start().starts_with(b"{");
    match serde_json::from_slice(body) {
        Err(error) if is_object || !error.is_data() => Err(refusal::<T>(body, &error)),
        Ok(value) if is_object => Ok(value),
        Ok(_) | Err(_) => {
            let detail = "the body must be a JSON object";
            Err(ApiError::bad_request("invalid_field", detail))
        }
    }
}

/// Writes an answer.
pub(crate) fn answer<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => axum::response::IntoResponse::into_response(ApiError::internal(error)),
    }
}

/// Whether a body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(media_type) = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    said::is_json(media_type)
}

/// Refuses a body that does not say that it is JSON.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_json(headers) {
        return Ok(());
    }
    let detail = "the body must be JSON, with Content-Type: application/json";
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        detail,
    ))
}

fn refusal<'a, T: Deserialize<'a>>(body: &'a [u8], first: &serde_json::Error) -> ApiError {
    if first.is_data() {
        let mut reader = serde_json::Deserializer::from_slice(body);
        if let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) {
            let path = error.path().to_string();
            let message = helpful(error.into_inner().to_string());
            let code = if message.contains(UNSUPPORTED) {
                "unsupported_field"
            } else {
                "invalid_field"
            };
            return match path.as_str() {
                "." => ApiError::bad_request(code, message),
                _ => ApiError::bad_request(code, format!("{path}: {message}")).with("field", path),
            };
        }
    }
    ApiError::bad_request("invalid_json", format!("the body is not JSON: {first}"))
}

/// The parser's message with the way out: the nearest known name, or that a field may be absent.
fn helpful(message: String) -> String {
    let nearest = message
        .strip_prefix("unknown field `")
        .and_then(|rest| nearest(rest.split('`')));
    if let Some(nearest) = nearest {
        return format!("{message}; did you mean `{nearest}`?");
    }
    match message.contains("invalid type: null") {
        true => format!("{message}; leave the field out if you have no value for it"),
        false => message,
    }
}

/// The name among the quoted parts of a message that is most like the first of them.
fn nearest<'a>(mut quoted: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let asked = quoted.next()?;
    let known = quoted.skip(1).step_by(2);
    let similar = known.map(|known| (strsim::jaro_winkler(asked, known), known));
    let best = similar.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .map(|(_, known)| known)
}

/// How much alike two names must be for the one to be meant by the other.
pub(crate) const LIKENESS_MIN: f64 = 0.8;

const UNSUPPORTED: &str = "is not supported by this version of the host";

/// A field of the API that this version of the host knows but cannot honour. Only `null` is
/// accepted (as `Option<Unsupported>`), so that nobody believes it has an effect.
#[derive(Debug)]
pub(crate) enum Unsupported {}

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(_input: D) -> Result<Unsupported, D::Error> {
        Err(de::Error::custom(format_args!("this field {UNSUPPORTED}")))
    }
}

/// A whole number from `MIN` to `MAX`; anything else is refused with that range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

/// The largest number that every JSON reader keeps exact.
pub(crate) const EXACT_MAX: u64 = (1 << 53) - 1;

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct InRange<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> Visitor<'_> for InRange<MIN, MAX> {
            type Value = u64;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
                match (MIN..=MAX).contains(&number) {
                    true => Ok(number),
                    false => Err(E::invalid_value(Unexpected::Unsigned(number), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
                }
            }
        }
        input.deserialize_any(InRange::<MIN, MAX>).map(Whole)
    }
}

/// An instant, as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Time {
    /// Reads RFC 3339, with any offset.
    pub(crate) fn parse(text: &str) -> Result<Time, String> {
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Ok(Time(Timestamp::from_millis(instant.as_millisecond()))),
            Err(_) => Err(format!(
                "{text:?} is not a time in RFC 3339, like 2026-01-31T12:00:00.000Z"
            )),
        }
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let instant = match jiff::Timestamp::from_millisecond(self.0.as_millis()) {
            Ok(instant) => instant,
            Err(_) if self.0 < Timestamp::EPOCH => jiff::Timestamp::MIN,
            Err(_) => jiff::Timestamp::MAX,
        };
        write!(f, "{instant:.3}")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Time, D::Error> {
        let text = String::deserialize(input)?;
        Time::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only whether it is accepted is of interest")]
        inner: Inner,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only whether it is accepted is of interest")]
        number: Option<Whole<1, 100>>,
        #[expect(dead_code, reason = "only whether it is accepted is of interest")]
        later: Option<Unsupported>,
    }

    fn refused(body: &str) -> ApiError {
        parse::<Outer>(body.as_bytes()).expect_err(body)
    }

    #[test]
    fn numbers_out_of_range_name_field_and_range() {
        for number in [
            "0",
            "101",
            "-1",
            "1.5",
            "1e3",
            "18446744073709551616",
            "\"7\"",
            "true",
        ] {
            let error = refused(&format!(r#"{{"inner":{{"number":{number}}}}}"#));
            assert_eq!(error.code(), "invalid_field", "{number}");
            assert!(
                error.detail().starts_with("inner.number: "),
                "{}",
                error.detail()
            );
            assert!(
                error.detail().contains("from 1 to 100"),
                "{}",
                error.detail()
            );
        }
        assert!(parse::<Outer>(br#"{"inner":{"number":100,"later":null}}"#).is_ok());
    }

    #[test]
    fn mistakes_have_codes_of_their_own() {
        let unknown = refused(r#"{"inner":{"numbre":1}}"#);
        assert_eq!(unknown.code(), "invalid_field");
        assert!(
            unknown.detail().contains("`number`"),
            "{}",
            unknown.detail()
        );
        let detail = unknown.detail();
        assert!(detail.ends_with("did you mean `number`?"), "{detail}");
        let null = refused(r#"{"inner":null}"#);
        let detail = null.detail();
        assert!(
            detail.starts_with("inner: ") && detail.contains("leave"),
            "{detail}"
        );
        assert_eq!(
            refused(r#"{"inner":{"later":{}}}"#).code(),
            "unsupported_field"
        );
        assert_eq!(refused(r#"{"inner":{}"#).code(), "invalid_json");
        assert_eq!(
            refused(r#"{"inner":{"number":1e999}}"#).code(),
            "invalid_json"
        );
        assert_eq!(refused(r#"{"inner":{}} x"#).code(), "invalid_json");
        assert_eq!(
            refused(r#"{"inner":{},"inner":{}}"#).code(),
            "invalid_field"
        );
    }

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        let time = Time::parse("2026-01-31T13:00:00+01:00").unwrap();
        assert_eq!(time.to_string(), "2026-01-31T12:00:00.000Z");
        assert_eq!(Time(Timestamp::from_millis(i64::MAX)).to_string().len(), 24);
        for bad in [
            "",
            "yesterday",
            "2026-01-31",
            "2026-13-01T00:00:00Z",
            "1700000000",
        ] {
            assert!(Time::parse(bad).is_err(), "{bad}");
        }
    }
}
