//! Requests through `wasi:http`.

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::StreamError;

use crate::http::{Error, Request, Response};

/// What one write to a request's body takes, and one read of an answer's.
const WRITE_BYTES: usize = 4096;
const READ_BYTES: u64 = 64 * 1024;

/// They are about a connection, and connections are the host's.
const OF_CONNECTIONS: [&str; 4] = ["connection", "host", "transfer-encoding", "upgrade"];
const LENGTH: &str = "content-length";

pub(crate) fn send(request: &Request) -> Result<Response, Error> {
    let sent = begin(request)?;
    sent.subscribe().block();
    let answer = sent.get().and_then(Result::ok);
    match answer {
        Some(Ok(response)) => whole(request, &response),
        Some(Err(code)) => Err(error(request, &code)),
        None => Err(Error::Failed(format!("{}: no answer", request.about()))),
    }
}

fn begin(request: &Request) -> Result<FutureIncomingResponse, Error> {
    let odd = |what: &str| Error::Invalid(format!("{}: the {what} is none", request.about()));
    let (scheme, rest) = match request.url.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(_) | None => return Err(odd("URL")),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    let length = request.body.len().to_string();
    let length = (!request.body.is_empty()).then(|| (LENGTH.to_owned(), length.into_bytes()));
    let pairs: Vec<(String, Vec<u8>)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.to_lowercase(), value.as_bytes().to_vec()))
        .filter(|(name, _)| name != LENGTH && !OF_CONNECTIONS.contains(&name.as_str()))
        .chain(length)
        .collect();
    let fields = Fields::from_list(&pairs).map_err(|_| odd("header"))?;
    let outgoing = OutgoingRequest::new(fields);
    let set = outgoing.set_method(&method(&request.method));
    set.map_err(|()| odd("method"))?;
    let set = outgoing
        .set_scheme(Some(&scheme))
        .and_then(|()| outgoing.set_authority(Some(authority)))
        .and_then(|()| outgoing.set_path_with_query(Some(&path)));
    set.map_err(|()| odd("URL"))?;
    let body = (!request.body.is_empty()).then(|| outgoing.body());
    let body = body.transpose().map_err(|()| odd("body"))?;
    let sent = outgoing_handler::handle(outgoing, options(request));
    let sent = sent.map_err(|code| error(request, &code))?;
    if let Some(body) = body {
        write(body, &request.body);
    }
    Ok(sent)
}

fn options(request: &Request) -> Option<RequestOptions> {
    let timeout = request.timeout?;
    let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
    let options = RequestOptions::new();
    // A host that knows no time-outs has its own.
    let _connect = options.set_connect_timeout(Some(nanoseconds));
    let _first = options.set_first_byte_timeout(Some(nanoseconds));
    let _between = options.set_between_bytes_timeout(Some(nanoseconds));
    Some(options)
}

/// Writes the body. Whoever answers before it is whole has heard enough.
fn write(out: OutgoingBody, body: &[u8]) {
    let written = out.write().is_ok_and(|stream| {
        body.chunks(WRITE_BYTES)
            .all(|piece| stream.blocking_write_and_flush(piece).is_ok())
    });
    if written {
        // What went wrong, the answer tells.
        let _finished = OutgoingBody::finish(out, None);
    }
}

fn whole(request: &Request, response: &IncomingResponse) -> Result<Response, Error> {
    let cut = || Error::Failed(format!("{}: the answer was cut short", request.about()));
    let headers = response.headers().entries();
    let headers = headers
        .into_iter()
        .map(|(name, value)| {
            (
                name.to_lowercase(),
                String::from_utf8_lossy(&value).into_owned(),
            )
        })
        .collect();
    let incoming = response.consume().map_err(|()| cut())?;
    let stream = incoming.stream().map_err(|()| cut())?;
    let mut body = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(piece) => body.extend(piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(failed)) => {
                let code = wasip2::http::types::http_error_code(&failed);
                return Err(code.map_or_else(cut, |code| error(request, &code)));
            }
        }
    }
    Ok(Response {
        status: response.status(),
        headers,
        body,
    })
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        "CONNECT" => Method::Connect,
        other => Method::Other(other.to_owned()),
    }
}

fn error(request: &Request, code: &ErrorCode) -> Error {
    let about = request.about();
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied(about),
        ErrorCode::DestinationIpProhibited => Error::Prohibited(about),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => {
            Error::Invalid(format!("{about} is not a request"))
        }
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::HttpResponseTimeout
        | ErrorCode::DnsTimeout => Error::Timeout(about),
        other => Error::Failed(format!("{about}: {other:?}")),
    }
}
