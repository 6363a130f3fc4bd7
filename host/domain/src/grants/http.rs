//! The hosts that a run may send HTTP requests to, as patterns, and what it may ask of them.
//!
//! The same patterns say what the operator and a tenant allow. Nothing here resolves a name: which addresses
//! may be reached is decided where connections are made. Names are compared as they are, so there is one
//! form of each: lower case, no trailing dot, ASCII only, and addresses in their usual form.

mod header;

use core::fmt;
// Only the types of addresses, which are as pure as numbers.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

pub use self::header::SecretHeader;

/// The ports of a pattern that names none: those of `http` and `https`.
pub const USUAL_PORTS: [u16; 2] = [80, 443];

/// The longest name in DNS, and the longest part of one.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
/// The longest method. The standard ones have seven characters at most.
const METHOD_BYTES_MAX: usize = 32;

/// A host by its name or its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostName {
    /// A name, to be resolved.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text is not the name of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} {1}")]
pub struct BadHost(String, &'static str);

impl HostName {
    /// Reads the host of a URL or of a pattern, an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<HostName, BadHost> {
        let bad = |why| Err(BadHost(text.chars().take(NAME_BYTES_MAX).collect(), why));
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner
                .strip_suffix(']')
                .and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return match address {
                Some(address) => Ok(HostName::Address(address.into())),
                None => bad("is not an IPv6 address"),
            };
        }
        if text.is_empty() || text.len() > NAME_BYTES_MAX {
            return bad("is not the name of a host");
        }
        if !text.is_ascii() {
            return bad("is not ASCII; write such a name in its form that begins with xn--");
        }
        if text.ends_with('.') {
            return bad("ends in a dot");
        }
        let lower = text.to_ascii_lowercase();
        let is_name = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            !label.is_empty()
                && label.len() <= LABEL_BYTES_MAX
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(plain)
        };
        if !lower.split('.').all(is_name) {
            return bad("is not the name of a host");
        }
        // What ends in a number is an address to most programs, in one of many forms; one is taken.
        let last = lower.rsplit('.').next().unwrap_or(&lower);
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
        if !is_number {
            return Ok(HostName::Name(lower));
        }
        match lower.parse::<Ipv4Addr>() {
            Ok(address) => Ok(HostName::Address(address.into())),
            Err(_) => bad("is an IPv4 address in an unusual form; write four decimal numbers"),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostName::Name(name) => formatter.write_str(name),
            HostName::Address(IpAddr::V4(address)) => write!(formatter, "{address}"),
            HostName::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

/// Some hosts and ports: `api.example.com`, `*.example.org:8443`, `192.0.2.1`, `[2001:db8::1]:80` or `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Hosts {
    /// All of them.
    All,
    /// All names below this one, but not itself.
    Below(String),
    /// This one.
    One(HostName),
}

impl FromStr for HostPattern {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<HostPattern, BadHost> {
        let (host, port) = match text.rsplit_once(':') {
            // What is in brackets has colons of its own.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            Some(_) | None => (text, None),
        };
        let port = match port {
            None => None,
            Some(port) => Some(port_of(port).ok_or_else(|| {
                BadHost(
                    text.to_owned(),
                    "has a port that is not a number from 1 to 65535",
                )
            })?),
        };
        let hosts = match host.strip_prefix("*.") {
            _ if host == "*" => Hosts::All,
            Some(parent) => match HostName::parse(parent)? {
                HostName::Name(parent) => Hosts::Below(parent),
                HostName::Address(_) => {
                    return Err(BadHost(text.to_owned(), "is below an address"));
                }
            },
            None => Hosts::One(HostName::parse(host)?),
        };
        Ok(HostPattern { hosts, port })
    }
}

/// A port in its one form: no sign, no zeros before it.
pub fn port_of(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port != 0 && port.to_string() == text).then_some(port)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::All => formatter.write_str("*")?,
            Hosts::Below(parent) => write!(formatter, "*.{parent}")?,
            Hosts::One(host) => write!(formatter, "{host}")?,
        }
        self.port
            .map_or(Ok(()), |port| write!(formatter, ":{port}"))
    }
}

impl HostPattern {
    /// The address, if it has one host and that is one.
    pub fn address(&self) -> Option<IpAddr> {
        match &self.hosts {
            Hosts::One(HostName::Address(address)) => Some(*address),
            Hosts::One(HostName::Name(_)) | Hosts::All | Hosts::Below(_) => None,
        }
    }

    /// Whether the host at this port is one of them.
    pub fn matches(&self, host: &HostName, port: u16) -> bool {
        self.has_port(port)
            && match (&self.hosts, host) {
                (Hosts::All, _) => true,
                (Hosts::Below(parent), HostName::Name(name)) => is_below(name, parent),
                (Hosts::Below(_), HostName::Address(_)) => false,
                (Hosts::One(one), _) => one == host,
            }
    }

    /// Whether `allowed` together have every host and port of this pattern, one of them all hosts of a port.
    pub fn is_within(&self, allowed: &[HostPattern]) -> bool {
        let covers = |port: u16| {
            allowed
                .iter()
                .any(|outer| outer.has_port(port) && self.hosts.is_within(&outer.hosts))
        };
        match self.port {
            Some(port) => covers(port),
            None => USUAL_PORTS.into_iter().all(covers),
        }
    }

    /// Whether it names its port.
    pub fn names_port(&self) -> bool {
        self.port.is_some()
    }

    fn has_port(&self, port: u16) -> bool {
        match self.port {
            Some(own) => own == port,
            None => USUAL_PORTS.contains(&port),
        }
    }
}

impl Hosts {
    fn is_within(&self, outer: &Hosts) -> bool {
        match (self, outer) {
            (_, Hosts::All) => true,
            (Hosts::All, Hosts::Below(_) | Hosts::One(_)) => false,
            (Hosts::Below(inner), Hosts::Below(outer)) => inner == outer || is_below(inner, outer),
            (Hosts::One(HostName::Name(name)), Hosts::Below(outer)) => is_below(name, outer),
            (Hosts::One(HostName::Address(_)), Hosts::Below(_))
            | (Hosts::Below(_), Hosts::One(_)) => false,
            (Hosts::One(inner), Hosts::One(outer)) => inner == outer,
        }
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|rest| !rest.is_empty())
}

/// Requests that a run may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    hosts: HostPattern,
    methods: Vec<String>,
    headers: Vec<SecretHeader>,
}

/// Why a grant is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHttpGrant {
    /// Its hosts cannot be read.
    #[error(transparent)]
    Host(#[from] BadHost),
    /// It names a method that does not exist.
    #[error("{0:?} is not a method that can be granted")]
    Method(String),
    /// It names a header that does not exist, or is the host's to write.
    #[error("{0:?} is not a header that a secret can be put into")]
    Header(String),
    /// What is to stand before a secret cannot be in a header.
    #[error(
        "the prefix of {name:?} is not at most {} visible ASCII characters",
        SecretHeader::BYTES_MAX
    )]
    Prefix {
        /// The header.
        name: String,
    },
    /// It has too many headers, or one of them twice.
    #[error("a grant has at most {} headers, each once", HttpGrant::HEADERS_MAX)]
    Headers,
}

impl HttpGrant {
    /// Requests to these hosts with these methods, or with any if there are none. Methods are compared as
    /// they are, so they are read in upper case.
    pub fn new(host: &str, methods: &[String]) -> Result<HttpGrant, BadHttpGrant> {
        let hosts = host.parse()?;
        for method in methods {
            let is_method = !method.is_empty()
                && method.len() <= METHOD_BYTES_MAX
                && method
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
            // It asks for a connection to somebody else.
            if !is_method || method == "CONNECT" {
                let method = method.chars().take(METHOD_BYTES_MAX).collect();
                return Err(BadHttpGrant::Method(method));
            }
        }
        Ok(HttpGrant {
            hosts,
            methods: methods.to_vec(),
            headers: Vec::new(),
        })
    }

    /// The most headers with secrets of one grant.
    pub const HEADERS_MAX: usize = 8;

    /// The same, with these headers in its requests.
    pub fn with_headers(self, headers: Vec<SecretHeader>) -> Result<HttpGrant, BadHttpGrant> {
        let is_repeated = |(place, header): (usize, &SecretHeader)| {
            headers[..place]
                .iter()
                .any(|other| other.name() == header.name())
        };
        if headers.len() > HttpGrant::HEADERS_MAX || headers.iter().enumerate().any(is_repeated) {
            return Err(BadHttpGrant::Headers);
        }
        Ok(HttpGrant { headers, ..self })
    }

    /// Headers that the host puts into its requests.
    pub fn headers(&self) -> &[SecretHeader] {
        &self.headers
    }

    /// Whether it has the host at this port with this method.
    pub fn has(&self, host: &HostName, port: u16, method: &str) -> bool {
        self.hosts.matches(host, port) && self.has_method(method)
    }

    /// Its hosts.
    pub fn hosts(&self) -> &HostPattern {
        &self.hosts
    }

    /// Its methods; none means any.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// Whether it has this method.
    pub fn has_method(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|own| own == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_have_one_form() {
        let name = |text: &str| Ok(HostName::Name(text.to_owned()));
        assert_eq!(HostName::parse("API.example.com"), name("api.example.com"));
        assert_eq!(HostName::parse("localhost"), name("localhost"));
        assert_eq!(
            HostName::parse("xn--bcher-kva.example"),
            name("xn--bcher-kva.example")
        );
        assert_eq!(HostName::parse("1.2.3.4.example"), name("1.2.3.4.example"));
        for text in ["192.0.2.1", "[2001:db8::1]"] {
            let host = HostName::parse(text).unwrap();
            assert!(matches!(host, HostName::Address(_)), "{text}");
            assert_eq!(host.to_string(), text);
        }
        for text in [
            "",
            ".",
            "a..b",
            "example.com.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "127.0.0.1.",
            "[::1",
            "[127.0.0.1]",
            "::1",
            "[fe80::1%eth0]",
            "user@host",
            "a b",
            "a/b",
            "a\\b",
            "a%2eb",
            "-a.b",
            "a-.b",
            "bücher.example",
            "ｅxample.com",
            "a\r\nb",
            "*.a.*",
            "a:b",
            "a,b",
            "a?b",
            "a#b",
        ] {
            assert!(HostName::parse(text).is_err(), "{text:?}");
        }
        assert!(HostName::parse(&"a".repeat(64)).is_err());
        assert!(HostName::parse(&"a.".repeat(127)).is_err());
    }

    #[test]
    fn a_pattern_has_its_hosts_at_its_ports() {
        let host = |text: &str| HostName::parse(text).unwrap();
        let cases: [(&str, &str, u16, bool); 16] = [
            ("example.com", "example.com", 443, true),
            ("Example.com", "example.com", 80, true),
            ("example.com", "example.com", 8080, false),
            ("example.com:8080", "example.com", 8080, true),
            ("example.com:8080", "example.com", 443, false),
            ("example.com", "a.example.com", 443, false),
            ("*.example.com", "a.b.example.com", 443, true),
            ("*.example.com", "example.com", 443, false),
            ("*.example.com", "evilexample.com", 443, false),
            ("*.example.com:22", "a.example.com", 22, true),
            ("*", "anything.example", 443, true),
            ("*", "192.0.2.1", 80, true),
            ("*", "anything.example", 22, false),
            ("192.0.2.1:5000", "192.0.2.1", 5000, true),
            ("[2001:db8::1]", "[2001:db8:0::1]", 443, true),
            ("192.0.2.1", "192.0.2.2", 443, false),
        ];
        for (text, name, port, expected) in cases {
            assert_eq!(
                pattern(text).matches(&host(name), port),
                expected,
                "{text} {name}:{port}"
            );
        }
        for text in [
            "",
            ":80",
            "example.com:",
            "example.com:0",
            "example.com:080",
            "example.com:+80",
            "example.com:65536",
            "example.com:80:80",
            "*example.com",
            "**.example.com",
            "*.1.2.3.4",
            "*.",
            "a.*.b",
            "http://example.com",
            "example.com/path",
            "[::1]80",
            "*.*",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text:?}");
        }
        for text in [
            "*",
            "*:22",
            "*.a.example",
            "a.example:81",
            "192.0.2.1",
            "[2001:db8::1]:80",
        ] {
            assert_eq!(pattern(text).to_string(), text);
        }
    }

    #[test]
    fn a_pattern_is_within_others_if_they_have_all_of_it() {
        let cases: [(&str, &[&str], bool); 13] = [
            ("a.example", &["a.example"], true),
            ("a.example", &["*"], true),
            ("a.example", &["*.example"], true),
            ("a.example", &[], false),
            ("example", &["*.example"], false),
            ("*.a.example", &["*.example"], true),
            ("*.example", &["*.a.example"], false),
            ("*", &["*.example"], false),
            ("a.example:81", &["a.example"], false),
            ("a.example:443", &["a.example"], true),
            ("a.example", &["a.example:443"], false),
            ("a.example", &["a.example:443", "*:80"], true),
            ("192.0.2.1", &["192.0.2.1", "x.example"], true),
        ];
        for (inner, outer, expected) in cases {
            let outer: Vec<HostPattern> = outer.iter().map(|text| pattern(text)).collect();
            assert_eq!(
                pattern(inner).is_within(&outer),
                expected,
                "{inner} {outer:?}"
            );
        }
    }

    #[test]
    fn a_grant_has_the_methods_that_it_names() {
        let grant = |methods: &[&str]| {
            let methods: Vec<String> = methods.iter().map(|text| (*text).to_owned()).collect();
            HttpGrant::new("a.example", &methods)
        };
        assert!(grant(&[]).unwrap().has_method("DELETE"));
        assert!(grant(&["GET", "HEAD"]).unwrap().has_method("HEAD"));
        assert!(!grant(&["GET"]).unwrap().has_method("get"));
        for bad in ["get", "", "CONNECT", "GET /", "A\r\nB"] {
            assert!(grant(&[bad]).is_err(), "{bad:?}");
        }
        assert!(HttpGrant::new("a b", &[]).is_err());
    }
}
