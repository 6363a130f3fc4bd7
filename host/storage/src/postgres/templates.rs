//! Finding and writing templates.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::classes;
use super::fault::{Fault, get, get_hash};
use super::params::{Raw, params};
use super::tx::Tx;
use crate::StorageError;
use crate::rows::{Numbers, Settings, Template, TemplateRow};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::ModuleName;
use cofferdam_domain::task::TaskSpec;

const BY_ID: &str =
    "SELECT module, digest, settings, name, class, tenant FROM cofferdam.template WHERE id = $1";
const FIND: &str =
    "SELECT id, name, class FROM cofferdam.template WHERE fingerprint = $1 AND tenant = $2";
// Writing over what is there gives the row back whoever wrote it.
const WRITE: &str = "
    INSERT INTO cofferdam.template AS p (digest, module, settings, name, fingerprint, class,
        tenant)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (fingerprint, tenant) DO UPDATE SET settings = p.settings RETURNING id";
const NAME: &str = "
    INSERT INTO cofferdam.module_name AS n (name, tenant) VALUES ($1, $2)
    ON CONFLICT (name, tenant) DO UPDATE SET name = n.name RETURNING id";

/// The template of `spec` for a tenant, which is written if it is absent. The transaction keeps others
/// from removing what it refers to.
pub(super) async fn of_spec(
    tx: &mut Tx,
    tenant: &Tenant,
    spec: &TaskSpec,
) -> Result<Template, Fault> {
    let settings = Settings::of(spec).to_json()?;
    let fingerprint = fingerprint(spec, &settings);
    let owner = || tenant.as_str().to_owned();
    let wanted = params![fingerprint.clone(), owner()];
    if let Some(row) = tx.query_opt(FIND, wanted).await? {
        let numbers = Numbers {
            id: get(&row, 0)?,
            name: get(&row, 1)?,
            class: get(&row, 2)?,
        };
        return Ok(Template::of_spec(tenant, spec, numbers));
    }
    check_module(tx, spec).await?;
    let module = || spec.module.as_str().to_owned();
    let name = one(tx.query_opt(NAME, params![module(), owner()]).await?)?;
    let class = classes::of_placement(tx, &spec.placement).await?;
    let digest = Raw::copy(spec.digest.as_bytes());
    let written = params![
        digest,
        module(),
        settings,
        name,
        fingerprint,
        class,
        owner()
    ];
    let id = one(tx.query_opt(WRITE, written).await?)?;
    Ok(Template::of_spec(tenant, spec, Numbers { id, name, class }))
}

/// The template of that id.
pub(super) async fn by_id(tx: &mut Tx, id: i64) -> Result<Arc<Template>, Fault> {
    if let Some(kept) = tx.call().db.templates().get(id) {
        return Ok(kept);
    }
    let row = tx
        .query_opt(BY_ID, params![id])
        .await?
        .ok_or_else(|| StorageError::corrupt("a task has no template"))?;
    let template: Template = TemplateRow {
        id,
        module: get(&row, 0)?,
        digest: get_hash(&row, 1)?,
        settings: get(&row, 2)?,
        name: get(&row, 3)?,
        class: get(&row, 4)?,
        tenant: get(&row, 5)?,
    }
    .try_into()?;
    Ok(tx.call().db.templates().keep(template))
}

/// The number of a module's name; `None` if no task of the tenant is of such a module.
pub(super) async fn name_number(
    tx: &mut Tx,
    tenant: &Tenant,
    name: &ModuleName,
) -> Result<Option<i64>, Fault> {
    let sql = "SELECT id FROM cofferdam.module_name WHERE name = $1 AND tenant = $2";
    let wanted = params![name.as_str().to_owned(), tenant.as_str().to_owned()];
    let found = tx.query_opt(sql, wanted).await?;
    Ok(found.map(|row| get(&row, 0)).transpose()?)
}

/// Refuses a version that is not kept. As long as there is a template of it, it stays: so this is
/// asked only before the first.
async fn check_module(tx: &mut Tx, spec: &TaskSpec) -> Result<(), Fault> {
    let sql = "SELECT 1 FROM cofferdam.module WHERE digest = $1";
    match tx
        .query_opt(sql, params![Raw::copy(spec.digest.as_bytes())])
        .await?
    {
        Some(_) => Ok(()),
        None => Err(StorageError::ModuleGone(spec.digest).into()),
    }
}

fn one(row: Option<tokio_postgres::Row>) -> Result<i64, StorageError> {
    let row = row.ok_or_else(|| StorageError::corrupt("what was written is not there"))?;
    get(&row, 0)
}

fn fingerprint(spec: &TaskSpec, settings: &str) -> Raw {
    let mut hash = Sha256::new();
    for part in [
        spec.digest.as_bytes(),
        spec.module.as_str().as_bytes(),
        settings.as_bytes(),
    ] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    Raw::copy(&hash.finalize())
}
