//! Query strings, read field by field.
//!
//! Each handler takes the parameters it knows and then calls [`Query::done`], which refuses the
//! others and lists the allowed ones. A name that occurs twice is refused, except for a list.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use crate::intake::json::nearest;
use crate::intake::refused::{Kind, Refused};

/// The most parameters a query may have.
const PARAMETERS_MAX: usize = 1024;

/// A query string that is being read.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    left: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    known: Vec<&'static str>,
}

impl<'a> Query<'a> {
    /// The query of a request's address, if it has one.
    pub(crate) fn of(text: Option<&'a str>) -> Result<Query<'a>, Refused> {
        let Some(text) = text else {
            return Ok(Query::default());
        };
        // Bytes that are not UTF-8 would be replaced silently.
        if percent_decode_str(text).decode_utf8().is_err() {
            let detail = "the query is not UTF-8 once it is decoded".to_owned();
            return Err(Refused::mistake(Kind::Parameter, None, detail));
        }
        let left: Vec<_> = form_urlencoded::parse(text.as_bytes())
            .take(PARAMETERS_MAX + 1)
            .collect();
        if left.len() > PARAMETERS_MAX {
            let detail = format!("more than {PARAMETERS_MAX} query parameters");
            return Err(Refused::mistake(Kind::Parameter, None, detail));
        }
        Ok(Query {
            left,
            known: Vec::new(),
        })
    }

    /// The same from names and texts that came otherwise.
    pub(crate) fn of_pairs(pairs: Vec<(String, String)>) -> Query<'static> {
        let owned = |(name, text)| (Cow::Owned(name), Cow::Owned(text));
        Query {
            left: pairs.into_iter().map(owned).collect(),
            known: Vec::new(),
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Refused> {
        self.known.push(name);
        let Some(place) = self.left.iter().position(|(key, _)| key == name) else {
            return Ok(None);
        };
        let (_, value) = self.left.remove(place);
        match self.left.iter().any(|(key, _)| key == name) {
            true => Err(Refused::parameter(name, "given more than once")),
            false => Ok(Some(value.into_owned())),
        }
    }

    /// Every value with that name, in order.
    pub(crate) fn list(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (found, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(key, _)| key == name);
        self.left = left;
        let found: Vec<(Cow<'a, str>, Cow<'a, str>)> = found;
        found
            .into_iter()
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    /// Every text whose name begins with `prefix`, under the rest of its name. A refusal calls all of
    /// them `shown`.
    pub(crate) fn members(
        &mut self,
        prefix: &str,
        shown: &'static str,
    ) -> Result<Vec<(String, String)>, Refused> {
        self.known.push(shown);
        let (found, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(key, _)| key.len() > prefix.len() && key.starts_with(prefix));
        self.left = left;
        let found: Vec<(Cow<'a, str>, Cow<'a, str>)> = found;
        let mut members: Vec<(String, String)> = Vec::with_capacity(found.len());
        for (key, value) in found {
            let name = &key[prefix.len()..];
            if members.iter().any(|(other, _)| other == name) {
                return Err(Refused::parameter(&key, "given more than once"));
            }
            members.push((name.to_owned(), value.into_owned()));
        }
        Ok(members)
    }

    /// A whole number in `range`.
    pub(crate) fn number(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Refused> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        number(&text, &range)
            .map(Some)
            .map_err(|detail| Refused::parameter(name, detail))
    }

    /// A text parsed by `parse`; if it returns `None`, the text is refused as not `expected`.
    pub(crate) fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refused> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let refusal = || Refused::parameter(name, format_args!("{text:?} is not {expected}"));
        parse(&text).ok_or_else(refusal).map(Some)
    }

    /// Refuses the parameters that the handler did not take.
    pub(crate) fn done(self) -> Result<(), Refused> {
        let Some((name, _)) = self.left.first() else {
            return Ok(());
        };
        let mut detail = format!("unknown query parameter {name:?}; ");
        match self.known.as_slice() {
            [] => detail.push_str("none is allowed here"),
            known => write!(detail, "allowed: {}", known.join(", ")).expect("a String takes it"),
        }
        if let Some(nearest) = nearest(name, self.known.iter().copied()) {
            write!(detail, "; did you mean {nearest}?").expect("a String takes it");
        }
        let name = Some(name.clone().into_owned());
        Err(Refused::mistake(Kind::UnknownParameter, name, detail))
    }
}

/// Reads a whole number in decimal digits, in `range`.
pub(crate) fn number(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text
        .parse::<u64>()
        .ok()
        .filter(|number| digits && range.contains(number));
    number.ok_or_else(|| {
        format!(
            "{text:?} is not a whole number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_as_a_query_is_read_from_it(
            pairs in prop::collection::vec((".{0,8}", ".{0,20}"), 0..8), rest in "\\PC{0,40}",
        ) {
            let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let read = of(&text).left;
            let read: Vec<(String, String)> = read
                .into_iter()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            prop_assert_eq!(read, pairs);
            // Any other text is read too, unless it is not UTF-8 once it is decoded.
            let text = format!("limit=7&{rest}");
            let Ok(mut query) = Query::of(Some(&text)) else {
                prop_assert!(rest.contains('%'));
                return Ok(());
            };
            if let Ok(limit) = query.number("limit", 1..=9) {
                prop_assert_eq!(limit, Some(7));
            }
            query.members("metadata.", "metadata.KEY").ok();
            if let Err(error) = query.done() {
                prop_assert_eq!(error.expect_mistake().kind, Kind::UnknownParameter);
            }
        }

        #[test]
        fn numbers_are_read_as_they_are_written(number: u64, text in "[0-9+-.e]{0,22}") {
            prop_assert_eq!(super::number(&number.to_string(), &(0..=u64::MAX)), Ok(number));
            if let Ok(number) = super::number(&text, &(0..=u64::MAX)) {
                prop_assert_eq!(text.parse::<u64>(), Ok(number));
                prop_assert!(!text.contains(['+', '-', '.', 'e']));
            }
        }
    }

    fn of(text: &str) -> Query<'_> {
        Query::of(Some(text)).unwrap()
    }

    #[test]
    fn known_parameters_are_read_and_decoded() {
        let mut query = of("arg=a+b&limit=7&arg=%26&word=%C3%A9");
        assert_eq!(query.list("arg"), ["a b", "&"]);
        assert_eq!(query.number("limit", 1..=1000).unwrap(), Some(7));
        assert_eq!(query.text("word").unwrap().as_deref(), Some("é"));
        assert_eq!(query.text("absent").unwrap(), None);
        query.done().unwrap();
    }

    #[test]
    fn numbers_out_of_range_name_parameter_and_range() {
        for bad in [
            "0",
            "1001",
            "-1",
            "1.5",
            "1e2",
            "",
            "+7",
            "18446744073709551616",
            "x",
        ] {
            let text = format!("limit={}", bad.replace('+', "%2B"));
            let error = of(&text).number("limit", 1..=1000).unwrap_err().to_string();
            assert!(error.starts_with("limit: "), "{error}");
            assert!(error.contains("from 1 to 1000"), "{error}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for bad in ["arg=%FF", "env=A=%ED%A0%80", "%C3=1"] {
            let error = Query::of(Some(bad)).unwrap_err().expect_mistake();
            assert_eq!(error.kind, Kind::Parameter, "{bad}");
        }
        assert!(Query::of(Some("arg=%EF%BF%BD&word=100%")).is_ok());
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        let text = "limt=3&a=1&a=2";
        let twice = of(text).text("a").unwrap_err().expect_mistake();
        assert_eq!(twice.kind, Kind::Parameter);
        let mut query = of(text);
        query.list("a");
        let error = query.done().unwrap_err().expect_mistake();
        assert_eq!(error.kind, Kind::UnknownParameter);
        assert!(!error.detail.contains("did you mean"), "{error}");
        let mut query = of(text);
        query.list("a");
        query.list("limit");
        let detail = query.done().unwrap_err().to_string();
        assert!(detail.ends_with("did you mean limit?"), "{detail}");
        let mut query = of(text);
        query.list("a");
        let error = query.done().unwrap_err().to_string();
        assert!(error.contains("allowed: a"), "{error}");
    }
}
