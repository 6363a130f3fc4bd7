//! A header with a secret in it: which ones there may be, and what stands before the secret.

use super::BadHttpGrant;
use crate::secret::SecretName;

/// A header with a secret in it, which the host puts into the requests that a grant is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretHeader {
    name: String,
    secret: SecretName,
    prefix: String,
}

/// What is about a connection or a body, and is the host's to write.
const HEADERS_OF_CONNECTIONS: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl SecretHeader {
    /// The longest name, and the longest text before the secret, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// The header `name`, whose value is `prefix` and the secret. Names are the same in upper and lower case.
    pub fn new(name: &str, secret: SecretName, prefix: &str) -> Result<SecretHeader, BadHttpGrant> {
        let is_name = (1..=SecretHeader::BYTES_MAX).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let name = name.to_ascii_lowercase();
        if !is_name || HEADERS_OF_CONNECTIONS.contains(&name.as_str()) {
            let name = name.chars().take(SecretHeader::BYTES_MAX).collect();
            return Err(BadHttpGrant::Header(name));
        }
        let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if prefix.len() > SecretHeader::BYTES_MAX || !prefix.bytes().all(is_plain) {
            return Err(BadHttpGrant::Prefix { name });
        }
        Ok(SecretHeader {
            name,
            secret,
            prefix: prefix.to_owned(),
        })
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret.
    pub fn secret(&self) -> &SecretName {
        &self.secret
    }

    /// What stands before the secret.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

#[cfg(test)]
mod tests {
    use super::super::HttpGrant;
    use super::*;

    #[test]
    fn a_secret_goes_into_headers_that_are_the_callers() {
        let secret = || SecretName::parse("token").unwrap();
        let header = |name: &str, prefix: &str| SecretHeader::new(name, secret(), prefix);
        let good = header("Authorization", "Bearer ").unwrap();
        assert_eq!((good.name(), good.prefix()), ("authorization", "Bearer "));
        for bad in [
            "",
            "Host",
            "content-length",
            "TE",
            "a b",
            "a:",
            "é",
            "a\r\nb",
        ] {
            assert!(header(bad, "").is_err(), "{bad}");
        }
        assert!(header(&"a".repeat(65), "").is_err());
        for bad in ["\r\n", "é", &"a".repeat(65)] {
            assert!(header("x-key", bad).is_err(), "{bad}");
        }
        let grant = |headers| {
            HttpGrant::new("a.example", &[])
                .unwrap()
                .with_headers(headers)
        };
        let one = grant(vec![good.clone()]).unwrap();
        assert_eq!(one.headers(), std::slice::from_ref(&good));
        let again = header("AUTHORIZATION", "").unwrap();
        assert_eq!(grant(vec![good, again]), Err(BadHttpGrant::Headers));
        let many = (0..9).map(|number| header(&format!("x-{number}"), "").unwrap());
        assert_eq!(grant(many.collect()), Err(BadHttpGrant::Headers));
    }
}
