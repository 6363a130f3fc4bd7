//! Why a request did not go out, or brought no answer.

use std::net::IpAddr;
use std::time::Duration;

/// What became of a request. The words are for whoever sent it; those of the network are not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The run was not granted it.
    #[error("no grant of this run has {method} {place}; name the host in `grants.http`")]
    NotGranted {
        /// The method.
        method: String,
        /// Host and port.
        place: String,
    },
    /// The operator allows it to nobody.
    #[error(
        "this host lets nobody reach {0}; its operator would have to list it in [egress] allow"
    )]
    NotAllowed(String),
    /// The tenant's list does not have it.
    #[error("{0} is not among the hosts of this tenant")]
    NotTenants(String),
    /// Its grant has a secret, which would go out in plain text.
    #[error(
        "a secret goes to {0} only over https, unless the grant that has it names a port other than 443"
    )]
    PlainSecret(String),
    /// A secret cannot be in a header.
    #[error("the secret {secret} cannot be in the header {header}: it is not one line of text")]
    BadSecret {
        /// Its name.
        secret: String,
        /// The header.
        header: String,
    },
    /// The address of a request is not one.
    #[error("{0}")]
    BadTarget(String),
    /// The method is never sent.
    #[error("{0} is not sent for anybody")]
    BadMethod(String),
    /// An address that may not be reached.
    #[error("{place} is at {address}, which is {what}; such addresses are not reached from here")]
    Prohibited {
        /// Host and port.
        place: String,
        /// The address.
        address: IpAddr,
        /// What it is.
        what: &'static str,
    },
    /// There is no such name.
    #[error("there is no host {0}")]
    NoSuchHost(String),
    /// Its name could not be resolved.
    #[error("the name {0} could not be resolved")]
    NotResolved(String),
    /// It did not let itself be connected to.
    #[error("no connection to {0}: {1}")]
    NotConnected(String, std::io::ErrorKind),
    /// Making a connection took too long.
    #[error("no connection to {0} within {1:?}")]
    ConnectTimeout(String, Duration),
    /// TLS failed.
    #[error("no secure connection to {0}: {1}")]
    Tls(String, String),
    /// Its certificate is not good.
    #[error("the certificate of {0} is not good: {1}")]
    Certificate(String, String),
    /// The request took too long.
    #[error("the request took longer than {0:?}")]
    Timeout(Duration),
    /// The run sent too many requests.
    #[error("this run has sent {0} requests; no more are allowed")]
    Requests(u64),
    /// The run received too much.
    #[error("this run has received {0} bytes; no more are allowed")]
    InBytes(u64),
    /// The run sent too much.
    #[error("this run has sent {0} bytes; no more are allowed")]
    OutBytes(u64),
    /// The head of the answer is too long.
    #[error("the head of the answer is longer than {0} bytes")]
    Head(usize),
    /// The answer ended too early.
    #[error("the connection ended before the answer did")]
    Incomplete,
    /// Something else is wrong with the answer, or with the body of the request.
    #[error("the answer is not HTTP, or the request was cut short: {0}")]
    Protocol(String),
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident $word:literal),+ $(,)?) => {
        /// What an error is, in one word: so it crosses from one process to another.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $code),+
        }

        impl Code {
            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Code::$code => $word),+
                }
            }

            /// The code of a word.
            pub fn parse(word: &str) -> Option<Code> {
                [$(Code::$code),+].into_iter().find(|code| code.as_str() == word)
            }
        }
    };
}

codes! {
    /// No grant, or the operator or tenant does not allow it.
    Denied "denied",
    /// The address of the request is not one.
    BadTarget "bad_target",
    /// The method is never sent.
    BadMethod "bad_method",
    /// The address may not be reached.
    Prohibited "prohibited",
    /// There is no such host.
    NoSuchHost "no_such_host",
    /// The name could not be resolved.
    NotResolved "not_resolved",
    /// No connection.
    NotConnected "not_connected",
    /// No connection in time.
    ConnectTimeout "connect_timeout",
    /// TLS failed.
    Tls "tls",
    /// A certificate is not good.
    Certificate "certificate",
    /// No answer in time.
    Timeout "timeout",
    /// Too many requests.
    Requests "requests",
    /// Too much received.
    InBytes "in_bytes",
    /// Too much sent.
    OutBytes "out_bytes",
    /// A head too long.
    Head "head",
    /// An answer cut short.
    Incomplete "incomplete",
    /// Not HTTP.
    Protocol "protocol",
}

impl EgressError {
    /// What it is.
    pub fn code(&self) -> Code {
        match self {
            EgressError::NotGranted { .. }
            | EgressError::NotAllowed(_)
            | EgressError::NotTenants(_)
            | EgressError::PlainSecret(_)
            | EgressError::BadSecret { .. } => Code::Denied,
            EgressError::BadTarget(_) => Code::BadTarget,
            EgressError::BadMethod(_) => Code::BadMethod,
            EgressError::Prohibited { .. } => Code::Prohibited,
            EgressError::NoSuchHost(_) => Code::NoSuchHost,
            EgressError::NotResolved(_) => Code::NotResolved,
            EgressError::NotConnected(..) => Code::NotConnected,
            EgressError::ConnectTimeout(..) => Code::ConnectTimeout,
            EgressError::Tls(..) => Code::Tls,
            EgressError::Certificate(..) => Code::Certificate,
            EgressError::Timeout(_) => Code::Timeout,
            EgressError::Requests(_) => Code::Requests,
            EgressError::InBytes(_) => Code::InBytes,
            EgressError::OutBytes(_) => Code::OutBytes,
            EgressError::Head(_) => Code::Head,
            EgressError::Incomplete => Code::Incomplete,
            EgressError::Protocol(_) => Code::Protocol,
        }
    }

    /// Whether a rule or a limit stood against it, rather than the network: such a try is worth an entry.
    pub fn is_refusal(&self) -> bool {
        match self.code() {
            Code::Denied
            | Code::BadTarget
            | Code::BadMethod
            | Code::Prohibited
            | Code::Requests
            | Code::InBytes
            | Code::OutBytes => true,
            Code::NoSuchHost
            | Code::NotResolved
            | Code::NotConnected
            | Code::ConnectTimeout
            | Code::Tls
            | Code::Certificate
            | Code::Timeout
            | Code::Head
            | Code::Incomplete
            | Code::Protocol => false,
        }
    }
}
