//! Why a request is refused: the mistake and its place.
//!
//! Each entry point has its own form: HTTP answers with a problem with a code, agents get a result
//! that they can read.

use std::fmt;

use cofferdam::interpreters::Unavailable;
use cofferdam::interpreters::request::BadRequest;
use cofferdam::runner::RunError;
use cofferdam_domain::module::BadModuleRef;
use cofferdam_domain::said;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// It has a mistake.
    #[error(transparent)]
    Mistake(#[from] Mistake),
    /// A module's name, or the version behind it.
    #[error(transparent)]
    Module(#[from] BadModuleRef),
    /// It asks for something that this host does not do, or not at the moment.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// The kind of a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The text is not JSON.
    NotJson,
    /// A field has a value that is not accepted, or is unknown.
    Field,
    /// A parameter of the query has a value that is not accepted.
    Parameter,
    /// The query has a parameter that is unknown.
    UnknownParameter,
}

/// A mistake in a request.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) kind: Kind,
    /// The field or parameter, if there is one.
    pub(crate) field: Option<String>,
    /// A sentence that names the field and says what is wrong.
    pub(crate) detail: String,
}

impl Refused {
    /// A mistake, in whole sentences.
    pub(crate) fn mistake(kind: Kind, field: Option<String>, detail: String) -> Refused {
        // A name or a value may be as long as the body.
        Refused::Mistake(Mistake {
            kind,
            field: field.map(said::repeated),
            detail: said::repeated(detail),
        })
    }

    /// A value that `field` does not accept.
    pub(crate) fn field(field: &str, why: impl fmt::Display) -> Refused {
        let detail = said::repeated(format_args!("{field}: {why}"));
        Refused::mistake(Kind::Field, Some(field.to_owned()), detail)
    }

    /// A value that the parameter `name` of the query does not accept.
    pub(crate) fn parameter(name: &str, why: impl fmt::Display) -> Refused {
        let detail = said::repeated(format_args!("{name}: {why}"));
        Refused::mistake(Kind::Parameter, Some(name.to_owned()), detail)
    }
}

#[cfg(test)]
impl Refused {
    /// The mistake; anything else fails the test.
    pub(crate) fn expect_mistake(self) -> Mistake {
        match self {
            Refused::Mistake(mistake) => mistake,
            Refused::Module(_) | Refused::Run(_) => panic!("{self}"),
        }
    }
}

impl From<BadRequest> for Refused {
    fn from(bad: BadRequest) -> Refused {
        RunError::from(bad).into()
    }
}

impl From<Unavailable> for Refused {
    fn from(unavailable: Unavailable) -> Refused {
        RunError::from(unavailable).into()
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Mistake {}
