//! Grants: the capabilities given to one run. Without one a guest has nothing but its own memory
//! and its own scratch directory.

pub mod http;

use self::http::HttpGrant;

/// What may be done in a granted directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read only.
    Read,
    /// Read and write.
    Write,
}

impl Access {
    /// The word of the configuration and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
        }
    }
}

/// A run's request for a directory that the operator configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirGrant {
    /// The operator's name for it, `[dirs.NAME]` in the configuration.
    pub name: String,
    /// Where the guest sees it: an absolute path.
    pub at: String,
    /// What the run wants to do there; the operator's own access if absent.
    pub access: Option<Access>,
}

/// Everything a run was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Directories of the host.
    pub dirs: Vec<DirGrant>,
    /// Requests to other machines.
    pub http: Vec<HttpGrant>,
}

impl Grants {
    /// The most directories one run may be granted.
    pub const DIRS_MAX: usize = 16;
    /// The most kinds of requests one run may be granted.
    pub const HTTP_MAX: usize = 64;

    /// No capability at all.
    pub fn none() -> Grants {
        Grants::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_less_than_writing_and_none_is_nothing() {
        assert!(Access::Read < Access::Write);
        let words = [Access::Read, Access::Write].map(Access::as_str);
        assert_eq!(words, ["read", "write"]);
        assert!(Grants::none().dirs.is_empty() && Grants::none().http.is_empty());
    }
}
