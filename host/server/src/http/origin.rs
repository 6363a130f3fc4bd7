//! Checks who calls where callers are not authenticated, because there are no keys: only this machine may.
//!
//! The host listens on loopback only, but a browser on this machine connects on behalf of any page
//! it shows. A page can reach a loopback port under its own name that it makes point here (DNS
//! rebinding), and then even read the answers; or it can send requests that a browser allows to any
//! address, such as a form. So the address in a request must be this machine's, and so must be the
//! origin of the page, if there is one.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, Version};

use crate::http::error::ApiError;

/// Refuses a request that does not come from this machine.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), ApiError> {
    match named(request)? {
        Some(authority) if !is_local(authority) => {
            let detail = format!(
                "the request is addressed to {authority:?}; without API keys this host answers only as \
                 localhost, 127.0.0.1 or [::1]"
            );
            return Err(refused("host_refused", detail));
        }
        Some(_) | None => {}
    }
    match one(request.headers(), &ORIGIN, "Origin")? {
        Some(origin) if !is_local_page(origin) => {
            let detail = format!(
                "the request comes from a page of {origin:?}; without API keys only pages of this \
             machine are answered"
            );
            Err(refused("origin_refused", detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses a request that does not say, or says twice, to whom it is addressed.
pub(crate) fn check_form<B>(request: &Request<B>) -> Result<(), ApiError> {
    named(request).map(|_| ())
}

/// The name and port the request is addressed to. Only HTTP/1.0 may leave it out.
fn named<B>(request: &Request<B>) -> Result<Option<&str>, ApiError> {
    let said = one(request.headers(), &HOST, "Host")?;
    match (request.uri().authority(), said) {
        (Some(authority), _) => Ok(Some(authority.as_str())),
        (None, None) if request.version() > Version::HTTP_10 => {
            let detail = "Host: HTTP/1.1 requires it";
            Err(ApiError::bad_request("invalid_header", detail).with("field", "Host"))
        }
        (None, said) => Ok(said),
    }
}

/// The value of a header that may occur once. A value that is not text is refused as a name.
fn one<'a>(
    headers: &'a HeaderMap,
    header: &HeaderName,
    name: &str,
) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(header).iter();
    let first = values.next();
    if values.next().is_some() {
        let detail = format!("{name}: given more than once");
        return Err(ApiError::bad_request("invalid_header", detail).with("field", name));
    }
    Ok(first.map(|value| value.to_str().unwrap_or_default()))
}

fn refused(code: &'static str, detail: String) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, detail)
}

fn is_local_page(origin: &str) -> bool {
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(is_local)
}

/// Whether a name with or without a port is this machine's own.
fn is_local(authority: &str) -> bool {
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        Some(_) | None => (authority, ""),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        return address
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.is_loopback());
    }
    match name.parse::<Ipv4Addr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => {
            let name = name.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for local in [
            "localhost",
            "LOCALHOST:8080",
            "a.localhost:1",
            "127.0.0.1",
            "127.1.2.3:80",
            "[::1]",
            "[::1]:8080",
        ] {
            assert!(is_local(local), "{local}");
        }
        for foreign in [
            "",
            "x",
            "evil.example:8080",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "localhost:80@evil.example",
            "192.168.0.1",
            "[::2]:80",
            "0.0.0.0",
        ] {
            assert!(!is_local(foreign), "{foreign}");
        }
        assert!(is_local_page("http://localhost:3000"));
        for foreign in ["null", "", "http://evil.example", "file://", "localhost"] {
            assert!(!is_local_page(foreign), "{foreign}");
        }
    }
}
