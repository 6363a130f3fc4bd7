//! What a run may ask for: limits under the operator's ceilings, directories and hosts that the operator
//! named, and isolation, of which it gets at least what the operator wants.

use std::sync::Arc;

use crate::callbacks;
use crate::runner::RunError;
use crate::runner::cpu::CpuBook;
use crate::runner::dirs::Dirs;
pub use crate::runner::tenants::Tenants;
use crate::secrets::{Secrets, SecretsError};
use cofferdam_domain::callback::Callback;
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::caller::{Caller, Tenant};
use cofferdam_domain::clock::Clock;
use cofferdam_domain::grants::http::{HostPattern, HttpGrant};
use cofferdam_domain::grants::{DirGrant, Grants};
use cofferdam_domain::isolation::{Habit, Isolation, IsolationPolicy};
use cofferdam_domain::limits::{LimitPolicy, LimitRequest, Limits};
use cofferdam_domain::module::ModuleKind;
use cofferdam_sandbox::Mount;
use cofferdam_sandbox::egress::{Added, Outward};

/// The operator's limits, directories and isolation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission {
    tenants: Tenants,
    cpu: CpuBook,
    policy: LimitPolicy,
    isolation: IsolationPolicy,
    dirs: Arc<Dirs>,
    hosts: Arc<[HostPattern]>,
    secrets: Option<Secrets>,
    callbacks: callbacks::Rules,
}

/// The paths of a guest's own directories and of the operator's packages; nothing is mounted at or
/// below them.
const TAKEN: [&str; 4] = ["/in", "/out", "/work", "/packages"];

impl Admission {
    /// Admits what `policy` and `dirs` allow, with the isolation that `isolation` wants.
    pub fn new(policy: LimitPolicy, isolation: IsolationPolicy, dirs: Dirs) -> Admission {
        Admission {
            tenants: Tenants::default(),
            cpu: CpuBook::new(Clock::system(), Tenants::default()),
            policy,
            isolation,
            dirs: Arc::new(dirs),
            hosts: Arc::default(),
            secrets: None,
            callbacks: callbacks::Rules::default(),
        }
    }

    /// The same, with requests to these hosts, which are those of `[egress] allow`.
    pub fn with_hosts(self, hosts: &[HostPattern]) -> Admission {
        let hosts = hosts.into();
        Admission { hosts, ..self }
    }

    /// The same, where the operator says this of tenants, whose days are those of `clock`.
    pub fn with_tenants(self, tenants: Tenants, clock: Clock) -> Admission {
        let cpu = CpuBook::new(clock, tenants.clone());
        Admission {
            tenants,
            cpu,
            ..self
        }
    }

    /// What tenants have used of their CPU time.
    pub fn cpu(&self) -> &CpuBook {
        &self.cpu
    }

    /// What the operator says of a tenant.
    pub(crate) fn rules_of(&self, tenant: &Tenant) -> Option<Arc<TenantRules>> {
        self.tenants.rules_of(tenant)
    }

    /// The same, with the secrets that its requests may have.
    pub fn with_secrets(self, secrets: Secrets) -> Admission {
        let secrets = Some(secrets);
        Admission { secrets, ..self }
    }

    /// The same, with callbacks by these rules.
    pub fn with_callbacks(self, callbacks: callbacks::Rules) -> Admission {
        Admission { callbacks, ..self }
    }

    /// Checks whether a caller's task may have a callback.
    pub(crate) fn check_callback(
        &self,
        caller: &Caller,
        callback: &Callback,
    ) -> Result<(), RunError> {
        match self.callbacks.refusal(caller, &callback.url) {
            None => Ok(()),
            Some(why) => Err(RunError::Callback(format!("callback.url: {why}"))),
        }
    }

    /// Checks what a caller's run asks for; returns its limits, with every axis decided. What the operator
    /// says of the caller's tenant holds too.
    pub fn check(
        &self,
        caller: &Caller,
        limits: &LimitRequest,
        grants: &Grants,
    ) -> Result<Limits, RunError> {
        let limits = match caller.rules() {
            None => self.policy.resolve(limits)?,
            Some(rules) => self.policy.below(&rules.ceilings).resolve(limits)?,
        };
        if !grants.dirs.is_empty() {
            self.mounts(caller.rules(), grants)?;
        }
        if !grants.http.is_empty() {
            self.outward(caller.rules(), grants)?;
        }
        Ok(limits)
    }

    /// The isolation of a run of a module of that kind and habit, under these limits, that asks for
    /// `asked`.
    pub(crate) fn isolation(
        &self,
        asked: Option<Isolation>,
        kind: ModuleKind,
        habit: Habit,
        limits: &Limits,
    ) -> Isolation {
        self.isolation.resolve(asked, kind, habit, limits)
    }

    /// The most a run may ask for.
    pub fn ceilings(&self) -> &Limits {
        &self.policy.ceilings
    }

    /// The directories behind `grants`, for a tenant of which this is said.
    pub(crate) fn mounts(
        &self,
        rules: Option<&TenantRules>,
        grants: &Grants,
    ) -> Result<Vec<Mount>, RunError> {
        if grants.dirs.len() > Grants::DIRS_MAX {
            let (asked, most) = (grants.dirs.len(), Grants::DIRS_MAX);
            return refuse(format!(
                "grants.dirs: {asked} directories are asked for; at most {most} are allowed"
            ));
        }
        let mut mounts: Vec<Mount> = Vec::with_capacity(grants.dirs.len());
        for grant in &grants.dirs {
            if rules.is_some_and(|rules| !rules.allow_dir(&grant.name)) {
                // In the words for one that is not there.
                return no_such_dir(&grant.name);
            }
            let mount = self.mount(grant)?;
            if mounts.iter().any(|other| other.at == mount.at) {
                return refuse(format!(
                    "grants.dirs: two directories are asked for at {:?}",
                    mount.at
                ));
            }
            mounts.push(mount);
        }
        Ok(mounts)
    }

    /// Refuses grants that name a secret which the tenant does not have.
    pub(crate) async fn check_secrets(
        &self,
        tenant: &Tenant,
        grants: &Grants,
    ) -> Result<(), RunError> {
        self.secrets_of(tenant, grants).await.map(drop)
    }

    /// Where the requests of `grants` may go, and the secrets in them.
    pub(crate) async fn way_out(
        &self,
        rules: Option<&TenantRules>,
        tenant: &Tenant,
        grants: &Grants,
    ) -> Result<Outward, RunError> {
        let mut outward = self.outward(rules, grants)?;
        outward.secrets = self.secrets_of(tenant, grants).await?;
        outward.tenant = Some(tenant.clone());
        Ok(outward)
    }

    async fn secrets_of(&self, tenant: &Tenant, grants: &Grants) -> Result<Vec<Added>, RunError> {
        let mut all = Vec::new();
        for grant in &grants.http {
            for header in grant.headers() {
                let unknown = || SecretsError::Unknown(header.secret().clone());
                let secrets = self.secrets.as_ref().ok_or_else(unknown)?;
                let value = secrets.value(tenant, header.secret()).await?;
                all.push(Added::new(grant, header, value));
            }
        }
        Ok(all)
    }

    /// Where the requests of `grants` may go, for a tenant of which this is said.
    fn outward(&self, rules: Option<&TenantRules>, grants: &Grants) -> Result<Outward, RunError> {
        if grants.http.len() > Grants::HTTP_MAX {
            let (asked, most) = (grants.http.len(), Grants::HTTP_MAX);
            return refuse(format!(
                "grants.http: {asked} are asked for; at most {most} are allowed"
            ));
        }
        let is_allowed = |grant: &&HttpGrant| grant.hosts().is_within(&self.hosts);
        if let Some(grant) = grants.http.iter().find(|grant| !is_allowed(grant)) {
            let hosts = grant.hosts();
            return refuse(format!(
                "grants.http: this host lets nobody reach {hosts}; its operator would have to list it in \
                 [egress] allow"
            ));
        }
        let is_foreign =
            |grant: &&HttpGrant| rules.is_some_and(|rules| !rules.allow_hosts(grant.hosts()));
        if let Some(grant) = grants.http.iter().find(is_foreign) {
            let hosts = grant.hosts();
            return refuse(format!(
                "grants.http: this tenant may not reach {hosts}; an administrator would have to list it in \
                 the tenant's egress"
            ));
        }
        // Held to once more where a connection is made.
        let within = rules.and_then(|rules| rules.egress.clone());
        Ok(Outward {
            within: within.filter(|_| !grants.http.is_empty()),
            grants: grants.http.clone(),
            secrets: Vec::new(),
            tenant: None,
        })
    }

    fn mount(&self, grant: &DirGrant) -> Result<Mount, RunError> {
        let DirGrant { name, at, access } = grant;
        let Some(dir) = self.dirs.get(name) else {
            return no_such_dir(name);
        };
        let access = access.unwrap_or(dir.access);
        if access > dir.access {
            let (asked, allowed) = (access.as_str(), dir.access.as_str());
            return refuse(format!(
                "grants.dirs: {name:?} is asked for with {asked} access, but has {allowed}"
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

fn no_such_dir<T>(name: &str) -> Result<T, RunError> {
    refuse(format!(
        "grants.dirs: no directory {name:?} is configured on this host"
    ))
}

fn check_place(at: &str) -> Result<(), RunError> {
    let Some(below_root) = at.strip_prefix('/') else {
        return refuse(format!("grants.dirs: {at:?} is not an absolute path"));
    };
    let normal =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    if !below_root.split('/').all(normal) {
        return refuse(format!(
            "grants.dirs: {at:?} has an empty, '.' or '..' part, or ends in '/'"
        ));
    }
    let is_under = |taken: &str| {
        at.strip_prefix(taken)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match TAKEN.iter().find(|taken| is_under(taken)) {
        Some(taken) => refuse(format!(
            "grants.dirs: {at:?} is taken: {taken} is the guest's own"
        )),
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
        let grants = Grants {
            dirs,
            ..Grants::none()
        };
        admission().mounts(None, &grants)
    }

    #[test]
    fn a_host_the_operator_did_not_allow_is_refused_by_name() {
        let allow = ["*.example", "x.test:8080"].map(|text| text.parse().unwrap());
        let admission = admission().with_hosts(&allow);
        let ask = |hosts: &[&str]| {
            let grants = hosts.iter().map(|host| HttpGrant::new(host, &[]).unwrap());
            let grants = Grants {
                http: grants.collect(),
                ..Grants::none()
            };
            admission
                .outward(None, &grants)
                .map(|outward| outward.grants.len())
        };
        assert_eq!(
            ask(&["api.example", "*.a.example:443", "x.test:8080"]).unwrap(),
            3
        );
        for refused in ["example", "x.test", "*", "api.example:8080"] {
            let error = ask(&["api.example", refused]).unwrap_err().to_string();
            assert!(error.contains(&format!("reach {refused};")), "{error}");
        }
        assert!(ask(&["api.example"; 65]).is_err());
        let none = admission.with_hosts(&[]);
        let grants = Grants {
            http: vec![HttpGrant::new("api.example", &[]).unwrap()],
            ..Grants::none()
        };
        let asked = LimitRequest::default();
        assert!(none.check(&Caller::local(), &asked, &grants).is_err());
    }

    #[test]
    fn a_directory_is_given_with_the_access_asked_for_or_its_own() {
        let mounts = ask(&[("cache", "/c", Some(Access::Read)), ("cache", "/d/e", None)]).unwrap();
        assert_eq!(mounts[0].access, Access::Read);
        assert_eq!(mounts[1].access, Access::Write);
    }

    #[test]
    fn a_tenant_gets_no_more_than_the_operator_says_of_it() {
        let rules = TenantRules {
            ceilings: LimitRequest {
                memory_bytes: Some(1 << 20),
                ..LimitRequest::default()
            },
            dirs: Some(vec!["data".to_owned()]),
            ..TenantRules::default()
        };
        let team = Caller::local().under(Arc::new(rules));
        let check = |caller: &Caller, memory_bytes, dir: &str| {
            let limits = LimitRequest {
                memory_bytes,
                ..LimitRequest::default()
            };
            let grant = DirGrant {
                name: dir.to_owned(),
                at: "/d".to_owned(),
                access: None,
            };
            let grants = Grants {
                dirs: vec![grant],
                ..Grants::none()
            };
            admission().check(caller, &limits, &grants)
        };
        let limits = check(&team, None, "data").unwrap();
        assert_eq!(limits.memory_bytes, 1 << 20);
        let above = check(&team, Some((1 << 20) + 1), "data");
        assert!(matches!(above, Err(RunError::Limit(_))));
        let foreign = check(&team, None, "cache").unwrap_err().to_string();
        let unknown = check(&team, None, "caché").unwrap_err().to_string();
        assert_eq!(foreign.replace("cache", "caché"), unknown);
        assert!(check(&Caller::local(), Some((1 << 20) + 1), "cache").is_ok());
    }

    #[test]
    fn a_tenant_reaches_the_hosts_of_its_list_and_no_others() {
        let allow = ["*.example"].map(|text| text.parse().unwrap());
        let admission = admission().with_hosts(&allow);
        let rules = |egress: Option<&[&str]>| TenantRules {
            egress: egress.map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect()),
            ..TenantRules::default()
        };
        let ask = |rules: Option<&TenantRules>, host: &str| {
            let grants = Grants {
                http: vec![HttpGrant::new(host, &[]).unwrap()],
                ..Grants::none()
            };
            admission.outward(rules, &grants)
        };
        let listed = rules(Some(&["api.example", "*.b.example"]));
        let outward = ask(Some(&listed), "x.b.example").unwrap();
        assert_eq!(outward.within, listed.egress);
        for refused in ["a.example", "*.example", "b.example"] {
            let error = ask(Some(&listed), refused).unwrap_err().to_string();
            assert!(
                error.contains(&format!("tenant may not reach {refused};")),
                "{error}"
            );
        }
        // What the operator does not allow, no tenant's list allows.
        assert!(ask(Some(&rules(Some(&["*"]))), "x.test").is_err());
        assert!(ask(Some(&rules(Some(&[]))), "api.example").is_err());
        assert_eq!(ask(Some(&rules(None)), "api.example").unwrap().within, None);
        let none = admission.outward(Some(&listed), &Grants::none()).unwrap();
        assert_eq!(none, Outward::default());
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
