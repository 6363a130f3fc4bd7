//! Finding and writing templates.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::classes;
use crate::StorageError;
use crate::rows::{KeptTemplates, Numbers, Settings, Template, TemplateRow};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::module::{Digest, ModuleName};
use cofferdam_domain::task::TaskSpec;

/// The templates, and copies of those used last.
#[derive(Default)]
pub(super) struct Templates(KeptTemplates);

impl Templates {
    /// Forgets every copy.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The template of `spec` for a tenant; it is written if it is absent.
    pub(super) fn of_spec(
        &mut self,
        conn: &Connection,
        tenant: &Tenant,
        spec: &TaskSpec,
    ) -> Result<Arc<Template>, StorageError> {
        if let Some(kept) = self.0.of_spec(tenant, spec) {
            return Ok(kept);
        }
        let settings = Settings::of(spec).to_json()?;
        let key = params![
            spec.digest.as_bytes(),
            spec.module.as_str(),
            settings,
            tenant.as_str()
        ];
        let known = conn
            .prepare_cached(
                "SELECT id, name, class FROM template
                 WHERE digest = ?1 AND module = ?2 AND settings = ?3 AND tenant = ?4",
            )?
            .query_row(key, |row| {
                Ok(Numbers {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    class: row.get(2)?,
                })
            })
            .optional()?;
        let numbers = match known {
            Some(known) => known,
            None => write(conn, tenant, spec, &settings)?,
        };
        Ok(self.0.keep(Template::of_spec(tenant, spec, numbers)))
    }

    /// The template of that id.
    pub(super) fn get(
        &mut self,
        conn: &Connection,
        id: i64,
    ) -> Result<Arc<Template>, StorageError> {
        match self.0.get(id) {
            Some(kept) => Ok(kept),
            None => Ok(self.0.keep(read(conn, id)?)),
        }
    }
}

fn write(
    conn: &Connection,
    tenant: &Tenant,
    spec: &TaskSpec,
    settings: &str,
) -> Result<Numbers, StorageError> {
    check_module(conn, spec.digest)?;
    let name = number_of(conn, tenant, &spec.module)?;
    let class = classes::of_placement(conn, &spec.placement)?;
    let id = conn
        .prepare_cached(
            "INSERT INTO template (digest, module, settings, tasks, name, class, tenant)
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6)",
        )?
        .insert(params![
            spec.digest.as_bytes(),
            spec.module.as_str(),
            settings,
            name,
            class,
            tenant.as_str()
        ])?;
    Ok(Numbers { id, name, class })
}

/// Refuses a version that is not kept. A version with a template stays, so this is checked only
/// before its first template, in the same transaction.
fn check_module(conn: &Connection, digest: Digest) -> Result<(), StorageError> {
    let kept = conn
        .prepare_cached("SELECT 1 FROM module WHERE digest = ?1")?
        .exists([digest.as_bytes()])?;
    match kept {
        true => Ok(()),
        false => Err(StorageError::ModuleGone(digest)),
    }
}

/// The number of a name among the modules of a tenant's tasks; a new name gets a new number.
fn number_of(conn: &Connection, tenant: &Tenant, name: &ModuleName) -> Result<i64, StorageError> {
    let key = [name.as_str(), tenant.as_str()];
    let known: Option<i64> = conn
        .prepare_cached("SELECT id FROM module_name WHERE name = ?1 AND tenant = ?2")?
        .query_row(key, |row| row.get(0))
        .optional()?;
    match known {
        Some(number) => Ok(number),
        None => Ok(conn
            .prepare_cached("INSERT INTO module_name (name, tenant) VALUES (?1, ?2)")?
            .insert(key)?),
    }
}

/// Reads one template.
pub(super) fn read(conn: &Connection, id: i64) -> Result<Template, StorageError> {
    let mut statement = conn.prepare_cached(
        "SELECT module, digest, settings, name, class, tenant FROM template WHERE id = ?1",
    )?;
    statement
        .query_row([id], |row| {
            Ok(TemplateRow {
                id,
                module: row.get(0)?,
                digest: row.get(1)?,
                settings: row.get(2)?,
                name: row.get(3)?,
                class: row.get(4)?,
                tenant: row.get(5)?,
            })
        })?
        .try_into()
}
