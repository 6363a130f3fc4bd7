//! What HTTPS needs of files: the host's own certificate, and the authorities that vouch for others.

pub mod certificate;
pub mod trust;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why a file of certificates or keys cannot be used. It quotes nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// It cannot be read.
    #[error("{}: {cause}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is not what it should be.
    #[error("{}: {why}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The two files of a certificate do not belong together.
    #[error("{} and {}: {why}", .certificate.display(), .key.display())]
    Mismatched {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        why: String,
    },
}

fn read(path: &Path) -> Result<Vec<u8>, BadFile> {
    let unreadable = |cause| BadFile::Unreadable {
        path: path.to_owned(),
        cause,
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut file = file.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(unusable(
            path,
            format!("it has more than {FILE_BYTES_MAX} bytes"),
        )),
        false => Ok(bytes),
    }
}

/// The certificates of a file, at least one, in their order.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BadFile> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(unusable(path, "it contains no certificate".to_owned()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(
            path,
            format!("it is not PEM: {}", kind_of(&error)),
        )),
    }
}

fn unusable(path: &Path, why: String) -> BadFile {
    BadFile::Unusable {
        path: path.to_owned(),
        why,
    }
}

/// What is wrong with a text, without a word of it.
fn kind_of(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::IllegalSectionStart { .. } => "a section begins wrongly",
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::NoItemsFound => "it has none",
        pem::Error::SectionTooLarge => "a section is too long",
        pem::Error::Io(_) | _ => "it cannot be read",
    }
}
