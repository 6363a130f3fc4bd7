//! Callbacks: whom a task's end is told, and what became of telling it.
//!
//! A URL has one reading, and everything in it can be sent as it is. Whether its host may be reached is
//! decided where connections are made. Nothing here signs or sends.

pub mod event;

use core::fmt;

use crate::caller::Tenant;
use crate::grants::http::{HostName, port_of};
use crate::secret::SecretName;
use crate::state::TaskState;
use crate::time::Timestamp;

/// The longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2048;
/// The longest error that is kept of a delivery, in bytes.
pub const ERROR_BYTES_MAX: usize = 256;
/// The ports of `http` and `https`.
const USUAL_PORTS: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// Whom a task's end is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Where it is sent.
    pub url: CallbackUrl,
    /// The secret of the tenant with which it is signed; unsigned if there is none.
    pub secret: Option<SecretName>,
    /// The ends that are told.
    pub on: Ends,
}

/// Where a callback is sent: `http` or `https`, without a user, a password or a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackUrl {
    text: String,
    host: HostName,
    port: u16,
}

/// Why a text is not the URL of a callback.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It is too long.
    #[error("has more than {URL_BYTES_MAX} bytes")]
    Long,
    /// It is of another kind.
    #[error("begins with neither http:// nor https://")]
    Scheme,
    /// It has a user's name or a password.
    #[error("has a user's name or a password in it")]
    User,
    /// It has a fragment, which is never sent.
    #[error("has a fragment, which is never sent")]
    Fragment,
    /// Its host cannot be read.
    #[error("names a host that cannot be read: {0}")]
    Host(String),
    /// Its port is none.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// It has a character that a URL does not have.
    #[error("has a character that must be written as % and two hexadecimal digits")]
    Character,
}

impl CallbackUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<CallbackUrl, BadUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(BadUrl::Long);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let lower = scheme.to_ascii_lowercase();
        let usual = USUAL_PORTS.iter().find(|(name, _)| *name == lower);
        let (scheme, usual) = *usual.ok_or(BadUrl::Scheme)?;
        if rest.contains('#') {
            return Err(BadUrl::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(BadUrl::User);
        }
        let (host, port) = match authority.rsplit_once(':') {
            // What is in brackets has colons of its own.
            Some((host, port)) if !port.ends_with(']') => {
                (host, port_of(port).ok_or(BadUrl::Port)?)
            }
            Some(_) | None => (authority, usual),
        };
        let host = HostName::parse(host).map_err(|error| BadUrl::Host(error.to_string()))?;
        if !is_path(path) {
            return Err(BadUrl::Character);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let text = match port == usual {
            true => format!("{scheme}://{host}{slash}{path}"),
            false => format!("{scheme}://{host}:{port}{slash}{path}"),
        };
        Ok(CallbackUrl { text, host, port })
    }

    /// The URL, in its one form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port: what fails together.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Whether a path and a query have only what may stand in them.
fn is_path(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_good = match byte {
            b'%' => {
                let digits = [bytes.next(), bytes.next()];
                digits
                    .iter()
                    .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            b'/' | b'?' | b':' | b'@' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            other => other.is_ascii_alphanumeric(),
        };
        if !is_good {
            return false;
        }
    }
    true
}

/// Some of the ways in which a task ends; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends(u8);

impl Ends {
    /// The final states.
    pub const STATES: [TaskState; 3] = [
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Cancelled,
    ];
    /// All of them.
    pub const ALL: Ends = Ends(0b111);

    /// These; `None` if there is none among them.
    pub fn of(states: &[TaskState]) -> Option<Ends> {
        let bits = Ends::STATES.iter().enumerate();
        let bits = bits.filter(|(_, state)| states.contains(state));
        let bits = bits.fold(0, |bits, (place, _)| bits | 1 << place);
        Ends::from_bits(bits)
    }

    /// A bit for each of [`Ends::STATES`], the first one lowest.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// From bits; `None` if they are none.
    pub fn from_bits(bits: u8) -> Option<Ends> {
        (1..=Ends::ALL.0).contains(&bits).then_some(Ends(bits))
    }

    /// Whether this state is among them.
    pub fn has(self, state: TaskState) -> bool {
        let place = Ends::STATES.iter().position(|other| *other == state);
        place.is_some_and(|place| self.0 & 1 << place != 0)
    }
}

/// How far telling of an end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is to be told, or told again.
    Pending,
    /// The other side said that it has it.
    Delivered,
    /// It is given up.
    Failed,
}

impl DeliveryStatus {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "pending",
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Failed => "failed",
        }
    }
}

/// What the API shows of a task's newest end that is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How far it has come.
    pub status: DeliveryStatus,
    /// Tries so far.
    pub tries: u32,
    /// What the last one was answered, if it was.
    pub last_status: Option<u16>,
    /// Why the last one did not succeed.
    pub last_error: Option<String>,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
}

/// Where a host and a tenant meet: what is delivered there fails together, and waits for nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Whose it is.
    pub tenant: Tenant,
    /// Host and port.
    pub place: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_one_form() {
        for (text, form, place) in [
            ("https://a.example", "https://a.example/", "a.example:443"),
            (
                "HTTP://A.Example:80/x",
                "http://a.example/x",
                "a.example:80",
            ),
            ("https://a.example:8443?x=%2f&y=[z", "", ""),
            (
                "https://a.example:8443?x=%2f",
                "https://a.example:8443/?x=%2f",
                "a.example:8443",
            ),
            (
                "http://[2001:db8::1]:81/a//b/@:;",
                "http://[2001:db8::1]:81/a//b/@:;",
                "[2001:db8::1]:81",
            ),
            ("http://192.0.2.1/", "http://192.0.2.1/", "192.0.2.1:80"),
        ] {
            match CallbackUrl::parse(text) {
                Ok(url) => assert_eq!((url.as_str(), &*url.place()), (form, place), "{text}"),
                Err(error) => assert!(form.is_empty(), "{text}: {error}"),
            }
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_no_url() {
        let long = format!("http://a.example/{}", "x".repeat(URL_BYTES_MAX));
        for (text, why) in [
            (&*long, BadUrl::Long),
            ("", BadUrl::Scheme),
            ("a.example/x", BadUrl::Scheme),
            ("ftp://a.example/", BadUrl::Scheme),
            ("file:///etc/passwd", BadUrl::Scheme),
            ("//a.example/", BadUrl::Scheme),
            ("https://user:pass@a.example/", BadUrl::User),
            ("https://a.example@b.example/", BadUrl::User),
            ("https://a.example/#x", BadUrl::Fragment),
            ("https://a.example:0/", BadUrl::Port),
            ("https://a.example:/", BadUrl::Port),
            ("https://a.example:080/", BadUrl::Port),
            ("https://a.example/a b", BadUrl::Character),
            ("https://a.example/\r\nX: y", BadUrl::Character),
            ("https://a.example/\\b", BadUrl::Character),
            ("https://a.example/%0", BadUrl::Character),
            ("https://a.example/ä", BadUrl::Character),
        ] {
            assert_eq!(CallbackUrl::parse(text), Err(why), "{text:?}");
        }
        for text in [
            "http:///x",
            "http://127.1/",
            "http://0x7f000001/",
            "http://a.example./",
            "http://a..example/",
            "http://a\\b/",
            "http://a%2eexample/",
            "http://bücher.example/",
            "http://[::1/",
            "http://a.example\r\n/",
        ] {
            let read = CallbackUrl::parse(text);
            assert!(matches!(read, Err(BadUrl::Host(_))), "{text:?}: {read:?}");
        }
    }

    #[test]
    fn ends_are_bits() {
        assert_eq!(Ends::of(&[]), None);
        assert_eq!(Ends::of(&[TaskState::Running]), None);
        assert_eq!(Ends::of(&Ends::STATES), Some(Ends::ALL));
        let failed = Ends::of(&[TaskState::Failed, TaskState::Failed]).unwrap();
        assert_eq!(failed.bits(), 0b010);
        assert_eq!(Ends::from_bits(0b010), Some(failed));
        let has = Ends::STATES.map(|state| failed.has(state));
        assert_eq!(has, [false, true, false]);
        assert!(!Ends::ALL.has(TaskState::Pending));
        assert!(Ends::from_bits(0).is_none() && Ends::from_bits(8).is_none());
    }
}
