//! Connecting: the URL, TLS, and the connections themselves.
//!
//! TLS is used where the URL asks for it, and then the server's certificate is checked, whatever other
//! clients understand by `sslmode=require`: against the file `sslrootcert` or the well-known authorities.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::crashes::Era;
use super::fault::{Fault, with_causes};
use crate::StorageError;

/// How long it may take until the server has answered for the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After this long without a word the server is asked whether it is still there, so often.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);
/// How long sent bytes may be unacknowledged.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(15);

/// Where the database is and how it is spoken to.
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

/// One connection. Dropped, it is cut; the server gives up whatever it was doing for it.
pub(super) struct Conn {
    pub(super) client: Client,
    /// Between which crashes of the server it was made: see `crashes`.
    pub(super) era: Era,
    driver: JoinHandle<()>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connector {
    /// Reads a URL such as `postgres://user:password@host:5432/name?sslmode=require`.
    pub(super) fn parse(url: &str) -> Result<Connector, StorageError> {
        let wrong = |what: &str| StorageError::Unavailable(format!("the database's URL: {what}"));
        let (plain, authorities) = without_tls_words(url);
        let mut config: Config = plain.parse().map_err(|error| wrong(&with_causes(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        config
            .application_name("cofferdam")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE.0)
            .keepalives_interval(KEEPALIVE.1)
            .keepalives_retries(KEEPALIVE.2)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX);
        let is_encrypted = config.get_ssl_mode() == SslMode::Require;
        let tls = is_encrypted
            .then(|| tls(authorities.as_deref()))
            .transpose();
        let tls = tls.map_err(|error| wrong(&error))?;
        let is_local = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        };
        if tls.is_none() && !config.get_hosts().iter().all(is_local) {
            tracing::warn!("what goes to the database is not encrypted; sslmode=require does that");
        }
        Ok(Connector { config, tls })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Conn, Fault> {
        let mut conn = self.connect_hearing(|_not_listened_to| {}).await?;
        conn.era = Era::of(&conn.client).await?;
        Ok(conn)
    }

    /// The same; `heard` is called with the payload of every notification.
    pub(super) async fn connect_hearing(
        &self,
        heard: impl Fn(&str) + Send + 'static,
    ) -> Result<Conn, Fault> {
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                Ok(Conn::driven(client, connection, heard))
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                Ok(Conn::driven(client, connection, heard))
            }
        }
    }
}

impl Conn {
    /// Has the connection's messages sent and received, as long as it lives.
    fn driven<S, T>(
        client: Client,
        mut connection: Connection<S, T>,
        heard: impl Fn(&str) + Send + 'static,
    ) -> Conn
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let driver = Handle::current().spawn(async move {
            while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
                match message {
                    Ok(AsyncMessage::Notification(notification)) => heard(notification.payload()),
                    Ok(_notice) => {}
                    Err(error) => {
                        let error = with_causes(&error);
                        tracing::debug!(error, "a connection to the database ended");
                        return;
                    }
                }
            }
        });
        Conn {
            client,
            era: Era::default(),
            driver,
        }
    }

    /// Waits until it ends.
    pub(super) async fn ended(&mut self) {
        let _cut_or_closed = (&mut self.driver).await;
    }
}

/// The URL without what this client does not know, and the file of authorities that it names.
pub(super) fn without_tls_words(url: &str) -> (String, Option<String>) {
    let Some((address, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mut authorities = None;
    let mut kept = Vec::new();
    for word in query.split('&') {
        match word.split_once('=') {
            Some(("sslrootcert", path)) => authorities = Some(path.replace("%2F", "/")),
            Some(("sslmode", "verify-full" | "verify-ca")) => kept.push("sslmode=require"),
            Some(_) | None => kept.push(word),
        }
    }
    (format!("{address}?{}", kept.join("&")), authorities)
}

fn tls(authorities: Option<&str>) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| format!("{path}: {error}");
            for certificate in
                CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?
            {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
