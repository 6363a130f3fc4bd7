//! Short texts of every entry point: arguments, variables, ids, keys, priorities and isolations.

use uuid::Uuid;

use crate::intake::refused::Refused;
use cofferdam_domain::cache::TTL_MAX;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::task::{Priority, TaskId};

/// The most arguments, and the most environment variables.
const WORDS_MAX: usize = 1024;
/// The most bytes of all arguments, and of all environment variables.
const WORDS_BYTES_MAX: usize = 128 * 1024;
/// The longest time that a result is kept for.
pub(crate) const CACHE_TTL_MS_MAX: u64 = TTL_MAX.as_secs() * 1000;
/// The longest dedup key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// Refuses arguments and variables that no program can receive.
pub(crate) fn check(args: &[String], env: &[(String, String)]) -> Result<(), Refused> {
    let bytes: usize = args.iter().map(String::len).sum();
    if args.len() > WORDS_MAX || bytes > WORDS_BYTES_MAX || args.iter().any(|a| a.contains('\0')) {
        let detail =
            format!("at most {WORDS_MAX} arguments of {WORDS_BYTES_MAX} bytes in all, without NUL");
        return Err(Refused::field("args", detail));
    }
    let bytes: usize = env.iter().map(|(key, value)| key.len() + value.len()).sum();
    let is_bad = |(key, value): &(String, String)| {
        key.is_empty() || key.contains(['=', '\0']) || value.contains('\0')
    };
    if env.len() > WORDS_MAX || bytes > WORDS_BYTES_MAX || env.iter().any(is_bad) {
        let detail = format!(
            "at most {WORDS_MAX} variables of {WORDS_BYTES_MAX} bytes in all, with a name without '=', and without NUL"
        );
        return Err(Refused::field("env", detail));
    }
    Ok(())
}

/// Reads variables from a query's `KEY=VALUE`.
pub(crate) fn pairs(texts: Vec<String>) -> Result<Vec<(String, String)>, Refused> {
    let pair = |text: String| {
        let pair = text
            .split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Refused::parameter("env", format_args!("{text:?} is not KEY=VALUE")))
    };
    texts.into_iter().map(pair).collect()
}

/// Reads a priority; absent is normal.
pub(crate) fn priority(word: Option<&str>) -> Result<Priority, Refused> {
    let Some(word) = word else {
        return Ok(Priority::default());
    };
    Priority::parse(word).ok_or_else(|| {
        Refused::field(
            "priority",
            format_args!("{word:?} is not critical, high, normal or low"),
        )
    })
}

/// What an isolation is, for refusals.
pub(crate) const ISOLATIONS: &str = "shared, process or dedicated";

/// Reads an isolation; absent if the host is to decide.
pub(crate) fn isolation(word: Option<&str>) -> Result<Option<Isolation>, Refused> {
    let read = |word: &str| {
        let refused = || Refused::field("isolation", format_args!("{word:?} is not {ISOLATIONS}"));
        Isolation::parse(word).ok_or_else(refused)
    };
    word.map(read).transpose()
}

/// Checks a dedup key.
pub(crate) fn dedup_key(key: String) -> Result<String, Refused> {
    match (1..=KEY_BYTES_MAX).contains(&key.len()) {
        true => Ok(key),
        false => Err(Refused::field(
            "dedup_key",
            format_args!("has 1 to {KEY_BYTES_MAX} bytes"),
        )),
    }
}

/// Reads a UUID in its usual form with hyphens.
pub(crate) fn task_id(text: &str) -> Option<TaskId> {
    let hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
    Uuid::try_parse(text)
        .ok()
        .filter(|_| hyphenated)
        .map(TaskId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_have_one_form() {
        let id = "0190f0c2-7a3b-7def-8123-456789abcdef";
        assert_eq!(task_id(id).unwrap().to_string(), id);
        for bad in [
            "",
            "1",
            "0190f0c27a3b7def8123456789abcdef",
            "{0190f0c2-7a3b-7def-8123-456789abcdef}",
        ] {
            assert!(task_id(bad).is_none(), "{bad}");
        }
    }
}
