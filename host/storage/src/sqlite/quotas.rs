//! The quotas of a tenant, as its new tasks are held to them. There is one writer, so what is counted
//! here is what the commit will find.

use rusqlite::Connection;

use super::db::{self, Db};
use crate::{Holdings, StorageError};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::quota::{OverQuota, QuotaName, TaskQuotas};

/// What a tenant has.
pub(super) fn holdings(conn: &Connection, tenant: &Tenant) -> Result<Holdings, StorageError> {
    let whole = |figure: i64| u64::try_from(figure).unwrap_or(0);
    Ok(Holdings {
        waiting: whole(db::waiting_of(conn, tenant.as_str())?),
        kept_bytes: whole(db::kept_of(conn, tenant.as_str())?),
    })
}

/// The quotas of one tenant, and what it has before its tasks are stored.
pub(super) struct Quotas {
    tenant: String,
    quotas: TaskQuotas,
    waiting: u64,
    kept_bytes: u64,
}

impl Quotas {
    /// Those that hold for new tasks of a tenant; none if it has none.
    pub(super) fn before(
        db: &Db,
        tenant: Option<&Tenant>,
        quotas: TaskQuotas,
    ) -> Result<Option<Quotas>, StorageError> {
        let Some(tenant) = tenant.filter(|_| !quotas.is_none()) else {
            return Ok(None);
        };
        let tenant = tenant.as_str().to_owned();
        Ok(Some(Quotas {
            waiting: db.tallies.waiting_of(&db.conn, &tenant)?,
            kept_bytes: db.tallies.kept_of(&db.conn, &tenant)?,
            tenant,
            quotas,
        }))
    }

    /// Refuses if the tenant has more now than it may have.
    pub(super) fn check(&self, db: &Db) -> Result<(), StorageError> {
        if let Some(limit) = self.quotas.pending_max
            && db.tallies.waiting_of(&db.conn, &self.tenant)? > limit
        {
            return Err(OverQuota::of(QuotaName::Pending, limit, self.waiting).into());
        }
        if let Some(limit) = self.quotas.storage_bytes
            && db.tallies.kept_of(&db.conn, &self.tenant)? > limit
        {
            return Err(OverQuota::of(QuotaName::Storage, limit, self.kept_bytes).into());
        }
        Ok(())
    }
}
