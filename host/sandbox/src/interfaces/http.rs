//! `wasi:http/outgoing-handler`: a guest's requests, given to whatever way out its run has. What may go out is
//! decided there (`egress`), and never here.

mod paced;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks, WasiHttpView,
};

use self::paced::Paced;
use super::log;
use crate::egress::{Account, Code, Driver, Egress, EgressError, Pass, Waits};
use cofferdam_domain::attempt::EgressUsage;

/// The most bytes that a guest gives its request's body at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest line about a refused request in a guest's log.
const WORDS_BYTES_MAX: usize = 1024;

/// Why a request brought no answer, as its guest hears it.
#[derive(Clone, Debug)]
pub(crate) struct Denied {
    pub(crate) code: Code,
    pub(crate) words: String,
}

impl From<EgressError> for Denied {
    fn from(error: EgressError) -> Denied {
        Denied {
            code: error.code(),
            words: error.to_string(),
        }
    }
}

/// The answer to a request, and what has to be polled while it is read.
pub(crate) type Sent = Result<(Response<WasiBody>, Driver), Denied>;

/// A way out of a run.
pub(crate) trait Way: Send + Sync {
    /// Sends a request with a whole URL.
    fn send(
        &self,
        request: Request<WasiBody>,
        waits: Waits,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send>>;

    /// What went through it, if it is this process that counts.
    fn account(&self) -> Option<&Account>;
}

/// The way of a run in the host's own process.
pub(crate) struct Direct {
    pub(crate) egress: Egress,
    pub(crate) pass: Arc<Pass>,
}

impl Way for Direct {
    fn send(
        &self,
        request: Request<WasiBody>,
        waits: Waits,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send>> {
        let (egress, pass) = (self.egress.clone(), Arc::clone(&self.pass));
        Box::pin(async move {
            let (answer, driver) = egress.send(&pass, request, waits).await?;
            let body = |error: EgressError| error_of(&error.into());
            Ok((answer.map(|it| it.map_err(body).boxed_unsync()), driver))
        })
    }

    fn account(&self) -> Option<&Account> {
        Some(self.pass.account())
    }
}

/// What a store keeps for it.
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    way: Option<Arc<dyn Way>>,
    log: log::Ctx,
}

/// Adds the interface for a store whose data has it.
pub(crate) fn add_to_linker<T: WasiHttpView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

impl Http {
    /// Requests go this way; without one none goes anywhere. Why not is written to the guest's log.
    pub(crate) fn new(way: Option<Arc<dyn Way>>, log: log::Ctx) -> Http {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(CHUNK_BYTES);
        Http {
            context,
            hooks: Hooks { way, log },
        }
    }

    /// The context and the hooks.
    pub(crate) fn parts(&mut self) -> (&mut WasiHttpCtx, &mut dyn WasiHttpHooks) {
        (&mut self.context, &mut self.hooks)
    }

    /// Begins a call of a guest that is kept.
    pub(crate) fn begin_call(&self) {
        if let Some(account) = self.account() {
            account.begin_call();
        }
    }

    /// What went out and came in.
    pub(crate) fn usage(&self) -> EgressUsage {
        self.account().map(Account::usage).unwrap_or_default()
    }

    fn account(&self) -> Option<&Account> {
        self.hooks.way.as_ref()?.account()
    }
}

type Answered = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let options = options.unwrap_or_default();
        let (way, log) = (self.way.clone(), self.log.clone());
        Box::new(async move {
            match answer(way.as_deref(), request, options).await {
                Ok((answer, driver)) => {
                    let driver = async move {
                        driver.await;
                        Ok(())
                    };
                    Ok((answer, Box::new(driver) as Box<_>))
                }
                Err(denied) => {
                    let mut words = denied.words.clone();
                    words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
                    log.warn(&words, &[("code", denied.code.as_str())]);
                    Err(error_of(&denied))
                }
            }
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

/// Sends a request, and waits no longer than its guest wants to.
async fn answer(
    way: Option<&dyn Way>,
    request: Request<WasiBody>,
    options: RequestOptions,
) -> Sent {
    let Some(way) = way else {
        let place = request.uri().authority().map_or("", |it| it.as_str());
        return Err(Denied::from(EgressError::NotGranted {
            method: request.method().to_string(),
            place: place.to_owned(),
        }));
    };
    let waits = Waits {
        connect: options.connect_timeout,
        whole: None,
    };
    let sending = way.send(request, waits);
    let (answer, driver) = match options.first_byte_timeout {
        None => sending.await?,
        Some(first) => {
            let whole = first.saturating_add(options.connect_timeout.unwrap_or(Duration::ZERO));
            let sent = tokio::time::timeout(whole, sending).await;
            sent.unwrap_or_else(|_| Err(EgressError::Timeout(whole).into()))?
        }
    };
    let answer = match options.between_bytes_timeout {
        None => answer,
        Some(gap) => answer.map(|body| Paced::new(body, gap).boxed_unsync()),
    };
    Ok((answer, driver))
}

/// The error as the interface has it.
pub(crate) fn error_of(denied: &Denied) -> Error {
    match denied.code {
        Code::Denied => Error::HttpRequestDenied,
        Code::BadTarget => Error::HttpRequestUriInvalid,
        Code::BadMethod => Error::HttpRequestMethodInvalid,
        Code::Prohibited => Error::DestinationIpProhibited,
        Code::NoSuchHost => Error::DestinationNotFound,
        Code::NotResolved => Error::DnsError {
            rcode: Some("SERVFAIL".to_owned()),
            info_code: None,
        },
        Code::NotConnected => Error::ConnectionRefused,
        Code::ConnectTimeout => Error::ConnectionTimeout,
        Code::Tls => Error::TlsProtocolError,
        Code::Certificate => Error::TlsCertificateError,
        Code::Timeout => Error::HttpResponseTimeout,
        Code::Requests => Error::ConnectionLimitReached,
        Code::InBytes => Error::HttpResponseBodySize(None),
        Code::OutBytes => Error::HttpRequestBodySize(None),
        Code::Head => Error::HttpResponseHeaderSectionSize(None),
        Code::Incomplete => Error::HttpResponseIncomplete,
        Code::Protocol => Error::HttpProtocolError,
    }
}
