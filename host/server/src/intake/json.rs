//! Incoming JSON: the one place that reads it, and the field types that requests share.
//!
//! A text is parsed once at full speed; only a refused text is parsed a second time, to name the
//! field.

mod objects;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

use self::objects::Objects;
use crate::intake::refused::{Kind, Refused};

/// Reads a body that must be one JSON object of this shape; what is a struct in it must be an object, too.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    match read(body) {
        Err(error) if is_object || !error.is_data() => Err(refusal::<T>(body, &error)),
        Ok(value) if is_object => Ok(value),
        Ok(_) | Err(_) => {
            let detail = "the body must be a JSON object".to_owned();
            Err(Refused::mistake(Kind::Field, None, detail))
        }
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = T::deserialize(Objects(&mut reader))?;
    reader.end()?;
    Ok(value)
}

fn refusal<'a, T: Deserialize<'a>>(body: &'a [u8], first: &serde_json::Error) -> Refused {
    if first.is_data() {
        let mut reader = serde_json::Deserializer::from_slice(body);
        if let Err(error) = serde_path_to_error::deserialize::<_, T>(Objects(&mut reader)) {
            let path = error.path().to_string();
            let message = helpful(error.into_inner().to_string());
            return match path.as_str() {
                "." => Refused::mistake(Kind::Field, None, message),
                _ => {
                    let detail = format!("{path}: {message}");
                    Refused::mistake(Kind::Field, Some(path), detail)
                }
            };
        }
    }
    let detail = format!("the body is not JSON: {first}");
    Refused::mistake(Kind::NotJson, None, detail)
}

/// The parser's message with advice: the nearest known name, or that a field may be absent.
fn helpful(message: String) -> String {
    let nearest = message
        .strip_prefix("unknown field `")
        .and_then(nearest_of_message);
    if let Some(nearest) = nearest {
        return format!("{message}; did you mean `{nearest}`?");
    }
    match message.contains("invalid type: null") {
        true => format!("{message}; leave the field out if you have no value for it"),
        false => message,
    }
}

/// The quoted name in a message that is most similar to the first one.
fn nearest_of_message(message: &str) -> Option<&str> {
    let mut quoted = message.split('`');
    let asked = quoted.next()?;
    nearest(asked, quoted.skip(1).step_by(2))
}

/// The similarity from which one name counts as a misspelling of the other.
const LIKENESS_MIN: f64 = 0.8;
/// The longest name that is compared with known ones. A caller's name may be megabytes long, and the
/// comparison with each known name looks at every character.
const NAME_BYTES_MAX: usize = 64;

/// The known name that a caller probably meant.
pub(crate) fn nearest<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if asked.len() > NAME_BYTES_MAX {
        return None;
    }
    let similar = known.map(|known| (strsim::jaro_winkler(asked, known), known));
    let best = similar.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .map(|(_, known)| known)
}

/// A whole number from `MIN` to `MAX`; any other value is refused with that range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

/// The largest number that every JSON reader keeps exact.
pub(crate) const EXACT_MAX: u64 = (1 << 53) - 1;

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct InRange<const MIN: u64, const MAX: u64>;
        impl<const MIN: u64, const MAX: u64> Visitor<'_> for InRange<MIN, MAX> {
            type Value = u64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// A JSON object of strings with distinct names. serde's maps would keep the last of two equal
/// names.
#[derive(Debug, Default)]
pub(crate) struct UniqueMap(pub(crate) Vec<(String, String)>);

impl<'de> Deserialize<'de> for UniqueMap {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<UniqueMap, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = UniqueMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMap, A::Error> {
                let mut names = std::collections::HashSet::new();
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if !names.insert(name.clone()) {
                        return Err(de::Error::custom(format_args!("{name:?} occurs twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(UniqueMap(pairs))
            }
        }
        input.deserialize_map(Texts)
    }
}

/// Distinguishes an explicit `null` from an absent field.
pub(crate) fn present<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::refused::Mistake;

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
    }

    fn refused(body: &str) -> Mistake {
        parse::<Outer>(body.as_bytes())
            .expect_err(body)
            .expect_mistake()
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
            assert_eq!(error.kind, Kind::Field, "{number}");
            assert!(
                error.detail.starts_with("inner.number: "),
                "{}",
                error.detail
            );
            assert!(error.detail.contains("from 1 to 100"), "{}", error.detail);
        }
        assert!(parse::<Outer>(br#"{"inner":{"number":100}}"#).is_ok());
    }

    #[test]
    fn mistakes_have_codes_of_their_own() {
        let unknown = refused(r#"{"inner":{"numbre":1}}"#);
        assert_eq!(unknown.kind, Kind::Field);
        assert!(unknown.detail.contains("`number`"), "{}", unknown.detail);
        let detail = unknown.detail;
        assert!(detail.ends_with("did you mean `number`?"), "{detail}");
        let null = refused(r#"{"inner":null}"#);
        let detail = null.detail;
        assert!(
            detail.starts_with("inner: ") && detail.contains("leave"),
            "{detail}"
        );
        let list = refused(r#"{"inner":[5]}"#);
        assert_eq!(
            (list.kind, list.field.as_deref()),
            (Kind::Field, Some("inner"))
        );
        assert!(list.detail.contains("sequence"), "{}", list.detail);
        assert_eq!(refused(r#"{"inner":{}"#).kind, Kind::NotJson);
        assert_eq!(refused(r#"{"inner":{"number":1e999}}"#).kind, Kind::NotJson);
        assert_eq!(refused(r#"{"inner":{}} x"#).kind, Kind::NotJson);
        assert_eq!(refused(r#"{"inner":{},"inner":{}}"#).kind, Kind::Field);
    }
}
