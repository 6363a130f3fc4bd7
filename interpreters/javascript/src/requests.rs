//! HTTP requests through the host, which decides where they may go. `js/fetch.js` is what scripts see.
//!
//! The answer to a request is read as it comes, whether or not somebody asked for its body yet, so that an
//! answer of which only the head is of interest does not keep its connection.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem;

use rquickjs::convert::List;
use rquickjs::{Ctx, Function, Object, TypedArray};
use wasip2::clocks::monotonic_clock;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, Scheme, http_error_code,
};
use wasip2::io::poll::{self, Pollable};
use wasip2::io::streams::{InputStream, StreamError};

use crate::event_loop::{Stop, caught};
use crate::host::copied;
use crate::engine;

/// What one write to a request's body takes, and one read of an answer's.
const WRITE_BYTES: usize = 4096;
const READ_BYTES: u64 = 64 * 1024;

thread_local! {
    static JOBS: RefCell<Jobs> = RefCell::default();
}

#[derive(Default)]
struct Jobs {
    last: u32,
    all: BTreeMap<u32, Job>,
}

struct Job {
    stage: Stage,
    /// Whether the script waits for the end of the body.
    wanted: bool,
}

/// What comes first in a variant is dropped first, as the host wants it.
enum Stage {
    Head(Pollable, FutureIncomingResponse),
    Body {
        pollable: Pollable,
        stream: InputStream,
        _body: IncomingBody,
        _response: IncomingResponse,
        bytes: Vec<u8>,
    },
    Over(Result<Vec<u8>, String>),
}

/// What the script is told of a request.
enum News {
    Head(u16, Vec<String>),
    Body(Vec<u8>),
    Failed(String),
}

pub(crate) fn install<'js>(ctx: &Ctx<'js>, host: &Object<'js>) -> rquickjs::Result<()> {
    host.set("send", Function::new(ctx.clone(), send)?)?;
    host.set("readBody", Function::new(ctx.clone(), read_body)?)?;
    host.set("dropRequest", Function::new(ctx.clone(), drop_request)?)
}

/// Sends a request; gives its number, or 0 and the word for what was wrong. `line` is its method, scheme, authority
/// and path.
fn send(line: Vec<String>, fields: Vec<String>, body: Option<TypedArray<'_, u8>>) -> List<(u32, String)> {
    let body = body.map_or_else(Vec::new, |body| copied(&body));
    let begun = match <[String; 4]>::try_from(line) {
        Ok([method, scheme, authority, path]) => {
            begin(method, scheme == "https:", &authority, &path, fields, &body)
        }
        Err(_) => Err("invalid request".to_owned()),
    };
    List(match begun {
        Err(word) => (0, word),
        Ok(future) => JOBS.with_borrow_mut(|jobs| {
            jobs.last += 1;
            let stage = Stage::Head(future.subscribe(), future);
            let job = Job { stage, wanted: true };
            jobs.all.insert(jobs.last, job);
            (jobs.last, String::new())
        }),
    })
}

fn begin(
    method: String,
    secure: bool,
    authority: &str,
    path: &str,
    fields: Vec<String>,
    body: &[u8],
) -> Result<FutureIncomingResponse, String> {
    let odd = |what: &str| format!("invalid {what}");
    let latin = |text: &str| text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
    let pairs: Vec<(String, Vec<u8>)> = fields
        .chunks_exact(2)
        .map(|pair| (pair[0].clone(), latin(&pair[1])))
        .collect();
    let fields = Fields::from_list(&pairs).map_err(|_| odd("header"))?;
    let request = OutgoingRequest::new(fields);
    let scheme = if secure { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).map_err(|()| odd("URL"))?;
    request.set_method(&method_of(method)).map_err(|()| odd("method"))?;
    request.set_authority(Some(authority)).map_err(|()| odd("URL"))?;
    request.set_path_with_query(Some(path)).map_err(|()| odd("URL"))?;
    let out = (!body.is_empty()).then(|| request.body());
    let out = out.transpose().map_err(|()| odd("body"))?;
    let future = outgoing_handler::handle(request, None).map_err(|code| word(&code))?;
    if let Some(out) = out {
        write(out, body);
    }
    Ok(future)
}

/// Writes the body. Whoever answers before it is whole has heard enough.
fn write(out: OutgoingBody, body: &[u8]) {
    let written = out.write().is_ok_and(|stream| {
        body.chunks(WRITE_BYTES)
            .all(|piece| stream.blocking_write_and_flush(piece).is_ok())
    });
    if written {
        drop(OutgoingBody::finish(out, None));
    }
}

fn method_of(name: String) -> Method {
    match name.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        "CONNECT" => Method::Connect,
        _ => Method::Other(name),
    }
}

/// The error in a word of `js/fetch.js`.
fn word(code: &ErrorCode) -> String {
    let word = match code {
        ErrorCode::HttpRequestDenied => "denied",
        ErrorCode::DestinationIpProhibited => "prohibited",
        ErrorCode::DestinationNotFound | ErrorCode::DnsError(_) => "unknown host",
        ErrorCode::ConnectionRefused => "refused",
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::HttpResponseTimeout => "timeout",
        ErrorCode::TlsCertificateError => "certificate",
        ErrorCode::HttpResponseIncomplete | ErrorCode::ConnectionTerminated => "cut short",
        other => return format!("{other:?}"),
    };
    word.to_owned()
}

/// The script waits for the body of an answer.
fn read_body(number: u32) {
    JOBS.with_borrow_mut(|jobs| {
        if let Some(job) = jobs.all.get_mut(&number) {
            job.wanted = true;
        }
    });
}

fn drop_request(number: u32) {
    JOBS.with_borrow_mut(|jobs| jobs.all.remove(&number));
}

/// Whether the script waits for any.
pub(crate) fn are_awaited() -> bool {
    JOBS.with_borrow(|jobs| jobs.all.values().any(|job| job.wanted))
}

/// Waits for the network, for at most so long, and tells the script what came.
pub(crate) fn wait<'js>(ctx: &Ctx<'js>, most_ms: f64) -> Result<(), Stop<'js>> {
    for (number, news) in JOBS.with_borrow_mut(|jobs| jobs.wait(most_ms)) {
        tell(ctx, number, news).map_err(|_| caught(ctx))?;
    }
    Ok(())
}

fn tell<'js>(ctx: &Ctx<'js>, number: u32, news: News) -> rquickjs::Result<()> {
    let arrived = engine::get().prelude(ctx, "arrived")?;
    match news {
        News::Head(status, fields) => arrived.call((number, "head", status, fields)),
        News::Body(bytes) => {
            let bytes = TypedArray::<u8>::new(ctx.clone(), bytes)?;
            arrived.call((number, "body", bytes))
        }
        News::Failed(word) => arrived.call((number, "failed", word)),
    }
}

impl Jobs {
    fn wait(&mut self, most_ms: f64) -> Vec<(u32, News)> {
        let is_over = |job: &Job| job.wanted && matches!(job.stage, Stage::Over(_));
        let most_ms = if self.all.values().any(is_over) { 0.0 } else { most_ms };
        let timer = most_ms.is_finite().then(|| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a short time")]
            monotonic_clock::subscribe_duration((most_ms.max(0.0) * 1e6) as u64)
        });
        let network = self.all.iter().filter_map(|(number, job)| match &job.stage {
            Stage::Head(pollable, _) | Stage::Body { pollable, .. } => Some((*number, pollable)),
            Stage::Over(_) => None,
        });
        let (numbers, mut pollables): (Vec<u32>, Vec<&Pollable>) = network.unzip();
        pollables.extend(&timer);
        let ready = if pollables.is_empty() { Vec::new() } else { poll::poll(&pollables) };
        let ready = ready.into_iter().filter_map(|at| numbers.get(at as usize).copied());
        let mut news = Vec::new();
        for number in ready.collect::<Vec<_>>() {
            news.extend(self.advance(number).map(|it| (number, it)));
        }
        let over = self.all.iter().filter(|(_, job)| is_over(job));
        for number in over.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(Job { stage: Stage::Over(ended), .. }) = self.all.remove(&number) {
                news.push((number, ended.map_or_else(News::Failed, News::Body)));
            }
        }
        news
    }

    /// Takes what came for a request.
    fn advance(&mut self, number: u32) -> Option<News> {
        let job = self.all.get_mut(&number)?;
        match mem::replace(&mut job.stage, Stage::Over(Ok(Vec::new()))) {
            Stage::Head(pollable, future) => {
                drop(pollable);
                let answer = future.get().and_then(Result::ok);
                let begun = match answer {
                    Some(Ok(response)) => begun(response),
                    Some(Err(code)) => Err(word(&code)),
                    None => Err("cut short".to_owned()),
                };
                match begun {
                    Ok((status, fields, stage)) => {
                        (job.stage, job.wanted) = (stage, false);
                        Some(News::Head(status, fields))
                    }
                    Err(word) => {
                        self.all.remove(&number);
                        Some(News::Failed(word))
                    }
                }
            }
            Stage::Body { pollable, stream, _body, _response, mut bytes } => {
                job.stage = match stream.read(READ_BYTES) {
                    Ok(piece) => {
                        bytes.extend(piece);
                        Stage::Body { pollable, stream, _body, _response, bytes }
                    }
                    Err(StreamError::Closed) => {
                        drop((pollable, stream));
                        Stage::Over(Ok(bytes))
                    }
                    Err(StreamError::LastOperationFailed(error)) => {
                        let code = http_error_code(&error);
                        drop((pollable, stream));
                        Stage::Over(Err(code.map_or_else(|| "cut short".to_owned(), |it| word(&it))))
                    }
                };
                None
            }
            over @ Stage::Over(_) => {
                job.stage = over;
                None
            }
        }
    }
}

fn begun(response: IncomingResponse) -> Result<(u16, Vec<String>, Stage), String> {
    let status = response.status();
    let fields = response.headers().entries();
    let fields = fields
        .into_iter()
        .flat_map(|(name, value)| [name, value.into_iter().map(char::from).collect()])
        .collect();
    let lost = |()| "cut short".to_owned();
    let body = response.consume().map_err(lost)?;
    let stream = body.stream().map_err(lost)?;
    let stage = Stage::Body {
        pollable: stream.subscribe(),
        stream,
        _body: body,
        _response: response,
        bytes: Vec::new(),
    };
    Ok((status, fields, stage))
}
