//! Tasks as they are kept: what callers and guests said is sealed before a database sees it, and opened once it
//! was read.
//!
//! It stands between the traits and the backends, so that no statement knows of it: inputs, arguments and
//! environments; inputs of workflows, plans of nodes and signals; definitions; outputs, streams, and the words of failures and
//! of progress; what schedules submit. What a database has to search or
//! compare stays as it is: names, keys, labels, metadata, kinds of failures, paths and lengths. Without keys
//! only values that look as if they were sealed are touched.

pub(crate) mod anew;
pub(crate) mod cells;
pub(crate) mod definitions;
mod reads;
pub(crate) mod schedules;
mod tasks;
#[cfg(test)]
mod tests;
mod values;
mod workflows;

use std::sync::Arc;

use crate::seal::Sealer;

/// A backend behind a sealer.
pub(crate) struct Sealed<S: ?Sized> {
    inner: Arc<S>,
    sealer: Arc<Sealer>,
}

impl<S: ?Sized> Sealed<S> {
    pub(crate) fn new(inner: Arc<S>, sealer: &Arc<Sealer>) -> Sealed<S> {
        Sealed {
            inner,
            sealer: Arc::clone(sealer),
        }
    }
}
