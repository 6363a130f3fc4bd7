//! `[dirs.NAME]`: directories of the host that a task may be granted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cofferdam_domain::grants::Access;

/// The directories by the operator's names for them.
pub type Dirs = BTreeMap<String, Dir>;

/// One directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dir {
    /// Where it is on the host; an absolute path.
    pub path: PathBuf,
    /// The most a task may do there.
    pub access: Access,
}
