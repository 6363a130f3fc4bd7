//! An authority of one test: a root, and below it the one that issues, so that every certificate comes as a
//! chain.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

pub(super) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    between: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its chain, and its key.
pub(super) struct Pair {
    pub(super) chain: String,
    pub(super) key: String,
    /// The certificate itself.
    pub(super) der: Vec<u8>,
}

impl Authority {
    pub(super) fn new() -> Authority {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(issuer("root"), key()).unwrap();
        let between = CertifiedIssuer::signed_by(issuer("between"), key(), &root).unwrap();
        Authority { root, between }
    }

    /// The root's certificate.
    pub(super) fn root(&self) -> String {
        self.root.pem()
    }

    /// A certificate of this machine.
    pub(super) fn issue(&self) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.between).unwrap();
        Pair {
            chain: format!("{}{}", certificate.pem(), self.between.pem()),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        }
    }
}

fn issuer(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}
