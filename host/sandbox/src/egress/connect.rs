//! Makes a connection to a machine that may be reached: the name is resolved once, every address is looked
//! at, one of those is dialled, and the socket's own address is looked at again.
//!
//! One address that may not be reached refuses the name: who gives a public name a private address means
//! harm, or will be surprised by it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::{Network, not_public};
use super::error::EgressError;
use super::resolve::{Resolve, ResolveError};
use super::settings::EgressConfig;
use super::target::Target;
use cofferdam_domain::grants::http::HostName;

/// Addresses of one name that are tried, in the order in which they came.
const TRIES: usize = 4;

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A TCP connection to the target, made within `timeout`.
pub(super) async fn connect(
    config: &EgressConfig,
    resolver: &dyn Resolve,
    target: &Target,
    timeout: Duration,
) -> Result<TcpStream, EgressError> {
    let connecting = async {
        let addresses = addresses(resolver, target).await?;
        for address in &addresses {
            check(config, target, *address)?;
        }
        let mut last = io::ErrorKind::NotFound;
        for address in addresses.into_iter().take(TRIES) {
            match TcpStream::connect(SocketAddr::new(address, target.port)).await {
                Ok(stream) => {
                    check_socket(config, target, address, &stream)?;
                    return Ok(stream);
                }
                Err(error) => last = error.kind(),
            }
        }
        Err(EgressError::NotConnected(target.place(), last))
    };
    let connected = tokio::time::timeout(timeout, connecting).await;
    connected.unwrap_or_else(|_| Err(EgressError::ConnectTimeout(target.place(), timeout)))
}

async fn addresses(resolver: &dyn Resolve, target: &Target) -> Result<Vec<IpAddr>, EgressError> {
    let name = match &target.host {
        HostName::Address(address) => return Ok(vec![*address]),
        HostName::Name(name) => name,
    };
    match resolver.resolve(name).await {
        Ok(addresses) if addresses.is_empty() => Err(EgressError::NoSuchHost(name.clone())),
        Ok(addresses) => Ok(addresses),
        Err(ResolveError::Unknown) => Err(EgressError::NoSuchHost(name.clone())),
        Err(ResolveError::Failed) => Err(EgressError::NotResolved(name.clone())),
    }
}

pub(super) fn check(
    config: &EgressConfig,
    target: &Target,
    address: IpAddr,
) -> Result<(), EgressError> {
    let has = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
    let what = match not_public(address) {
        _ if has(&config.deny) => Some("denied by the operator"),
        _ if has(&config.allow_private) => None,
        Some(what) => Some(what),
        None => is_own(address).then_some("this machine's own"),
    };
    match what {
        None => Ok(()),
        Some(what) => Err(EgressError::Prohibited {
            place: target.place(),
            address,
            what,
        }),
    }
}

/// Whether the address is that of one of this machine's interfaces: from there one reaches what is meant
/// for neighbours. Such an address is its own way out. No packet is sent to find that out.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    // What there is no way to cannot be connected to either.
    from.is_ok_and(|from| from.ip() == address)
}

/// Looks at what was connected to, whatever was asked for.
fn check_socket(
    config: &EgressConfig,
    target: &Target,
    asked: IpAddr,
    stream: &TcpStream,
) -> Result<(), EgressError> {
    let peer = stream.peer_addr();
    let peer = peer.map_err(|error| EgressError::NotConnected(target.place(), error.kind()))?;
    if peer != SocketAddr::new(asked, target.port) {
        return Err(EgressError::Prohibited {
            place: target.place(),
            address: peer.ip(),
            what: "another address than the one that was dialled",
        });
    }
    check(config, target, peer.ip())
}

/// Speaks TLS on the connection, within `timeout`.
pub(super) async fn secure<S: Stream>(
    stream: S,
    target: &Target,
    tls: Arc<ClientConfig>,
    timeout: Duration,
) -> Result<tokio_rustls::client::TlsStream<S>, EgressError> {
    let failed = |why: String| EgressError::Tls(target.place(), why);
    let name = match &target.host {
        HostName::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?
        }
        HostName::Address(address) => ServerName::IpAddress((*address).into()),
    };
    let shaking = TlsConnector::from(tls).connect(name, stream);
    match tokio::time::timeout(timeout, shaking).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match of_certificate(&error) {
            Some(why) => EgressError::Certificate(target.place(), why),
            None => failed(error.to_string()),
        }),
        Err(_) => Err(EgressError::ConnectTimeout(target.place(), timeout)),
    }
}

/// What is wrong with a certificate, if that is what went wrong.
fn of_certificate(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(error) = error else {
        return None;
    };
    Some(error.to_string())
}

/// TLS with the roots that this machine trusts.
pub(super) fn machine_tls() -> Result<Arc<ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (taken, _unreadable) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        return Err("this machine has no certificates that it trusts".to_owned());
    }
    tls_of(roots)
}

/// TLS with these roots.
pub(super) fn tls_of(roots: rustls::RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_machine_is_its_own() {
        let is_own = |text: &str| is_own(text.parse().unwrap());
        // Loopback has its addresses on every machine; those of other interfaces are found in the same way.
        assert!(is_own("127.0.0.1") && is_own("::1"));
        for public in ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888"] {
            assert!(!is_own(public), "{public}");
        }
    }
}
