//! How a caller stands with their rate, as headers of every answer to them: `RateLimit` and
//! `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use cofferdam::access::Standing;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Writes the headers.
pub(crate) fn tell(response: &mut Response, standing: Standing) {
    let (whose, rate) = (standing.whose.as_str(), standing.rate);
    let (number, seconds) = (rate.number(), rate.per().duration().as_secs());
    let limit = match wait_s(standing) {
        0 => format!("\"{whose}\";r={}", standing.remaining),
        wait => format!("\"{whose}\";r={};t={wait}", standing.remaining),
    };
    let policy = format!("\"{whose}\";q={number};w={seconds}");
    add(response.headers_mut(), &limit, &policy);
}

/// Adds a limit and its policy, which are of visible ASCII, to those that the headers tell of.
pub(crate) fn add(headers: &mut HeaderMap, limit: &str, policy: &str) {
    for (name, text) in [(LIMIT, limit), (POLICY, policy)] {
        let value = HeaderValue::from_str(text).expect("it is visible ASCII");
        headers.append(name, value);
    }
}

/// In how many seconds the next request may come, rounded up.
pub(crate) fn wait_s(standing: Standing) -> u32 {
    whole_seconds(standing.wait)
}

/// A time in seconds, rounded up.
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}
