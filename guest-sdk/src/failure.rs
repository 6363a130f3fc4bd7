//! [`Failure`] and the conversions from an error to one. The retry policy is the host's: an author
//! only says which of three things went wrong.

use std::error::Error;
use std::fmt;

/// Why a run failed, as the module judges it. The case decides whether the host tries again.
///
/// Any [`std::error::Error`] becomes a permanent failure under `?`. Where trying again makes
/// sense, say so with [`ResultExt::transient`] or [`OrFail::or_transient`]. An error's sources are
/// kept in the message, separated by colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The input can never be processed. Never retried.
    InvalidInput(String),
    /// The work failed and would fail again. Never retried.
    Permanent(String),
    /// The work failed for a reason that may pass. Retried as the task's policy says.
    Transient(String),
}

impl Failure {
    /// A failure of the input, from anything that implements `Display`.
    pub fn invalid_input(message: impl fmt::Display) -> Self {
        Self::InvalidInput(message.to_string())
    }

    /// A permanent failure, from anything that implements `Display`.
    pub fn permanent(message: impl fmt::Display) -> Self {
        Self::Permanent(message.to_string())
    }

    /// A transient failure, from anything that implements `Display`.
    pub fn transient(message: impl fmt::Display) -> Self {
        Self::Transient(message.to_string())
    }

    /// The message, whatever the case.
    pub fn message(&self) -> &str {
        match self {
            Self::InvalidInput(text) | Self::Permanent(text) | Self::Transient(text) => text,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::InvalidInput(_) => "invalid input",
            Self::Permanent(_) => "permanent failure",
            Self::Transient(_) => "transient failure",
        };
        write!(f, "{kind}: {}", self.message())
    }
}

/// An error that nobody has classified is permanent: a retry that nobody asked for could repeat
/// side effects.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Permanent(chain(&error))
    }
}

/// Says which kind of failure an error is: `fetch(url).transient()?`.
///
/// It works for every error that converts into `Box<dyn Error>`: the standard ones, strings and
/// `anyhow::Error`.
pub trait ResultExt<T> {
    /// Makes the error a failure of the input.
    fn invalid_input(self) -> Result<T, Failure>;

    /// Makes the error a permanent failure.
    fn permanent(self) -> Result<T, Failure>;

    /// Makes the error a transient failure, so that the host retries.
    fn transient(self) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error>>> ResultExt<T> for Result<T, E> {
    fn invalid_input(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::InvalidInput(chain(error.into().as_ref())))
    }

    fn permanent(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Permanent(chain(error.into().as_ref())))
    }

    fn transient(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Transient(chain(error.into().as_ref())))
    }
}

/// Says which kind of failure it is and what was being done, for an error and for a `None`.
///
/// ```
/// use cofferdam_guest::{Failure, OrFail};
///
/// let none: Result<u8, Failure> = [0_u8; 0].first().copied().or_invalid_input("no pixels");
/// assert_eq!(none, Err(Failure::InvalidInput("no pixels".into())));
///
/// let error: Result<u8, Failure> = "x".parse::<u8>().or_permanent("reading the width");
/// assert_eq!(error.unwrap_err().message(), "reading the width: invalid digit found in string");
/// ```
pub trait OrFail<T> {
    /// A failure of the input.
    fn or_invalid_input(self, what: impl fmt::Display) -> Result<T, Failure>;

    /// A permanent failure.
    fn or_permanent(self, what: impl fmt::Display) -> Result<T, Failure>;

    /// A transient failure, so that the host retries.
    fn or_transient(self, what: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> OrFail<T> for Option<T> {
    fn or_invalid_input(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::invalid_input(what))
    }

    fn or_permanent(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::permanent(what))
    }

    fn or_transient(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::transient(what))
    }
}

impl<T, E: Into<Box<dyn Error>>> OrFail<T> for Result<T, E> {
    fn or_invalid_input(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::InvalidInput(explained(what, error)))
    }

    fn or_permanent(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::Permanent(explained(what, error)))
    }

    fn or_transient(self, what: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::Transient(explained(what, error)))
    }
}

fn explained(what: impl fmt::Display, error: impl Into<Box<dyn Error>>) -> String {
    format!("{what}: {}", chain(error.into().as_ref()))
}

/// The error and its sources. Many errors show their source themselves; it is not said twice.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
