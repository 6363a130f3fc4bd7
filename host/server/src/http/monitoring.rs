//! `/monitoring`: the page to watch and use a host.
//!
//! Here its files are served, which hold no data and are for everybody. What the page shows it asks the API for,
//! with the key of whoever looks at it. The files are plain text in `host/server/monitoring`, are part of the
//! program, and refer to nothing outside it. `join` has the scripts travel together. All but the first have the digest of all of them in their
//! path, so that browsers keep them for good and never mix those of two versions.

mod files;
mod join;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use crate::http::compress::Coding;
use crate::http::error::ApiError;
use crate::http::monitoring::files::{File, INDEX, SITE};
use crate::http::path::PathParts;

/// Scripts, styles and requests of this host alone, nothing in line, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
     connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";
/// Asked for anew each time: a host of another version has other files.
const FOR_NOW: &str = "no-cache";
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// The page to watch and use this host
///
/// It shows what the key of its user may see, and asks for one where the host has keys.
#[utoipa::path(
    get, path = "/monitoring", operation_id = "get_monitoring", tag = "Operations",
    responses(
        (status = 200, description = "The page", body = String, content_type = "text/html"),
        (status = 304, description = "It is the one with the tag that `If-None-Match` names"),
    ),
)]
pub(crate) async fn page(headers: HeaderMap) -> Response {
    answer(SITE.file(INDEX), &headers, FOR_NOW)
}

/// A file of that page
#[utoipa::path(
    get, path = "/monitoring/{path}", operation_id = "get_monitoring_file", tag = "Operations",
    params(("path" = String, Path, description = "The digest of all its files, and the name of one")),
    responses((status = 200, description = "The file", body = String, content_type = "text/javascript")),
)]
pub(crate) async fn file(path: PathParts, headers: HeaderMap) -> Result<Response, ApiError> {
    let wanted = path.text(0);
    let found = wanted
        .split_once('/')
        .filter(|(version, name)| *version == SITE.version && *name != INDEX)
        .and_then(|(_, name)| SITE.file(name));
    match found {
        Some(file) => Ok(answer(Some(file), &headers, FOR_GOOD)),
        None => {
            let detail = format!("this version of the page has no file {wanted:?}");
            Err(ApiError::not_found("not_found", detail))
        }
    }
}

fn answer(file: Option<&File>, asked: &HeaderMap, kept: &'static str) -> Response {
    let file = file.expect("the table has the page itself");
    let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|tags| {
        let tags = tags.to_str().unwrap_or_default().split(',');
        let mut tags = tags.map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == file.tag)
    });
    let coding = Coding::accepted(asked).filter(|_| !is_known);
    let (body, status) = match (is_known, coding) {
        (true, _) => (Bytes::new(), StatusCode::NOT_MODIFIED),
        (false, Some(coding)) => (file.packed(coding), StatusCode::OK),
        (false, None) => (file.plain(), StatusCode::OK),
    };
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &str| {
        let value = HeaderValue::from_str(value).expect("the values are visible ASCII");
        headers.insert(name, value);
    };
    put(CONTENT_TYPE, file.media_type());
    put(CACHE_CONTROL, kept);
    put(ETAG, &format!("W/{}", file.tag));
    put(VARY, "accept-encoding");
    put(CONTENT_SECURITY_POLICY, POLICY);
    put(X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(REFERRER_POLICY, "no-referrer");
    put(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    if let Some(coding) = coding {
        put(CONTENT_ENCODING, coding.as_str());
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::http::header::ACCEPT_ENCODING;

    use super::*;

    fn asking(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[tokio::test]
    async fn the_page_refers_to_files_that_are_there_and_kept_for_good() {
        let page = std::str::from_utf8(&SITE.file(INDEX).unwrap().plain())
            .unwrap()
            .to_owned();
        let references: Vec<&str> = page
            .split('"')
            .filter(|text| text.starts_with("/monitoring/"))
            .collect();
        assert!(references.len() >= 3, "{page}");
        for reference in references {
            let path = reference.strip_prefix("/monitoring/").unwrap().to_owned();
            let answer = file(PathParts::of(vec![path]), HeaderMap::new()).await;
            let answer = answer.unwrap();
            assert_eq!(answer.headers()[CACHE_CONTROL], FOR_GOOD, "{reference}");
        }
    }

    #[tokio::test]
    async fn files_of_another_version_are_not_there() {
        for path in ["app.js", "0123456789abcdef/app.js", "", "/", "../app.js"] {
            let refused = file(PathParts::of(vec![path.to_owned()]), HeaderMap::new()).await;
            assert_eq!(refused.unwrap_err().code(), "not_found", "{path}");
        }
        let page = format!("{}/{INDEX}", SITE.version);
        assert!(
            file(PathParts::of(vec![page]), HeaderMap::new())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn the_page_is_packed_for_those_who_unpack_and_sent_once() {
        let plain = page(HeaderMap::new()).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(plain.headers()[CONTENT_SECURITY_POLICY], POLICY);
        let packed = page(asking(ACCEPT_ENCODING, "gzip, deflate")).await;
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        let packed = page(asking(ACCEPT_ENCODING, "gzip, deflate, br, zstd")).await;
        assert_eq!(packed.headers()[CONTENT_ENCODING], "zstd");
        let tag = packed.headers()[ETAG].to_str().unwrap().to_owned();
        let again = page(asking(IF_NONE_MATCH, &tag)).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = page(asking(IF_NONE_MATCH, "\"x\"")).await;
        assert_eq!(other.status(), StatusCode::OK);
    }
}
