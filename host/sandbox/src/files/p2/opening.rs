//! `open-at`, which may create or truncate a file, and always makes a descriptor that must be
//! accounted for.
//!
//! It is in two halves around the opening itself, because on the other road wasmtime-wasi's own
//! `path_open` is between them.

use std::any::Any;
use std::fs::File;
use std::sync::{Arc, Weak};

use tokio::sync::OwnedMutexGuard;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, HostDescriptor as _, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::{FsError, FsResult};

use super::{Fd, FilesCtxView};
use crate::files::Places;
use crate::files::counted::facts;
use crate::files::p2::elsewhere::{check_path, elsewhere};
use crate::files::quota::{FileFacts, Ledger, Zone};

/// The state before a file is opened.
pub(in crate::files) struct Opening {
    zone: Zone,
    /// Held if opening may create or truncate.
    change: Option<OpeningChange>,
}

struct OpeningChange {
    ledger: OwnedMutexGuard<Ledger>,
    existing: Option<FileFacts>,
    truncates: bool,
}

impl FilesCtxView<'_> {
    pub(super) async fn guarded_open(
        &mut self,
        fd: Fd,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Fd> {
        let opening = self.before_open(&fd, path_flags, &path, open_flags).await?;
        let opened: Descriptor = elsewhere!(self, fd; |view| async {
            let opened = view.open_at(fd, path_flags, path, open_flags, flags).await?;
            Ok::<_, FsError>(view.table.delete(opened)?)
        })?;
        let opened = self.table.push(opened)?;
        self.after_open(opening, opened.rep()).await?;
        Ok(opened)
    }

    /// Finds what opening would change and asks for room. In a granted directory only files and
    /// directories are opened: a pipe would hold a thread of the host until somebody writes to it,
    /// long after the guest is gone. The run's own directories cannot contain one.
    pub(in crate::files) async fn before_open(
        &mut self,
        fd: &Fd,
        path_flags: PathFlags,
        path: &str,
        open_flags: OpenFlags,
    ) -> FsResult<Opening> {
        check_path(path)?;
        if self.has_no_such_input(fd, path, open_flags) {
            return Err(ErrorCode::NoEntry.into());
        }
        self.ready_fs().await?;
        let zone = self.files.zone(fd.rep());
        let creates = open_flags.contains(OpenFlags::CREATE);
        let truncates = open_flags.contains(OpenFlags::TRUNCATE);
        let changes = zone != Zone::Input && (creates || truncates);
        let granted = matches!(zone, Zone::Mount(_));
        if !changes && !granted {
            return Ok(Opening { zone, change: None });
        }
        let ledger = match changes {
            true => Some(self.files.quota.lock().await),
            false => None,
        };
        let follow = path_flags.contains(PathFlags::SYMLINK_FOLLOW);
        let existing = self.peek(fd, path, follow).await?;
        if granted && existing.is_some_and(|found| found.special) {
            return Err(ErrorCode::NotPermitted.into());
        }
        let Some(mut ledger) = ledger else {
            return Ok(Opening { zone, change: None });
        };
        if existing.is_none() {
            ledger.admit(0, u64::from(creates))?;
        }
        Ok(Opening {
            zone,
            change: Some(OpeningChange {
                ledger,
                existing,
                truncates,
            }),
        })
    }

    /// Whether a name is looked up in an empty `/in`. Every task of the SDK with an empty body
    /// looks there, and this must not make the run's directories. Code has other read-only
    /// directories.
    fn has_no_such_input(&self, fd: &Fd, path: &str, open_flags: OpenFlags) -> bool {
        self.files.made.is_none()
            && self.files.plan.places == Places::Module
            && self.files.zone(fd.rep()) == Zone::Input
            && !self.files.plan.has_inputs()
            && !open_flags.contains(OpenFlags::CREATE)
            && !path.starts_with(['.', '/'])
    }

    /// Records what opening changed, and the new descriptor.
    pub(in crate::files) async fn after_open(
        &mut self,
        opening: Opening,
        rep: u32,
    ) -> FsResult<()> {
        let Opening { zone, change } = opening;
        self.files.zones.insert(rep, zone);
        let opened: Option<Arc<File>> = match self.table.get(&Fd::new_borrow(rep))? {
            Descriptor::File(file) => Some(Arc::clone(&file.file)),
            Descriptor::Dir(_) => None,
        };
        let Some(file) = opened else {
            return Ok(());
        };
        if zone != Zone::Scratch && change.is_none() {
            return Ok(());
        }
        let (mut ledger, before) = match change {
            Some(OpeningChange {
                mut ledger,
                existing: None,
                ..
            }) => {
                ledger.entered();
                (ledger, None)
            }
            Some(OpeningChange {
                ledger,
                existing: Some(existing),
                truncates,
            }) => (ledger, truncates.then_some(existing.size)),
            None => (self.files.quota.lock().await, None),
        };
        // The metadata of a file that has just been opened is in memory, not on the disk.
        let now = facts(&file).map_err(|error| FsError::from(ErrorCode::from(error)))?;
        if let Some(before) = before {
            ledger.resized(zone, before, &now);
        }
        if zone == Zone::Scratch {
            let handle: Weak<dyn Any + Send + Sync> = Arc::downgrade(&(file as _));
            ledger.opened(now.id, handle);
        }
        Ok(())
    }
}
