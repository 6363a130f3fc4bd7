//! HTTPS: certificates, handshakes, and HTTP/2 in it. The certificates are made by the tests.

mod authority;
mod certificates;
mod floods;
mod handshakes;
mod http2;
mod peers;
mod raw;

use std::path::PathBuf;

use tempfile::TempDir;

use self::authority::{Authority, Pair};
use crate::support::host::Host;
use crate::support::http::Client;

/// A host that speaks HTTPS, with the authority that vouches for it.
pub(crate) struct Secure {
    pub(crate) host: Host,
    authority: Authority,
    files: Files,
}

/// The files of a certificate.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, pair: &Pair) {
        std::fs::write(self.path("chain.pem"), &pair.chain).unwrap();
        std::fs::write(self.path("key.pem"), &pair.key).unwrap();
    }

    /// Their part of `[http]`.
    fn config(&self) -> String {
        let (chain, key) = (self.path("chain.pem"), self.path("key.pem"));
        format!("tls_certificate = {chain:?}\ntls_key = {key:?}\n")
    }
}

impl Secure {
    /// `http` is the rest of `[http]`, and what follows it.
    #[track_caller]
    pub(crate) fn start(http: &str) -> Secure {
        let (authority, files) = (Authority::new(), Files::new());
        files.put(&authority.issue());
        std::fs::write(files.path("root.pem"), authority.root()).unwrap();
        let mut host = Host::with_config(&format!("[http]\n{}{http}", files.config()));
        assert!(
            host.client.base.starts_with("https://"),
            "{}",
            host.client.base
        );
        host.client = Client::trusting(host.client.base.clone(), &authority.root());
        Secure {
            host,
            authority,
            files,
        }
    }
}
