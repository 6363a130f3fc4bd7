//! The grants in a caller's request.

use crate::intake::json::Unsupported;
use crate::intake::refused::Refused;
use cofferdam_domain::grants::{Access, DirGrant, Grants};

/// The task's grants.
#[derive(Debug, Default, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantsJson {
    /// Directories that the operator named.
    #[serde(default)]
    dirs: Vec<DirJson>,
    /// Not supported by this version: null.
    #[schema(value_type = Option<Vec<String>>)]
    http: Option<Unsupported>,
}

/// One directory.
#[derive(Debug, serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DirJson {
    /// The operator's name for it.
    name: String,
    /// Where the guest sees it: an absolute path.
    at: String,
    /// `read` or `write`; the operator's own access if absent.
    access: Option<String>,
}

impl GrantsJson {
    /// The grants, not yet checked against the configuration.
    pub(crate) fn into_grants(self) -> Result<Grants, Refused> {
        // Its type has no values, so that a later version cannot forget to handle it here.
        debug_assert!(self.http.is_none());
        if self.dirs.len() > Grants::DIRS_MAX {
            let detail = format!("at most {} directories", Grants::DIRS_MAX);
            return Err(Refused::field("grants.dirs", detail));
        }
        let grant = |dir: DirJson| {
            let access = match dir.access.as_deref() {
                None => None,
                Some("read") => Some(Access::Read),
                Some("write") => Some(Access::Write),
                Some(other) => {
                    let detail = format!("{other:?} is not read or write");
                    return Err(Refused::field("grants.dirs.access", detail));
                }
            };
            Ok(DirGrant {
                name: dir.name,
                at: dir.at,
                access,
            })
        };
        Ok(Grants {
            dirs: self.dirs.into_iter().map(grant).collect::<Result<_, _>>()?,
        })
    }
}
