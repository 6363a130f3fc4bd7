//! A step into a JSON value: some of them, one after the other, are the place of a part of it.

/// The step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the member of that name.
    Member(String),
    /// To the item in that place.
    Item(usize),
}
