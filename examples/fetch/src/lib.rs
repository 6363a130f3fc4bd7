//! Sends an HTTP request and tells what came back. Where it may go is decided by the grants of its run:
//! `{"module": "fetch", "input": {"url": "https://example.com/"}, "grants": {"http": ["example.com"]}}`.

use cofferdam_guest::{Failure, http};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Deserialize, JsonSchema)]
struct Wanted {
    /// The whole URL.
    url: String,
    /// The method; GET if there is none.
    method: Option<String>,
    /// Bytes of the body, which are all the same.
    #[serde(default)]
    body_bytes: usize,
}

/// Its answer.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Answer {
    status: u16,
    /// Where a redirect leads.
    location: Option<String>,
    body_bytes: usize,
    /// The beginning of the body.
    beginning: String,
}

/// The most characters of the body that are shown.
const SHOWN: usize = 100;

/// Sends an HTTP request and tells what came back.
#[cofferdam_guest::task]
fn fetch(wanted: Wanted) -> Result<Answer, Failure> {
    let method = wanted.method.as_deref().unwrap_or("GET");
    let body = vec![b'x'; wanted.body_bytes];
    let answer = http::Request::new(method, wanted.url).body(body).send();
    let answer = answer.map_err(|error| match error {
        http::Error::Timeout(_) | http::Error::Failed(_) => Failure::transient(error),
        _ => Failure::permanent(error),
    })?;
    Ok(Answer {
        status: answer.status,
        location: answer.header("location").map(str::to_owned),
        body_bytes: answer.body.len(),
        beginning: answer.text().chars().take(SHOWN).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_guest::testing::Context;

    #[test]
    fn what_came_back_is_told() {
        let context = Context::new().answers(|request| {
            assert_eq!((&*request.method, request.body.len()), ("PUT", 3));
            Ok(http::Response::new(201, "made"))
        });
        let input = r#"{"url": "http://a.example/", "method": "PUT", "body_bytes": 3}"#;
        let output = context.run::<fetch>(input).unwrap();
        let expected = br#"{"status":201,"location":null,"body_bytes":4,"beginning":"made"}"#;
        assert_eq!(output.body, expected);
    }

    #[test]
    fn without_a_grant_the_error_says_so() {
        let failure = Context::new().run::<fetch>(r#"{"url": "http://a.example/"}"#);
        let expected = "no grant has GET http://a.example/; name the host in `grants.http`";
        assert_eq!(failure.unwrap_err().message(), expected);
    }
}
