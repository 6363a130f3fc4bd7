//! Secrets in requests: put into their headers at the last moment, for the hosts of their grant alone.
//!
//! Whoever asks never has them: not in its memory, and not in an error. What it wrote into such a header itself
//! is replaced. That an answer repeats them is between the tenant and the host that it entrusts them to.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use zeroize::Zeroizing;

use super::error::EgressError;
use super::target::Target;
use cofferdam_domain::grants::http::{HttpGrant, SecretHeader};
use cofferdam_domain::secret::SecretValue;

/// A header of a grant, with its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    grant: HttpGrant,
    header: SecretHeader,
    value: SecretValue,
}

impl Added {
    /// The secret of a header of `grant`.
    pub fn new(grant: &HttpGrant, header: &SecretHeader, value: SecretValue) -> Added {
        Added {
            grant: grant.clone(),
            header: header.clone(),
            value,
        }
    }
}

/// Puts what belongs into a request to `target` into its headers. Where two grants have the same header, the
/// first one's is taken.
pub(super) fn add(
    secrets: &[Added],
    target: &Target,
    method: &Method,
    headers: &mut HeaderMap,
) -> Result<(), EgressError> {
    let is_meant = |added: &&Added| added.grant.has(&target.host, target.port, method.as_str());
    // The first one is the last to be put in.
    for added in secrets.iter().filter(is_meant).rev() {
        let is_plain_meant = added.grant.hosts().names_port() && target.port != 443;
        if !target.secure && !is_plain_meant {
            return Err(EgressError::PlainSecret(target.place()));
        }
        let bad = || EgressError::BadSecret {
            secret: added.header.secret().to_string(),
            header: added.header.name().to_owned(),
        };
        let prefix = added.header.prefix().as_bytes();
        let value = Zeroizing::new([prefix, added.value.reveal()].concat());
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| bad())?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(added.header.name().as_bytes()).map_err(|_| bad())?;
        headers.insert(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_domain::secret::SecretName;

    fn added(host: &str, methods: &[String], value: &str) -> Added {
        let grant = HttpGrant::new(host, methods).unwrap();
        let token = SecretName::parse("token").unwrap();
        let header = SecretHeader::new("X-Key", token, "key ").unwrap();
        Added::new(&grant, &header, SecretValue::new(value.into()).unwrap())
    }

    /// What is sent to a URL, of a guest that has such a header itself.
    fn sent(secrets: &[Added], method: &Method, url: &str) -> Result<String, EgressError> {
        let (target, _) = Target::of(&url.parse().unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-key", HeaderValue::from_static("mine"));
        headers.append("x-key", HeaderValue::from_static("mine too"));
        add(secrets, &target, method, &mut headers)?;
        let values = headers.get_all("x-key").iter();
        let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
        Ok(values.join(", "))
    }

    #[test]
    fn a_secret_is_for_the_requests_of_its_grant() {
        let only_get = ["GET".to_owned()];
        let secrets = [
            added("a.example", &only_get, "one"),
            added("*.example", &[], "two"),
        ];
        let get = |url| sent(&secrets, &Method::GET, url).unwrap();
        assert_eq!(get("https://a.example/"), "key one");
        assert_eq!(get("https://b.example/"), "key two");
        assert_eq!(get("https://b.test/"), "mine, mine too");
        let post = sent(&secrets, &Method::POST, "https://a.example/");
        assert_eq!(post.unwrap(), "key two");
    }

    #[test]
    fn a_secret_is_not_sent_in_plain_text_by_accident() {
        let to = |host, url| sent(&[added(host, &[], "one")], &Method::GET, url);
        for (host, url) in [
            ("a.example", "http://a.example/"),
            ("*", "http://a.example/"),
            ("a.example:443", "http://a.example:443/"),
        ] {
            let refused = to(host, url).unwrap_err();
            assert!(matches!(refused, EgressError::PlainSecret(_)), "{refused}");
        }
        let meant = to("a.example:8080", "http://a.example:8080/");
        assert_eq!(meant.unwrap(), "key one");
    }

    #[test]
    fn what_is_no_line_of_text_is_refused_by_its_name() {
        let secrets = [added("a.example", &[], "two\r\nlines")];
        let refused = sent(&secrets, &Method::GET, "https://a.example/").unwrap_err();
        assert!(refused.to_string().contains("token") && !refused.to_string().contains("lines"));
    }
}
