//! Connections that begin with HTTPS, and then send what no client would send.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::Secure;

pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// What a client offers in a handshake.
#[derive(Clone, Copy)]
pub(super) struct Offer {
    pub(super) protocols: &'static [&'static [u8]],
    pub(super) versions: &'static [&'static SupportedProtocolVersion],
}

pub(super) const HTTP1: Offer = Offer {
    protocols: &[b"http/1.1"],
    versions: rustls::ALL_VERSIONS,
};
pub(super) const HTTP2: Offer = Offer {
    protocols: &[b"h2"],
    versions: rustls::ALL_VERSIONS,
};

impl Offer {
    /// A client that trusts this authority.
    pub(super) fn trusting(self, root: &str) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(root.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = self.protocols.iter().map(|it| it.to_vec()).collect();
        Arc::new(config)
    }
}

impl Secure {
    /// A connection after its handshake.
    #[track_caller]
    pub(super) fn shake(&self, offer: Offer) -> Stream {
        let config = offer.trusting(&self.authority.root());
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(config, name).unwrap();
        let mut stream = StreamOwned::new(client, self.host.connect());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }
}

/// The certificate that the server showed.
pub(super) fn shown(stream: &Stream) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}
