//! What a run may ask for: limits under the operator's ceilings, directories that the operator named,
//! and isolation, of which it gets at least what the operator wants.

use std::sync::Arc;

use crate::runner::RunError;
use crate::runner::dirs::Dirs;
use cofferdam_domain::grants::{DirGrant, Grants};
use cofferdam_domain::isolation::{Isolation, IsolationPolicy};
use cofferdam_domain::limits::{LimitPolicy, LimitRequest, Limits};
use cofferdam_domain::module::ModuleKind;
use cofferdam_sandbox::Mount;

/// The operator's limits, directories and isolation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    policy: LimitPolicy,
    isolation: IsolationPolicy,
    dirs: Arc<Dirs>,
}

/// The paths of a guest's own directories and of the operator's packages; nothing is mounted at or
/// below them.
const TAKEN: [&str; 4] = ["/in", "/out", "/work", "/packages"];

impl Admission {
    /// Admits what `policy` and `dirs` allow, with the isolation that `isolation` wants.
    pub fn new(policy: LimitPolicy, isolation: IsolationPolicy, dirs: Dirs) -> Admission {
        Admission {
            policy,
            isolation,
            dirs: Arc::new(dirs),
        }
    }

    /// Checks what a run asks for; returns its limits, with every axis decided.
    pub fn check(&self, limits: &LimitRequest, grants: &Grants) -> Result<Limits, RunError> {
        let limits = self.policy.resolve(limits)?;
        if !grants.dirs.is_empty() {
            self.mounts(grants)?;
        }
        Ok(limits)
    }

    /// The isolation of a run of a module of that kind that asks for `asked`.
    pub(crate) fn isolation(&self, asked: Option<Isolation>, kind: ModuleKind) -> Isolation {
        self.isolation.resolve(asked, kind)
    }

    /// The most a run may ask for.
    pub fn ceilings(&self) -> &Limits {
        &self.policy.ceilings
    }

    /// The directories behind `grants`.
    pub(crate) fn mounts(&self, grants: &Grants) -> Result<Vec<Mount>, RunError> {
        if grants.dirs.len() > Grants::DIRS_MAX {
            let (asked, most) = (grants.dirs.len(), Grants::DIRS_MAX);
            return refuse(format!(
                "{asked} directories are asked for; at most {most} are allowed"
            ));
        }
        let mut mounts: Vec<Mount> = Vec::with_capacity(grants.dirs.len());
        for grant in &grants.dirs {
            let mount = self.mount(grant)?;
            if mounts.iter().any(|other| other.at == mount.at) {
                return refuse(format!("two directories are asked for at {:?}", mount.at));
            }
            mounts.push(mount);
        }
        Ok(mounts)
    }

    fn mount(&self, grant: &DirGrant) -> Result<Mount, RunError> {
        let DirGrant { name, at, access } = grant;
        let Some(dir) = self.dirs.get(name) else {
            return refuse(format!("no directory {name:?} is configured on this host"));
        };
        let access = access.unwrap_or(dir.access);
        if access > dir.access {
            let (asked, allowed) = (access.as_str(), dir.access.as_str());
            return refuse(format!(
                "{name:?} is asked for with {asked} access, but has {allowed}"
            ));
        }
        check_place(at)?;
        Ok(Mount {
            path: dir.path.clone(),
            at: at.clone(),
            access,
        })
    }
}

fn check_place(at: &str) -> Result<(), RunError> {
    let Some(below_root) = at.strip_prefix('/') else {
        return refuse(format!("{at:?} is not an absolute path"));
    };
    let normal =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !below_root.split('/').all(normal) {
        return refuse(format!(
            "{at:?} has an empty, '.' or '..' part, or ends in '/'"
        ));
    }
    let is_under = |taken: &str| {
        at.strip_prefix(taken)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match TAKEN.iter().find(|taken| is_under(taken)) {
        Some(taken) => refuse(format!("{at:?} is taken: {taken} is the guest's own")),
        None => Ok(()),
    }
}

fn refuse<T>(why: String) -> Result<T, RunError> {
    Err(RunError::Grant(why))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::runner::dirs::Dir;
    use cofferdam_domain::grants::Access;

    fn admission() -> Admission {
        let dir = |access| Dir {
            path: PathBuf::from("/srv/data"),
            access,
        };
        let dirs = [("data", dir(Access::Read)), ("cache", dir(Access::Write))];
        let dirs = dirs
            .into_iter()
            .map(|(name, dir)| (name.to_owned(), dir))
            .collect();
        Admission::new(LimitPolicy::default(), IsolationPolicy::default(), dirs)
    }

    fn ask(grants: &[(&str, &str, Option<Access>)]) -> Result<Vec<Mount>, RunError> {
        let dirs = grants
            .iter()
            .map(|(name, at, access)| DirGrant {
                name: (*name).to_owned(),
                at: (*at).to_owned(),
                access: *access,
            })
            .collect();
        admission().mounts(&Grants { dirs })
    }

    #[test]
    fn a_directory_is_given_with_the_access_asked_for_or_its_own() {
        let mounts = ask(&[("cache", "/c", Some(Access::Read)), ("cache", "/d/e", None)]).unwrap();
        assert_eq!(mounts[0].access, Access::Read);
        assert_eq!(mounts[1].access, Access::Write);
    }

    #[test]
    fn a_directory_the_operator_did_not_allow_is_refused_by_name() {
        let refused = |name, at, access| ask(&[(name, at, access)]).unwrap_err().to_string();
        assert!(refused("nope", "/d", None).contains("\"nope\""));
        assert!(refused("data", "/d", Some(Access::Write)).contains("write access, but has read"));
        for at in [
            "", "d", "/", "//", "/d/", "/d//e", "/d/../e", "/./d", "/work", "/in/x", "/out",
        ] {
            assert!(ask(&[("data", at, None)]).is_err(), "{at}");
        }
        assert!(ask(&[("data", "/works", None)]).is_ok());
        assert!(ask(&[("data", "/d", None), ("cache", "/d", None)]).is_err());
        assert!(ask(&[("data", "/d", None); 17]).is_err());
    }
}
