//! The nested parts of a submitted task.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::error::ApiError;
use crate::http::json::{Unsupported, Whole};
use cofferdam_domain::grants::{Access, DirGrant, Grants};
use cofferdam_domain::retry::RetryPolicy;

/// The longest wait between attempts, in the API's unit; [`RetryPolicy::WAIT_CEILING`].
const WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The most attempts, as the API's numbers are; [`RetryPolicy::ATTEMPTS_CEILING`].
const ATTEMPTS_MAX: u64 = 100;
/// What each further wait may be multiplied by.
const FACTORS: std::ops::RangeInclusive<f64> = 1.0..=100.0;

/// What follows a failed attempt.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryJson {
    /// Attempts in all.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    max_attempts: Option<Whole<1, ATTEMPTS_MAX>>,
    /// How often it is run again because its host died.
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 100)]
    max_lost: Option<Whole<0, ATTEMPTS_MAX>>,
    /// The wait before the second attempt.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 86_400_000)]
    base_ms: Option<Whole<0, WAIT_MS_MAX>>,
    /// What each further wait is multiplied by, 1 to 100.
    #[schema(minimum = 1, maximum = 100)]
    factor: Option<f64>,
    /// The longest wait.
    #[schema(value_type = Option<u64>, minimum = 0, maximum = 86_400_000)]
    max_ms: Option<Whole<0, WAIT_MS_MAX>>,
    /// Whether each wait is drawn from its upper half.
    jitter: Option<bool>,
}

impl RetryJson {
    /// The policy, with defaults for what is absent.
    pub(super) fn into_policy(self) -> Result<RetryPolicy, ApiError> {
        let default = RetryPolicy::default();
        let factor = self.factor.unwrap_or(default.factor);
        if !FACTORS.contains(&factor) {
            let (low, high) = (FACTORS.start(), FACTORS.end());
            let detail = format!("{factor} is not a number from {low} to {high}");
            return Err(ApiError::field("retry.factor", detail));
        }
        let count = |asked: Option<u64>, default: u32| {
            asked
                .and_then(|asked| u32::try_from(asked).ok())
                .unwrap_or(default)
        };
        Ok(RetryPolicy {
            max_attempts: count(self.max_attempts.map(|n| n.0), default.max_attempts),
            max_lost: count(self.max_lost.map(|n| n.0), default.max_lost),
            base: self
                .base_ms
                .map_or(default.base, |n| Duration::from_millis(n.0)),
            factor,
            max: self
                .max_ms
                .map_or(default.max, |n| Duration::from_millis(n.0)),
            jitter: self.jitter.unwrap_or(default.jitter),
        })
    }
}

/// What the task may touch.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantsJson {
    /// Directories the operator named.
    #[serde(default)]
    dirs: Vec<DirJson>,
    /// Not supported by this version: null.
    #[schema(value_type = Option<Vec<String>>)]
    http: Option<Unsupported>,
}

/// One directory.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DirJson {
    /// The operator's name for it.
    name: String,
    /// Where the guest sees it: an absolute path.
    at: String,
    /// `read` or `write`; the operator's own access if absent.
    access: Option<String>,
}

impl GrantsJson {
    /// The grants, not yet checked against what the operator allows.
    pub(crate) fn into_grants(self) -> Result<Grants, ApiError> {
        // Its type has no value, so that a later version cannot forget to honour it here.
        debug_assert!(self.http.is_none());
        if self.dirs.len() > Grants::DIRS_MAX {
            let detail = format!("at most {} directories", Grants::DIRS_MAX);
            return Err(ApiError::field("grants.dirs", detail));
        }
        let grant = |dir: DirJson| {
            let access = match dir.access.as_deref() {
                None => None,
                Some("read") => Some(Access::Read),
                Some("write") => Some(Access::Write),
                Some(other) => {
                    let detail = format!("{other:?} is not read or write");
                    return Err(ApiError::field("grants.dirs.access", detail));
                }
            };
            Ok(DirGrant {
                name: dir.name,
                at: dir.at,
                access,
            })
        };
        Ok(Grants {
            dirs: self.dirs.into_iter().map(grant).collect::<Result<_, _>>()?,
        })
    }
}

/// A JSON object of texts whose names all differ. serde's maps would keep the last of two.
#[derive(Debug, Default)]
pub(crate) struct UniqueMap(pub(super) Vec<(String, String)>);

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

/// Keeps an explicit `null` apart from an absent field.
pub(super) fn present<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(input).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceilings_are_those_of_the_domain() {
        assert_eq!(
            Duration::from_millis(WAIT_MS_MAX),
            RetryPolicy::WAIT_CEILING
        );
        assert_eq!(ATTEMPTS_MAX, u64::from(RetryPolicy::ATTEMPTS_CEILING));
    }
}
