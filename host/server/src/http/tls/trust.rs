//! Which other hosts are believed to be who they are.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{BadFile, certificates, unusable};

/// Whom this host trusts when it calls another.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// The authorities of a file, or those of the web if its path is empty.
    pub fn open(path: &Path) -> Result<Trust, BadFile> {
        let mut roots = RootCertStore::empty();
        if path.as_os_str().is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        } else {
            for certificate in certificates(path)? {
                let added = roots.add(certificate);
                added.map_err(|error| unusable(path, error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(path, error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Trust(Arc::new(config).into()))
    }

    /// What begins HTTPS with another host.
    pub(crate) fn connector(&self) -> &TlsConnector {
        &self.0
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}
