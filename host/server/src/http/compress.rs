//! Answers compressed on request.
//!
//! Only bodies of known length from [`SIZE_MIN_BYTES`] on are compressed: streams of events must
//! not wait in an encoder, and short or already compressed bodies gain nothing.

use async_compression::Level;
use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use hyper::body::Body as _;
use tokio_util::io::{ReaderStream, StreamReader};

/// The bytes compressed before others have their turn.
const PIECE_BYTES: usize = 64 * 1024;
/// The smallest body that is compressed.
const SIZE_MIN_BYTES: u64 = 1024;

/// A supported coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Gzip,
}

impl Coding {
    /// The coding that a request's `Accept-Encoding` prefers, if it names a supported one.
    pub(crate) fn accepted(headers: &HeaderMap) -> Option<Coding> {
        [Coding::Zstd, Coding::Gzip]
            .into_iter()
            .find(|coding| coding.is_accepted(headers))
    }

    /// Whether a request's `Accept-Encoding` names this one.
    fn is_accepted(self, headers: &HeaderMap) -> bool {
        let accepted = headers.get(ACCEPT_ENCODING);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        let mut choices = accepted.unwrap_or_default().split(',');
        choices.any(|choice| {
            let (name, parameter) = choice.split_once(';').unwrap_or((choice, ""));
            let weight = parameter.trim().strip_prefix("q=").unwrap_or("1");
            let is_refused = weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0);
            !is_refused && name.trim().eq_ignore_ascii_case(self.as_str())
        })
    }

    /// Its name in headers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Gzip => "gzip",
        }
    }
}

/// The same answer, compressed if that is worth it.
pub(crate) fn response(response: Response, coding: Coding) -> Response {
    if !is_worth_it(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts
        .headers
        .append(VARY, HeaderValue::from_static("accept-encoding"));
    weaken_etag(&mut parts.headers);
    let plain = StreamReader::new(Box::pin(pieces(body)));
    let body = match coding {
        Coding::Zstd => {
            let encoder = ZstdEncoder::with_quality(plain, Level::Fastest);
            Body::from_stream(ReaderStream::new(encoder))
        }
        Coding::Gzip => {
            let encoder = GzipEncoder::with_quality(plain, Level::Fastest);
            Body::from_stream(ReaderStream::new(encoder))
        }
    };
    parts
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    Response::from_parts(parts, body)
}

/// The body in pieces, after each of which others have their turn on this thread, because
/// compressing memory does not wait by itself.
fn pieces(body: Body) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let begin = (body.into_data_stream(), Bytes::new());
    stream::try_unfold(begin, |(mut body, mut rest)| async move {
        if rest.is_empty() {
            match body.try_next().await.map_err(std::io::Error::other)? {
                Some(next) => rest = next,
                None => return Ok(None),
            }
        } else {
            tokio::task::yield_now().await;
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES));
        Ok(Some((piece, (body, rest))))
    })
}

fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let size = response.body().size_hint().exact().or(announced);
    size.is_some_and(|size| size >= SIZE_MIN_BYTES)
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.get(CONTENT_TYPE).is_some_and(is_compressed_already)
}

fn is_compressed_already(media_type: &HeaderValue) -> bool {
    let media_type = media_type.to_str().unwrap_or_default();
    [
        "image/",
        "video/",
        "audio/",
        "application/zip",
        "application/gzip",
        "application/zstd",
    ]
    .iter()
    .any(|prefix| media_type.starts_with(prefix))
}

/// A compressed body needs a different strong tag; a weak tag covers both.
fn weaken_etag(headers: &mut HeaderMap) {
    let weak = headers
        .get(ETAG)
        .and_then(|tag| tag.to_str().ok())
        .filter(|tag| !tag.starts_with("W/"))
        .and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok());
    if let Some(weak) = weak {
        headers.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(value: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, value.parse().unwrap());
        Coding::accepted(&headers)
    }

    #[test]
    fn the_best_coding_of_ours_is_chosen() {
        assert_eq!(accepted("gzip, deflate, br, zstd"), Some(Coding::Zstd));
        assert_eq!(accepted("br;q=1.0, gzip;q=0.5"), Some(Coding::Gzip));
        assert_eq!(accepted("zstd;q=0, gzip"), Some(Coding::Gzip));
        assert_eq!(accepted("gzip;q=0"), None);
        assert_eq!(accepted("identity"), None);
    }

    #[test]
    fn short_answers_and_streams_stay_as_they_are() {
        let short = response(Response::new(Body::from("x".repeat(1023))), Coding::Gzip);
        assert!(!short.headers().contains_key(CONTENT_ENCODING));
        let long = response(Response::new(Body::from("x".repeat(1024))), Coding::Gzip);
        assert_eq!(long.headers()[CONTENT_ENCODING], "gzip");
        let pieces = stream::iter([Ok::<_, std::io::Error>("x".repeat(4096))]);
        let stream = response(Response::new(Body::from_stream(pieces)), Coding::Gzip);
        assert!(!stream.headers().contains_key(CONTENT_ENCODING));
    }
}
