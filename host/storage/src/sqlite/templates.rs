//! Templates: the common part of many tasks, kept once in the database and decoded once in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::Settings;
use crate::StorageError;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::Limits;
use cofferdam_domain::module::{Digest, ModuleName};
use cofferdam_domain::retry::RetryPolicy;
use cofferdam_domain::task::TaskSpec;

/// The most templates kept decoded; the least recently used one is dropped.
const KEPT_MAX: usize = 64;

/// One template.
pub(super) struct Template {
    pub(super) id: i64,
    /// The number of the module's name.
    pub(super) name: i64,
    pub(super) module: ModuleName,
    pub(super) digest: Digest,
    pub(super) limits: Limits,
    pub(super) retry: RetryPolicy,
    pub(super) grants: Grants,
}

impl Template {
    fn fits(&self, spec: &TaskSpec) -> bool {
        self.digest == spec.digest
            && self.limits == spec.limits
            && self.module == spec.module
            && self.retry == spec.retry
            && self.grants == spec.grants
    }
}

/// The templates used last, newest first.
#[derive(Default)]
pub(super) struct Templates {
    kept: VecDeque<Arc<Template>>,
}

impl Templates {
    /// Forgets every copy.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    /// The template of `spec`; it is written if it is absent.
    pub(super) fn of_spec(
        &mut self,
        conn: &Connection,
        spec: &TaskSpec,
    ) -> Result<Arc<Template>, StorageError> {
        if let Some(place) = self.kept.iter().position(|template| template.fits(spec)) {
            return Ok(Arc::clone(self.brought_forward(place)));
        }
        let settings = Settings::of(spec).to_json()?;
        let key = params![spec.digest.as_bytes(), spec.module.as_str(), settings];
        let known: Option<(i64, i64)> = conn
            .prepare_cached(
                "SELECT id, name FROM template WHERE digest = ?1 AND module = ?2 AND settings = ?3",
            )?
            .query_row(key, |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (id, name) = match known {
            Some(known) => known,
            None => {
                check_module(conn, spec.digest)?;
                let name = number_of(conn, &spec.module)?;
                let id = conn
                    .prepare_cached(
                        "INSERT INTO template (digest, module, settings, tasks, name)
                         VALUES (?1, ?2, ?3, 0, ?4)",
                    )?
                    .insert(params![
                        spec.digest.as_bytes(),
                        spec.module.as_str(),
                        settings,
                        name
                    ])?;
                (id, name)
            }
        };
        Ok(self.keep(Template {
            id,
            name,
            module: spec.module.clone(),
            digest: spec.digest,
            limits: spec.limits,
            retry: spec.retry.clone(),
            grants: spec.grants.clone(),
        }))
    }

    /// The template of that id.
    pub(super) fn get(
        &mut self,
        conn: &Connection,
        id: i64,
    ) -> Result<Arc<Template>, StorageError> {
        match self.kept.iter().position(|template| template.id == id) {
            Some(place) => Ok(Arc::clone(self.brought_forward(place))),
            None => Ok(self.keep(read(conn, id)?)),
        }
    }

    fn brought_forward(&mut self, place: usize) -> &Arc<Template> {
        self.kept.swap(0, place);
        &self.kept[0]
    }

    fn keep(&mut self, template: Template) -> Arc<Template> {
        self.kept.truncate(KEPT_MAX - 1);
        let template = Arc::new(template);
        self.kept.push_front(Arc::clone(&template));
        template
    }
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

/// The number of a module's name; a new name gets a new number.
fn number_of(conn: &Connection, name: &ModuleName) -> Result<i64, StorageError> {
    let known: Option<i64> = conn
        .prepare_cached("SELECT id FROM module_name WHERE name = ?1")?
        .query_row([name.as_str()], |row| row.get(0))
        .optional()?;
    match known {
        Some(number) => Ok(number),
        None => Ok(conn
            .prepare_cached("INSERT INTO module_name (name) VALUES (?1)")?
            .insert([name.as_str()])?),
    }
}

/// Reads one template.
pub(super) fn read(conn: &Connection, id: i64) -> Result<Template, StorageError> {
    let mut statement =
        conn.prepare_cached("SELECT module, digest, settings, name FROM template WHERE id = ?1")?;
    let (module, digest, settings, name): (String, [u8; 32], String, i64) = statement
        .query_row([id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
    let Settings {
        limits,
        retry,
        grants,
    } = Settings::from_json(&settings)?;
    Ok(Template {
        id,
        name,
        module: ModuleName::parse(&module).map_err(StorageError::corrupt)?,
        digest: Digest::from_bytes(digest),
        limits: limits.into(),
        retry: retry.into(),
        grants: grants.try_into()?,
    })
}
