//! Templates: the common part of many tasks, kept once in the database and decoded once in memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::{Settings, tenant_of};
use crate::StorageError;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::isolation::Isolation;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Digest, ModuleName};
use cofferdam_domain::placement::Placement;
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::task::TaskSpec;

/// The most templates kept decoded; the least recently used one is dropped.
const KEPT_MAX: usize = 64;

/// One template.
pub(crate) struct Template {
    pub(crate) id: i64,
    /// Whose tasks have it.
    pub(crate) tenant: Tenant,
    /// The number of the module's name.
    pub(crate) name: i64,
    pub(crate) module: ModuleName,
    pub(crate) digest: Digest,
    pub(crate) limits: Limits,
    pub(crate) retry: RetryPolicy,
    pub(crate) grants: Grants,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) cache_ttl: Option<Duration>,
    pub(crate) placement: Placement,
    /// The number of what its placement asks of workers; [`OPEN`] if that is nothing.
    pub(crate) class: i64,
}

/// What the database knows a template, the name of its module and its class by.
pub(crate) struct Numbers {
    pub(crate) id: i64,
    pub(crate) name: i64,
    pub(crate) class: i64,
}

/// The class of tasks that any worker may take.
pub(crate) const OPEN: i64 = 0;

/// The columns of a template.
pub(crate) struct TemplateRow {
    pub(crate) id: i64,
    pub(crate) tenant: String,
    pub(crate) name: i64,
    pub(crate) module: String,
    pub(crate) digest: [u8; 32],
    pub(crate) settings: String,
    pub(crate) class: i64,
}

impl Template {
    /// The template that `spec` has, under the numbers that the database gave it.
    pub(crate) fn of_spec(tenant: &Tenant, spec: &TaskSpec, numbers: Numbers) -> Template {
        Template {
            id: numbers.id,
            name: numbers.name,
            class: numbers.class,
            tenant: tenant.clone(),
            module: spec.module.clone(),
            digest: spec.digest,
            limits: spec.limits,
            retry: spec.retry.clone(),
            grants: spec.grants.clone(),
            isolation: spec.isolation,
            cache_ttl: spec.cache_ttl,
            placement: spec.placement.clone(),
        }
    }

    fn fits(&self, tenant: &Tenant, spec: &TaskSpec) -> bool {
        self.digest == spec.digest
            && self.tenant == *tenant
            && self.limits == spec.limits
            && self.module == spec.module
            && self.retry == spec.retry
            && self.grants == spec.grants
            && self.isolation == spec.isolation
            && self.cache_ttl == spec.cache_ttl
            && self.placement == spec.placement
    }
}

impl TryFrom<TemplateRow> for Template {
    type Error = StorageError;

    fn try_from(row: TemplateRow) -> Result<Template, StorageError> {
        let Settings {
            limits,
            retry,
            grants,
            isolation,
            cache_ttl_ms,
            placement,
        } = Settings::from_json(&row.settings)?;
        Ok(Template {
            id: row.id,
            tenant: tenant_of(&row.tenant)?,
            name: row.name,
            module: ModuleName::parse(&row.module).map_err(StorageError::corrupt)?,
            digest: Digest::from_bytes(row.digest),
            limits: limits.into(),
            retry: retry.into(),
            grants: grants.try_into()?,
            isolation: isolation.try_into()?,
            cache_ttl: cache_ttl_ms.map(Duration::from_millis),
            placement: placement.try_into()?,
            class: row.class,
        })
    }
}

/// The templates used last, newest first.
#[derive(Default)]
pub(crate) struct KeptTemplates(VecDeque<Arc<Template>>);

impl KeptTemplates {
    /// Forgets every copy.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The template of `spec` for a tenant, if it is kept.
    pub(crate) fn of_spec(&mut self, tenant: &Tenant, spec: &TaskSpec) -> Option<Arc<Template>> {
        self.find(|template| template.fits(tenant, spec))
    }

    /// The template of that id, if it is kept.
    pub(crate) fn get(&mut self, id: i64) -> Option<Arc<Template>> {
        self.find(|template| template.id == id)
    }

    /// Keeps a template.
    pub(crate) fn keep(&mut self, template: impl Into<Arc<Template>>) -> Arc<Template> {
        self.0.truncate(KEPT_MAX - 1);
        let template = template.into();
        self.0.push_front(Arc::clone(&template));
        template
    }

    fn find(&mut self, wanted: impl Fn(&Template) -> bool) -> Option<Arc<Template>> {
        let place = self.0.iter().position(|template| wanted(template))?;
        self.0.swap(0, place);
        Some(Arc::clone(&self.0[0]))
    }
}
