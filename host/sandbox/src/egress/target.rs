//! Where a request goes, read from its URL once: nothing behind it looks at the URL again.

use http::Uri;
use http::uri::Scheme;

use super::error::EgressError;
use cofferdam_domain::grants::http::{HostName, port_of};

/// The machine that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: HostName,
    pub(super) port: u16,
    pub(super) secure: bool,
}

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

impl Target {
    /// The target of a request, and its path as it is sent.
    pub(super) fn of(uri: &Uri) -> Result<(Target, Uri), EgressError> {
        let bad = |why: &str| EgressError::BadTarget(format!("the URL of the request {why}"));
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(_) | None => return Err(bad("begins with neither http:// nor https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("has a user's name in it"));
        }
        let host = HostName::parse(authority.host())
            .map_err(|error| EgressError::BadTarget(error.to_string()))?;
        let rest = authority.as_str().strip_prefix(authority.host());
        let port = match rest.and_then(|rest| rest.strip_prefix(':')) {
            Some(port) => port_of(port).ok_or_else(|| bad("has a port that is none"))?,
            None if rest == Some("") => {
                if secure {
                    HTTPS
                } else {
                    HTTP
                }
            }
            None => return Err(bad("names no host")),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // An absolute URL there would go to another host than this one.
        if !path.starts_with('/') && path != "*" {
            return Err(bad("has a path that does not begin with /"));
        }
        let path = Uri::builder().path_and_query(path).build();
        let path = path.map_err(|_| bad("has a path that is none"))?;
        Ok((Target { host, port, secure }, path))
    }

    /// Host and port, for people.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The value of the header `Host`.
    pub(super) fn header(&self) -> String {
        let usual = if self.secure { HTTPS } else { HTTP };
        match self.port == usual {
            true => self.host.to_string(),
            false => self.place(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_domain::callback::CallbackUrl;

    #[test]
    fn a_url_has_one_reading() {
        let cases = [
            ("http://a.example", "a.example:80", "a.example", "/"),
            (
                "https://A.example/x?y",
                "a.example:443",
                "a.example",
                "/x?y",
            ),
            (
                "http://a.example:443/",
                "a.example:443",
                "a.example:443",
                "/",
            ),
            ("https://a.example:443/", "a.example:443", "a.example", "/"),
            (
                "http://[2001:db8::1]:81//evil/",
                "[2001:db8::1]:81",
                "[2001:db8::1]:81",
                "//evil/",
            ),
            (
                "http://a.example/http://b.example/",
                "a.example:80",
                "a.example",
                "/http://b.example/",
            ),
        ];
        for (url, place, header, path) in cases {
            let (target, sent) = Target::of(&url.parse().unwrap()).unwrap();
            assert_eq!(
                (&*target.place(), &*target.header()),
                (place, header),
                "{url}"
            );
            assert_eq!(sent.to_string(), path, "{url}");
        }
    }

    /// A callback's URL is read when it is submitted and again when it is sent: both times it leads to the
    /// same place, or it was refused the first time.
    #[expect(clippy::too_many_lines, reason = "a table of URLs, not a procedure")]
    #[test]
    fn a_callback_leads_where_its_url_was_read_to_lead() {
        let schemes = [
            "http://", "https://", "HTTP://", "ftp://", "http:", "", "http:///",
        ];
        let hosts = [
            "a.example",
            "A.Example",
            "a.example.",
            "127.0.0.1",
            "127.1",
            "[::1]",
            "[::1",
            "::1",
            "",
            "a@b.example",
            "a:b@c.example",
            "a\\b",
            "a%2eb",
            "a_b",
            "-a",
            "xn--a",
            "ä",
            "a b",
            "a\tb",
        ];
        let ports = [
            "", ":", ":80", ":443", ":0", ":080", ":65535", ":65536", ":8x", ":80:80", "@b",
        ];
        let paths = [
            "",
            "/",
            "?",
            "?a=b",
            "/a/../b",
            "//b.example/",
            "/a b",
            "/%2e",
            "/%",
            "/a#b",
            "#b",
            "/\r\nX: y",
            "\\b",
            "/@b",
            "/:b",
            "/é",
            "/~!$&'()*+,;=-._",
            "/[]",
            "/|",
            "/\"",
            "/{}",
            "/^`",
            "/?a?b",
            "/\0",
        ];
        let mut accepted = 0;
        for scheme in schemes {
            for host in hosts {
                for port in ports {
                    for path in paths {
                        let text = format!("{scheme}{host}{port}{path}");
                        let Ok(url) = CallbackUrl::parse(&text) else {
                            continue;
                        };
                        accepted += 1;
                        let uri = url.as_str().parse().unwrap();
                        let (target, sent) = Target::of(&uri).unwrap();
                        assert_eq!(
                            (&target.host, target.port),
                            (url.host(), url.port()),
                            "{text}"
                        );
                        assert!(url.as_str().ends_with(&sent.to_string()), "{text}");
                        assert_eq!(
                            CallbackUrl::parse(url.as_str()).as_ref(),
                            Ok(&url),
                            "{text}"
                        );
                    }
                }
            }
        }
        assert!(accepted > 500, "{accepted}");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for url in [
            "http://allowed.example@evil.example/",
            "http://user:pass@a.example/",
            "http://a.example./",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://a.example:0/",
            "http://a.example:/",
            "ftp://a.example/",
            "a.example",
            "/path",
            "http://a.example:99999/",
            "http://a.example:080/",
            "http://a.example:8_0/",
            "http://[::1]x/",
        ] {
            if let Ok(uri) = url.parse::<Uri>() {
                assert!(Target::of(&uri).is_err(), "{url}");
            }
        }
    }
}
