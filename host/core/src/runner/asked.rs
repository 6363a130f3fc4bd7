//! What a run asks of the result cache: its key, if nothing but that decides what comes out of it.

use cofferdam_domain::attempt::Payload;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::grants::Access;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::ModuleInfo;
use cofferdam_domain::task::Input;
use cofferdam_sandbox::Mount;

use crate::results::{Ask, Door, KeyParts};
use crate::runner::{RunRequest, Runner};

impl Runner {
    /// What a run of a module at once asks.
    pub(super) async fn ask_for(
        &self,
        tenant: &Tenant,
        info: &ModuleInfo,
        request: &RunRequest,
        (limits, dirs): (&Limits, &[Mount]),
    ) -> Option<Ask> {
        let ttl = request.cache_ttl.filter(|_| !self.results.is_off())?;
        let is_closed = request.stdin.is_none() && request.grants.http.is_empty();
        if !is_closed || !are_read(dirs) {
            return None;
        }
        let Payload { content_type, body } = &request.input;
        let parts = KeyParts {
            tenant: tenant.clone(),
            door: Door::Module,
            digest: info.digest,
            program: request.module.name.as_str().to_owned(),
            content_type: content_type.to_string(),
            input: body.clone(),
            stdin: None,
            args: request.args.clone(),
            env: request.env.clone(),
            files: Vec::new(),
            limits: *limits,
            dirs: dirs.to_vec(),
            isolation: request.isolation,
        };
        Ask::of(parts, ttl).await
    }

    /// What an attempt at a task of a module asks. An input that is kept beside the database is not looked up.
    pub(super) async fn ask_of_claim(&self, claim: &Claim, dirs: &[Mount]) -> Option<Ask> {
        let spec = &claim.spec;
        let ttl = spec.cache_ttl.filter(|_| !self.results.is_off())?;
        let Input::Inline(Payload { content_type, body }) = &spec.input else {
            return None;
        };
        if !spec.grants.http.is_empty() || !are_read(dirs) {
            return None;
        }
        let parts = KeyParts {
            tenant: claim.tenant.clone(),
            door: Door::Module,
            digest: spec.digest,
            program: spec.module.as_str().to_owned(),
            content_type: content_type.to_string(),
            input: body.clone(),
            stdin: None,
            args: spec.args.clone(),
            env: spec.env.clone(),
            files: Vec::new(),
            limits: spec.limits,
            dirs: dirs.to_vec(),
            isolation: spec.isolation,
        };
        Ask::of(parts, ttl).await
    }
}

/// Whether nothing is written to any of them.
pub(super) fn are_read(dirs: &[Mount]) -> bool {
    dirs.iter().all(|dir| dir.access == Access::Read)
}
