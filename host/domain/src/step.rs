//! A step into a JSON value: some of them, one after the other, are the place of a part of it.

use std::fmt;

/// The step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the member of that name.
    Member(String),
    /// To the item in that place.
    Item(usize),
}

impl fmt::Display for Step {
    /// As a JSON pointer writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Member(name) => write!(f, "/{}", escaped(name)),
            Step::Item(number) => write!(f, "/{number}"),
        }
    }
}

/// A member's name as a JSON pointer writes it (RFC 6901, section 3).
pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
