//! The caller of a request: made once, before a handler sees the request.
//!
//! A key comes as `X-API-Key` or as `Authorization: Bearer`; whose it is, the door knows (`access`). A
//! host that has no keys answers this machine only (`origin.rs`), as the one tenant with every right. The
//! caller of a request that another host passed on is the one whom that host admitted. Each route says
//! what its callers need (`guard.rs`); here nobody is sent away for want of a key, because some routes
//! ask for none.

#[cfg(test)]
pub(crate) mod keyless;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Request};

use crate::http::error::ApiError;
use crate::http::origin;
use crate::http::peers::Peers;
use cofferdam::access::{Admitted, Door, KeyText, Refusal, Standing};
use cofferdam_domain::caller::{Caller, Origin};

/// The header that has nothing but a key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What people call a key in a query.
const NAMES_IN_QUERIES: [&str; 5] = ["api_key", "api-key", "apikey", "x-api-key", "access_token"];

/// Notes who asks, or why the host does not know them; the handlers get the caller with [`By`]. Returns what
/// is left of the caller's rate. A malformed request is refused, whoever sends it.
pub(crate) async fn admit<B>(
    request: &mut Request<B>,
    from: Origin,
    peers: &Peers,
    door: &Door,
) -> Result<Option<Standing>, ApiError> {
    if let Some(caller) = peers.passed_on(request)? {
        let caller = door.under_rules(caller);
        request.extensions_mut().insert(caller);
        return Ok(None);
    }
    match door.asks_for_keys() {
        true => origin::check_form(request)?,
        false => origin::check(request)?,
    }
    refuse_in_query(request.uri().query())?;
    let admitted = {
        let shown = shown(request.headers())?;
        match door.admit(shown, from) {
            // Another host may have made it a moment ago.
            Err(Refusal::Unknown) if is_key(shown) && door.look_again().await => {
                door.admit(shown, from)
            }
            admitted => admitted,
        }
    };
    // Whatever happens to the request from here on, its key is not in it.
    request.headers_mut().remove(AUTHORIZATION);
    request.headers_mut().remove(API_KEY);
    let extensions = request.extensions_mut();
    Ok(match admitted {
        Ok(Admitted { caller, standing }) => {
            extensions.insert(caller);
            standing
        }
        Err(refusal) => {
            extensions.insert(refusal);
            // Nobody else says it of them.
            extensions.insert(from);
            match refusal {
                Refusal::TooMany(standing) => Some(standing),
                Refusal::Missing
                | Refusal::Unknown
                | Refusal::Expired
                | Refusal::Revoked
                | Refusal::Stale
                | Refusal::NotLocal => None,
            }
        }
    })
}

fn is_key(shown: Option<&str>) -> bool {
    shown.is_some_and(|text| KeyText::parse(text).is_some())
}

/// The key that a request shows, if it shows one.
fn shown(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    // Text that is not ASCII is no key, but it is shown.
    let plain = headers.get_all(API_KEY).into_iter();
    let plain = plain.map(|value| value.to_str().unwrap_or("?"));
    let bearer = headers.get_all(AUTHORIZATION).into_iter();
    let bearer = bearer.filter_map(|value| bearer_of(value.to_str().unwrap_or("Bearer ?")));
    let mut keys = plain.chain(bearer).map(str::trim);
    let first = keys.next();
    match keys.all(|key| Some(key) == first) {
        true => Ok(first),
        false => {
            let detail = "the request shows two keys that differ";
            Err(ApiError::bad_request("keys_differ", detail))
        }
    }
}

/// The text behind `Bearer`, whose case does not matter. Other schemes show no key.
fn bearer_of(value: &str) -> Option<&str> {
    let (scheme, text) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(text)
}

/// Refuses a key in a query, which ends up in logs along the way.
fn refuse_in_query(query: Option<&str>) -> Result<(), ApiError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else {
        return Ok(());
    };
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let is_named = |name: &str| {
        NAMES_IN_QUERIES
            .iter()
            .any(|it| it.eq_ignore_ascii_case(name))
    };
    let has_key = pairs.any(|(name, value)| {
        is_named(&name)
            || [name, value]
                .iter()
                .any(|text| KeyText::parse(text).is_some())
    });
    match has_key {
        true => {
            let detail = "a key goes into the header X-API-Key or Authorization: Bearer, never into a \
                          query; revoke this one, because queries are written into logs";
            Err(ApiError::bad_request("key_in_query", detail))
        }
        false => Ok(()),
    }
}

/// The caller, as a handler's argument.
pub(crate) struct By(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<By, ApiError> {
        let caller = parts.extensions.get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| ApiError::internal("a request without a caller"))?;
        Ok(By(caller))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    #[test]
    fn a_key_is_shown_in_either_header() {
        for pairs in [
            &[("x-api-key", "a")][..],
            &[("authorization", "Bearer a")],
            &[("authorization", "bearer  a ")],
            &[("authorization", "Bearer a"), ("x-api-key", "a")],
            &[("x-api-key", "a"), ("x-api-key", "a")],
            &[("authorization", "Basic Yg=="), ("x-api-key", "a")],
        ] {
            assert_eq!(shown(&headers(pairs)).unwrap(), Some("a"), "{pairs:?}");
        }
        for pairs in [
            &[][..],
            &[("authorization", "Basic Yg==")],
            &[("authorization", "a")],
        ] {
            assert_eq!(shown(&headers(pairs)).unwrap(), None, "{pairs:?}");
        }
        assert_eq!(shown(&headers(&[("x-api-key", "é")])).unwrap(), Some("?"));
    }

    #[test]
    fn two_keys_that_differ_are_refused() {
        for pairs in [
            &[("authorization", "Bearer a"), ("x-api-key", "b")][..],
            &[("x-api-key", "a"), ("x-api-key", "b")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        ] {
            let refused = shown(&headers(pairs)).unwrap_err();
            assert_eq!(refused.code(), "keys_differ", "{pairs:?}");
        }
    }

    #[test]
    fn a_key_in_a_query_is_refused_and_not_repeated() {
        let key = format!("cfd_{}_{}", "0".repeat(16), "a".repeat(64));
        let encoded = key.replace('_', "%5F");
        for query in [
            "api_key=x",
            "limit=1&Access_Token=x",
            &key,
            &format!("a={key}"),
            &format!("a={encoded}"),
        ] {
            let refused = refuse_in_query(Some(query)).unwrap_err();
            assert_eq!(refused.code(), "key_in_query", "{query}");
            assert!(!refused.detail().contains("aaaa"));
        }
        for query in ["", "limit=1", "metadata.note=cfd_x", "key=a"] {
            assert!(refuse_in_query(Some(query)).is_ok(), "{query}");
        }
    }
}
