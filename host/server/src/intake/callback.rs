//! A callback as callers ask for it: in JSON, in a query, or as the one URL that existing pools send.

use serde::Deserialize;

use crate::intake::refused::Refused;
use cofferdam_domain::callback::{Callback, CallbackUrl, Ends};
use cofferdam_domain::secret::SecretName;
use cofferdam_domain::state::TaskState;

/// The most words of a list of ends.
const ENDS_MAX: usize = 3;

/// Whom the end of a task is told.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallbackJson {
    /// Where its end is posted: http or https, without a user, a password or a fragment, at a host that the
    /// operator lists.
    #[schema(
        min_length = 8,
        max_length = 2048,
        pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^#@ ]+$"
    )]
    url: String,
    /// The secret of the tenant with which it is signed; it is not signed if absent.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    secret_name: Option<String>,
    /// The ends that are told: `completed`, `failed`, `cancelled`; all of them if absent.
    #[schema(min_items = 1, max_items = 3)]
    on: Option<Vec<String>>,
}

impl CallbackJson {
    /// The callback, not yet checked against the operator's rules.
    pub(crate) fn into_callback(self) -> Result<Callback, Refused> {
        let on = match &self.on {
            None => Ends::ALL,
            Some(words) => ends(words).map_err(|why| Refused::field("callback.on", why))?,
        };
        let url = url(&self.url).map_err(|why| Refused::field("callback.url", why))?;
        let secret = self.secret_name.as_deref().map(SecretName::parse);
        let secret = secret.transpose();
        let secret = secret.map_err(|why| Refused::field("callback.secret_name", why))?;
        Ok(Callback { url, secret, on })
    }
}

/// The callback of a query.
pub(crate) fn of_query(
    said: Option<String>,
    secret: Option<&str>,
    words: &[String],
) -> Result<Option<Callback>, Refused> {
    let on = match words {
        [] => Ends::ALL,
        words => ends(words).map_err(|why| Refused::parameter("callback_on", why))?,
    };
    let Some(said) = said else {
        let without = "given without callback_url";
        return match (secret, words) {
            (None, []) => Ok(None),
            (Some(_), _) => Err(Refused::parameter("callback_secret_name", without)),
            (None, _) => Err(Refused::parameter("callback_on", without)),
        };
    };
    let url = url(&said).map_err(|why| Refused::parameter("callback_url", why))?;
    let secret = secret.map(SecretName::parse).transpose();
    let secret = secret.map_err(|why| Refused::parameter("callback_secret_name", why))?;
    Ok(Some(Callback { url, secret, on }))
}

/// The callback of an existing pool, which is told every end.
pub(crate) fn of_pool(said: &str) -> Result<Callback, Refused> {
    Ok(Callback {
        url: url(said).map_err(|why| Refused::field("callback_url", why))?,
        secret: None,
        on: Ends::ALL,
    })
}

fn url(said: &str) -> Result<CallbackUrl, String> {
    CallbackUrl::parse(said).map_err(|why| format!("{said:?} {why}"))
}

fn ends(words: &[String]) -> Result<Ends, String> {
    let state = |word: &String| {
        let state = Ends::STATES.into_iter().find(|it| it.as_str() == word);
        state.ok_or_else(|| format!("{word:?} is not completed, failed or cancelled"))
    };
    if words.len() > ENDS_MAX {
        return Err(format!("has more than {ENDS_MAX} words"));
    }
    let states: Vec<TaskState> = words.iter().map(state).collect::<Result<_, _>>()?;
    Ends::of(&states).ok_or_else(|| "names no end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::json::parse;
    use crate::intake::refused::Kind;

    fn read(json: &str) -> Result<Callback, Refused> {
        parse::<CallbackJson>(json.as_bytes())?.into_callback()
    }

    #[test]
    fn a_callback_is_read_in_each_form() {
        let all = read(r#"{"url":"https://A.example/x","on":null}"#).unwrap();
        assert_eq!(
            (all.url.as_str(), all.on),
            ("https://a.example/x", Ends::ALL)
        );
        let some = read(
            r#"{"url":"https://a.example/x","on":["failed","cancelled"],"secret_name":"hook"}"#,
        )
        .unwrap();
        let words = ["failed".to_owned(), "cancelled".to_owned()];
        let url = Some("https://a.example/x".to_owned());
        assert_eq!(of_query(url, Some("hook"), &words).unwrap(), Some(some));
        assert_eq!(of_query(None, None, &[]).unwrap(), None);
        assert_eq!(of_pool("https://a.example/x").unwrap(), all);
    }

    #[test]
    fn what_is_no_callback_is_refused_by_name() {
        for (json, field) in [
            (r#"{"on":["failed"]}"#, None),
            (
                r#"{"url":"https://a.example/","secret_name":"a b"}"#,
                Some("callback.secret_name"),
            ),
            (r#"{"url":"ftp://a.example/"}"#, Some("callback.url")),
            (r#"{"url":"https://u:p@a.example/"}"#, Some("callback.url")),
            (
                r#"{"url":"https://a.example/","on":[]}"#,
                Some("callback.on"),
            ),
            (
                r#"{"url":"https://a.example/","on":["running"]}"#,
                Some("callback.on"),
            ),
            (
                r#"{"url":"https://a.example/","on":["failed","failed","failed","failed"]}"#,
                Some("callback.on"),
            ),
        ] {
            let mistake = read(json).unwrap_err().expect_mistake();
            assert_eq!(
                (mistake.kind, mistake.field.as_deref()),
                (Kind::Field, field),
                "{json}"
            );
        }
        let words = ["failed".to_owned()];
        assert!(of_query(None, None, &words).is_err());
        assert!(of_query(None, Some("hook"), &[]).is_err());
    }
}
