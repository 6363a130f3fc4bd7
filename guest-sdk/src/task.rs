//! [`Task`], which `#[task]` implements, and the helpers its expansion calls. The helpers tell a
//! returned `Result` from a plain value by its type, not by its spelling, so aliases of `Result`
//! work too.

use std::marker::PhantomData;

use crate::{Failure, Output, Payload};

/// A whole task: what `#[task]` makes of a function.
pub trait Task {
    /// The module's description of itself when it is uploaded.
    fn describe() -> Descriptor;

    /// Runs the task on a payload, reading the input and writing the output.
    fn run(payload: Payload) -> Result<Payload, Failure>;
}

/// A module's description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What the task does, in a sentence.
    pub summary: String,
    /// The JSON Schema of the input as text; none for raw bytes.
    pub input_schema: Option<String>,
    /// The JSON Schema of the output as text; none for raw bytes.
    pub output_schema: Option<String>,
}

/// A value that a task returned. For a `Result` the inherent method wins over [`PlainValue`]'s.
pub struct Returned<R>(pub R);

impl<T, E> Returned<Result<T, E>> {
    /// Writes the value or classifies the error.
    pub fn outcome(self) -> Result<Payload, Failure>
    where
        T: Output,
        E: Into<Failure>,
    {
        self.0.map_err(Into::into)?.encode()
    }
}

/// The outcome of a value that is not a `Result`.
pub trait PlainValue<R> {
    /// Writes the value.
    fn outcome(self) -> Result<Payload, Failure>
    where
        R: Output;
}

impl<R> PlainValue<R> for Returned<R> {
    fn outcome(self) -> Result<Payload, Failure>
    where
        R: Output,
    {
        self.0.encode()
    }
}

/// The type that a task returns, for its schema. Dispatches as [`Returned`] does.
pub struct ReturnType<R>(pub PhantomData<R>);

impl<T, E> ReturnType<Result<T, E>> {
    /// The schema of the value.
    pub fn schema(&self) -> Option<String>
    where
        T: Output,
    {
        T::schema()
    }
}

/// The schema of a type that is not a `Result`.
pub trait PlainType<R> {
    /// The schema of the value.
    fn schema(&self) -> Option<String>
    where
        R: Output;
}

impl<R> PlainType<R> for ReturnType<R> {
    fn schema(&self) -> Option<String>
    where
        R: Output,
    {
        R::schema()
    }
}
