//! The host's own certificate, which can be replaced while connections are open.
//!
//! Certificates are renewed every few weeks. A new pair of files is taken as a whole or not at all; open
//! connections keep the certificate that they began with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{BadFile, certificates, kind_of, read, unusable};

/// What is offered in a handshake, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The certificate and its key, as the files had them when they were last good.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads both files.
    pub fn open(chain: &Path, key: &Path) -> Result<Certificate, BadFile> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let current = load(chain, key, &provider)?;
        Ok(Certificate {
            chain: chain.to_owned(),
            key: key.to_owned(),
            provider,
            current: RwLock::new(Arc::new(current)),
        })
    }

    /// Reads both files anew. If they are no good, the present certificate stays.
    pub fn reload(&self) -> Result<(), BadFile> {
        let fresh = Arc::new(load(&self.chain, &self.key, &self.provider)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// What a listener offers: TLS 1.2 or newer with this certificate, HTTP/2 or HTTP/1.1 in it.
    pub fn offer(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Arc::new(config))
    }
}

fn load(chain: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, BadFile> {
    let certificates = certificates(chain)?;
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| unusable(key, format!("it has no private key: {}", kind_of(&error))))?;
    CertifiedKey::from_der(certificates, private, provider).map_err(|error| BadFile::Mismatched {
        certificate: chain.to_owned(),
        key: key.to_owned(),
        why: error.to_string(),
    })
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _asked: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Certificate");
        told.field("chain", &self.chain).finish_non_exhaustive()
    }
}
