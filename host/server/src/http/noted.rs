//! Entries of the audit trail, made where operations are entered and left (`guard.rs`), so that no operation can
//! forget its own: what changed something is noted before it is answered. Who was refused is noted, too, a moment
//! later: such an answer promises nothing, and a host without room for an entry must still be able to say so.
//!
//! An entry names the operation as the API document does, and the path; never a query, a header or a body.

use std::sync::Arc;

use axum::http::header::LOCATION;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::AppState;
use crate::http::error::{ApiError, Code};
use cofferdam::access::{KeyText, Refusal};
use cofferdam::audit::{Act, Audit, Ended, Kind};
use cofferdam_domain::audit::{Outcome, Text};
use cofferdam_domain::caller::{Caller, Origin};

/// What somebody is called who asks from elsewhere without a key that storage has: with the operator's own key
/// or at the operator's listener where keys are asked for, and otherwise anybody of this machine.
const OPERATOR: [&str; 2] = ["admin", "local"];
/// Codes of requests that show a key where none belongs, or two.
const KEYS_MISPLACED: [&str; 2] = ["keys_differ", "key_in_query"];

/// An operation, as far as the trail is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Its name in the API document.
    pub(crate) action: &'static str,
    /// Whether it has entries.
    pub(crate) kind: Kind,
}

impl Operation {
    /// What answers where there is no operation.
    pub(crate) const NONE: Operation = Operation {
        action: "unmatched",
        kind: Kind::Read,
    };
}

/// The state of a router whose operations are noted.
pub(crate) trait Noting: Clone + Send + Sync + 'static {
    /// The trail; none if nothing is noted.
    fn audit(&self) -> Option<&Arc<Audit>>;

    /// What somebody without a key of storage's is called.
    fn operator(&self) -> &'static str;

    /// Both.
    fn trail(&self) -> Option<(&Arc<Audit>, &'static str)> {
        self.audit().map(|audit| (audit, self.operator()))
    }
}

impl Noting for AppState {
    fn audit(&self) -> Option<&Arc<Audit>> {
        Some(&self.audit)
    }

    fn operator(&self) -> &'static str {
        let [with_keys, without] = OPERATOR;
        match self.access.asks_for_keys() {
            true => with_keys,
            false => without,
        }
    }
}

/// That of a test's router.
impl Noting for () {
    fn audit(&self) -> Option<&Arc<Audit>> {
        None
    }

    fn operator(&self) -> &'static str {
        OPERATOR[1]
    }
}

/// What an operation made, where its path does not say that; a handler puts it into its answer.
#[derive(Clone, Debug)]
pub(crate) struct Made(pub(crate) String);

/// The act that a request is.
pub(crate) fn act<B>(request: &Request<B>, operator: &str, action: &str) -> Option<Act> {
    let caller = request.extensions().get::<Caller>()?;
    Some(Act::of(caller, operator, action, &resource(request)))
}

/// Does something that has an entry, and waits for that of a change that was made.
pub(crate) async fn noted(
    audit: Arc<Audit>,
    act: Act,
    kind: Kind,
    work: impl Future<Output = Response>,
) -> Response {
    let place = match audit.place(kind, act).await {
        Ok(place) => place,
        Err(unwritten) => return ApiError::from(unwritten).into_response(),
    };
    let response = work.await;
    let ended = ended(&response);
    match (kind, ended.outcome) {
        // An entry of every run must not make each of them wait for a commit.
        (Kind::Read | Kind::Work, _) => place.end_soon(ended),
        (Kind::Change, Outcome::Refused | Outcome::Failed | Outcome::Abandoned) => {
            place.end_soon(ended);
        }
        (Kind::Change, Outcome::Done) => {
            if let Err(unwritten) = place.end(ended).await {
                return ApiError::from(unwritten).into_response();
            }
        }
    }
    response
}

fn ended(response: &Response) -> Ended {
    let status = response.status();
    let extensions = response.extensions();
    let made = extensions.get::<Made>().map(|made| Text::of(&made.0));
    let place = response.headers().get(LOCATION);
    let place = place.and_then(|place| place.to_str().ok()).map(Text::of);
    Ended {
        outcome: match status {
            _ if status.is_server_error() => Outcome::Failed,
            _ if status.is_client_error() => Outcome::Refused,
            _ => Outcome::Done,
        },
        status: status.as_u16(),
        code: extensions.get::<Code>().map(|code| code.0),
        made: made.or(place),
    }
}

/// Notes that a caller is refused where an operation is entered.
pub(crate) fn refused<B>(
    (audit, operator): (&Arc<Audit>, &'static str),
    request: &Request<B>,
    action: &str,
    error: &ApiError,
) {
    let extensions = request.extensions();
    let (status, code) = (error.status().as_u16(), error.code());
    if let Some(act) = act(request, operator, action) {
        return audit.not_allowed(act, status, code);
    }
    let is_told = extensions
        .get::<Refusal>()
        .is_some_and(|refusal| match refusal {
            Refusal::Missing
            | Refusal::Unknown
            | Refusal::Expired
            | Refusal::Revoked
            | Refusal::NotLocal => true,
            // They are known, or nobody can be.
            Refusal::TooMany(_) | Refusal::Stale => false,
        });
    if is_told && let Some(from) = extensions.get::<Origin>() {
        by_nobody(audit, request, *from, action, error);
    }
}

/// Notes a request that is refused before it is known whose it is, if it was to get in.
pub(crate) fn not_let_in<B>(audit: &Audit, request: &Request<B>, from: Origin, error: &ApiError) {
    if error.status() == StatusCode::FORBIDDEN || KEYS_MISPLACED.contains(&error.code()) {
        by_nobody(audit, request, from, "authenticate", error);
    }
}

fn by_nobody<B>(audit: &Audit, request: &Request<B>, from: Origin, action: &str, error: &ApiError) {
    let act = Act {
        tenant: Text::default(),
        actor: Text::of("nobody"),
        origin: Text::of(&from.to_string()),
        action: Text::of(action),
        resource: Text::of(&resource(request)),
    };
    let (status, code) = (error.status().as_u16(), error.code());
    audit.not_known(from, act, status, code);
}

/// The path of a request, without keys that somebody put into it.
fn resource<B>(request: &Request<B>) -> String {
    let path = request.uri().path();
    let is_key = |part: &str| KeyText::parse(part).is_some();
    let words = path.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let keys: Vec<&str> = words.filter(|word| is_key(word)).collect();
    let hidden = |path: String, key: &&str| path.replace(*key, "***");
    keys.iter().fold(path.to_owned(), hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_path_is_not_in_the_trail() {
        let key = format!("cfd_{}_{}", "0".repeat(16), "a".repeat(64));
        let of = |path: &str| resource(&Request::builder().uri(path).body(()).unwrap());
        assert_eq!(of("/v1/keys/0123?x=y"), "/v1/keys/0123");
        assert_eq!(of(&format!("/v1/keys/{key}")), "/v1/keys/***");
        assert_eq!(
            of(&format!("/v1/modules/a.{key}-b/c")),
            "/v1/modules/a.***-b/c"
        );
    }
}
