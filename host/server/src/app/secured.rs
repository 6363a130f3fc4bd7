//! HTTPS: the certificate that the listeners offer, and its renewal.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::http::server;
use crate::http::server::exposure::{self, Protection};
use crate::http::server::handshake::Tls;
use crate::http::settings::HttpConfig;
use crate::http::tls::certificate::Certificate;
use cofferdam::shutdown::Shutdown;

/// Opens the listener for operators of this machine: whoever reaches it needs no key, so nobody else may.
pub(super) fn bind_operations(address: SocketAddr) -> anyhow::Result<Vec<TcpListener>> {
    let without = Protection {
        has_keys: false,
        has_tls: false,
        allow_plaintext: false,
    };
    exposure::check(address, without).context("http.operations_listen")?;
    Ok(server::bind(address, 1)?)
}

/// The protection of the API as it is configured.
pub(super) fn protection(config: &HttpConfig, has_keys: bool) -> Protection {
    Protection {
        has_keys,
        has_tls: config.tls_files().is_some(),
        allow_plaintext: config.allow_plaintext,
    }
}

/// The certificate, if the API is served over HTTPS.
pub(super) fn certificate(config: &HttpConfig) -> anyhow::Result<Option<Arc<Certificate>>> {
    let opened = config
        .tls_files()
        .map(|(chain, key)| Certificate::open(chain, key));
    Ok(opened
        .transpose()
        .context("http.tls_certificate")?
        .map(Arc::new))
}

/// What the listeners offer with it.
pub(super) fn offer(
    config: &HttpConfig,
    certificate: Option<&Arc<Certificate>>,
) -> anyhow::Result<Option<Tls>> {
    let offered = certificate.map(Certificate::offer).transpose()?;
    Ok(offered.map(|offered| Tls::new(offered, config.handshake_timeout)))
}

/// Reads the certificate anew upon each SIGHUP, until `stop` is requested.
pub(super) fn renew(
    certificate: Arc<Certificate>,
    runtime: &Handle,
    stop: &Shutdown,
) -> std::io::Result<()> {
    let mut hangups = {
        let _of_this_runtime = runtime.enter();
        signal(SignalKind::hangup())?
    };
    let asked = stop.clone();
    stop.spawn_on(runtime, "certificate", async move {
        loop {
            tokio::select! {
                () = asked.requested() => return,
                _ = hangups.recv() => {}
            }
            let certificate = Arc::clone(&certificate);
            match tokio::task::spawn_blocking(move || certificate.reload()).await {
                Ok(Ok(())) => tracing::info!("the certificate was read anew"),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the new certificate is no good; the present one stays");
                }
                Err(error) => tracing::error!(%error, "the certificate was not read anew"),
            }
        }
    });
    Ok(())
}
