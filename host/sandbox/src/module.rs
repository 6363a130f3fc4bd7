//! A module as the host runs it: in this process, or in processes of its own.

use std::ops::Deref;
use std::sync::Arc;

use crate::load::Loaded;
use crate::processes::Pool;

/// A compiled module that can be run.
pub struct LoadedModule {
    pub(crate) loaded: Arc<Loaded>,
    /// Where its runs are isolated, if they can be.
    pub(crate) pool: Option<Arc<Pool>>,
}

impl Deref for LoadedModule {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.loaded
    }
}
