//! WASI 0.2: `wasi:filesystem`, with the calls that grow or create something counted.
//!
//! This implements wasmtime's generated trait of the interface for a type of this module. Most
//! methods delegate to wasmtime-wasi's implementation of the same trait; `guarded` has the others.
//! Permissions, path resolution and confinement are wasmtime-wasi's.

pub(super) mod elsewhere;
mod guarded;
mod opening;

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::types::{HostDescriptor, HostDirectoryEntryStream};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};

use crate::files::Files;
use crate::files::charge::charged;
use crate::files::counted::Target;
use crate::files::listing::{DirListing, LISTED_BYTES_MAX, ListedEntry};
use crate::files::p2::elsewhere::{check_path, elsewhere};
use crate::files::stream::ChargedInput;

pub(super) type Fd = Resource<Descriptor>;

/// A directory that is not made before it is used.
const UNMADE: types::DescriptorStat = types::DescriptorStat {
    type_: types::DescriptorType::Directory,
    link_count: 2,
    size: 0,
    data_access_timestamp: None,
    data_modification_timestamp: None,
    status_change_timestamp: None,
};

/// A run's files with the table its descriptors are in.
pub(crate) struct FilesCtxView<'a> {
    /// The store's resource table.
    pub(crate) table: &'a mut ResourceTable,
    /// The run's files.
    pub(crate) files: &'a mut Files,
}

/// Access to the files in a store's data.
pub(crate) trait FilesView: Send {
    /// The files and the table.
    fn files(&mut self) -> FilesCtxView<'_>;
}

/// Puts `wasi:filesystem` into a linker. If wasmtime-wasi's is already in it, allow shadowing
/// around this call.
pub(crate) fn add_to_linker_p2<T: FilesView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    preopens::add_to_linker::<T, HasFiles>(linker, T::files)?;
    types::add_to_linker::<T, HasFiles>(linker, T::files)
}

struct HasFiles;

impl HasData for HasFiles {
    type Data<'a> = FilesCtxView<'a>;
}

impl FilesCtxView<'_> {
    /// wasmtime-wasi's implementation over the same table.
    pub(super) fn delegate(&mut self) -> WasiFilesystemCtxView<'_> {
        WasiFilesystemCtxView {
            ctx: &mut self.files.delegate,
            table: self.table,
        }
    }

    /// Makes the directories if they do not exist; every method that can reach one begins with
    /// this.
    pub(super) async fn ready(&mut self) -> wasmtime::Result<()> {
        self.files.ready(self.table).await
    }

    /// Whether a path is a directory of the run that is still unused. Changing into one, as every
    /// interpreter does, does not make it.
    fn is_unmade(&self, fd: &Fd, path: &str) -> bool {
        path == "." && self.files.made.is_none() && self.files.zones.contains_key(&fd.rep())
    }

    async fn ready_fs(&mut self) -> FsResult<()> {
        self.ready().await.map_err(FsError::trap)
    }

    /// The same once no write is in progress, for calls that read a file: a libc may have begun a
    /// write and not waited for it.
    async fn settled(&mut self) -> FsResult<()> {
        self.ready_fs().await?;
        drop(self.files.quota.lock().await);
        Ok(())
    }

    /// Reads a directory if its listing still fits.
    pub(super) async fn list(&mut self, fd: &Fd) -> FsResult<DirListing> {
        self.ready_fs().await?;
        let dir = match self.table.get(fd)? {
            Descriptor::Dir(dir) => Arc::clone(&dir.dir),
            Descriptor::File(_) => return Err(types::ErrorCode::NotDirectory.into()),
        };
        let left = LISTED_BYTES_MAX.saturating_sub(self.files.listed_bytes);
        let listing = charged(&self.files.meter, move || DirListing::read(&dir, left)).await?;
        self.files.listed_bytes += listing.bytes;
        Ok(listing)
    }
}

/// A listing that a guest reads entry by entry.
struct Reading {
    entries: std::vec::IntoIter<ListedEntry>,
    bytes: u64,
}

impl preopens::Host for FilesCtxView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let count = self.files.preopen_count();
        let mut found = Vec::with_capacity(count);
        for number in 0..count {
            found.extend(self.files.push_preopen(self.table, number)?);
        }
        Ok(found)
    }
}

impl types::Host for FilesCtxView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<types::ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.delegate(), error)
    }
}

impl HostDirectoryEntryStream for FilesCtxView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<types::DirectoryEntryStream>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        let reading = Resource::<Reading>::new_borrow(stream.rep());
        let Some(entry) = self.table.get_mut(&reading)?.entries.next() else {
            return Ok(None);
        };
        Ok(Some(types::DirectoryEntry {
            type_: entry.kind,
            name: entry.name?,
        }))
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        let reading = Resource::<Reading>::new_own(stream.rep());
        let reading = self.table.delete(reading)?;
        self.files.listed_bytes = self.files.listed_bytes.saturating_sub(reading.bytes);
        Ok(())
    }
}

impl HostDescriptor for FilesCtxView<'_> {
    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        self.guarded_set_size(fd, size).await
    }

    async fn write(&mut self, fd: Fd, data: Vec<u8>, offset: u64) -> FsResult<u64> {
        self.guarded_write(fd, data, offset).await
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        self.guarded_stream(&fd, Target::At(offset))
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        self.guarded_stream(&fd, Target::End)
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.guarded_create_directory(fd, path).await
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        path_flags: types::PathFlags,
        path: String,
        open_flags: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<Fd> {
        self.guarded_open(fd, path_flags, path, open_flags, flags)
            .await
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.files.forget(fd.rep());
        HostDescriptor::drop(&mut self.delegate(), fd)
    }

    async fn link_at(
        &mut self,
        fd: Fd,
        old_path_flags: types::PathFlags,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        self.guarded_link(fd, old_path_flags, old_path, new_fd, new_path)
            .await
    }

    async fn rename_at(
        &mut self,
        fd: Fd,
        old_path: String,
        new_fd: Fd,
        new_path: String,
    ) -> FsResult<()> {
        self.guarded_rename(fd, old_path, new_fd, new_path).await
    }

    async fn symlink_at(&mut self, fd: Fd, old_path: String, new_path: String) -> FsResult<()> {
        self.guarded_symlink(fd, old_path, new_path).await
    }

    async fn unlink_file_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.guarded_unlink(fd, path).await
    }

    async fn remove_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.guarded_remove_directory(fd, path).await
    }

    // What follows changes no size and creates nothing.

    async fn advise(
        &mut self,
        fd: Fd,
        offset: u64,
        length: u64,
        advice: types::Advice,
    ) -> FsResult<()> {
        self.delegate().advise(fd, offset, length, advice).await
    }

    async fn sync_data(&mut self, fd: Fd) -> FsResult<()> {
        self.settled().await?;
        elsewhere!(self, fd; |view| view.sync_data(fd))
    }

    async fn sync(&mut self, fd: Fd) -> FsResult<()> {
        self.settled().await?;
        elsewhere!(self, fd; |view| view.sync(fd))
    }

    async fn get_flags(&mut self, fd: Fd) -> FsResult<types::DescriptorFlags> {
        self.delegate().get_flags(fd).await
    }

    async fn get_type(&mut self, fd: Fd) -> FsResult<types::DescriptorType> {
        self.delegate().get_type(fd).await
    }

    async fn set_times(
        &mut self,
        fd: Fd,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        self.ready_fs().await?;
        self.files.times.give(&accessed);
        self.files.times.give(&modified);
        elsewhere!(self, fd; |view| view.set_times(fd, accessed, modified))
    }

    async fn read(&mut self, fd: Fd, length: u64, offset: u64) -> FsResult<(Vec<u8>, bool)> {
        self.settled().await?;
        elsewhere!(self, fd; |view| view.read(fd, length, offset))
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let stream = self.delegate().read_via_stream(fd, offset)?;
        let inner = self.table.delete(stream)?;
        let stream: DynInputStream = Box::new(ChargedInput::new(
            inner,
            &self.files.quota,
            &self.files.meter,
        ));
        Ok(self.table.push(stream)?)
    }

    async fn read_directory(&mut self, fd: Fd) -> FsResult<Resource<types::DirectoryEntryStream>> {
        let listing = self.list(&fd).await?;
        let reading = self.table.push(Reading {
            entries: listing.entries.into_iter(),
            bytes: listing.bytes,
        })?;
        Ok(Resource::new_own(reading.rep()))
    }

    async fn stat(&mut self, fd: Fd) -> FsResult<types::DescriptorStat> {
        self.settled().await?;
        let stat = elsewhere!(self, fd; |view| view.stat(fd))?;
        Ok(self.files.times.told(stat))
    }

    async fn stat_at(
        &mut self,
        fd: Fd,
        path_flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        check_path(&path)?;
        if self.is_unmade(&fd, &path) {
            return Ok(UNMADE);
        }
        self.settled().await?;
        let stat = elsewhere!(self, fd; |view| view.stat_at(fd, path_flags, path))?;
        Ok(self.files.times.told(stat))
    }

    async fn set_times_at(
        &mut self,
        fd: Fd,
        path_flags: types::PathFlags,
        path: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        check_path(&path)?;
        self.ready_fs().await?;
        self.files.times.give(&accessed);
        self.files.times.give(&modified);
        elsewhere!(self, fd; |view| view.set_times_at(fd, path_flags, path, accessed, modified))
    }

    async fn readlink_at(&mut self, fd: Fd, path: String) -> FsResult<String> {
        check_path(&path)?;
        self.ready_fs().await?;
        elsewhere!(self, fd; |view| view.readlink_at(fd, path))
    }

    async fn is_same_object(&mut self, a: Fd, b: Fd) -> wasmtime::Result<bool> {
        self.ready().await?;
        self.delegate().is_same_object(a, b).await
    }

    async fn metadata_hash(&mut self, fd: Fd) -> FsResult<types::MetadataHashValue> {
        self.ready_fs().await?;
        elsewhere!(self, fd; |view| view.metadata_hash(fd))
    }

    async fn metadata_hash_at(
        &mut self,
        fd: Fd,
        path_flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        check_path(&path)?;
        if self.is_unmade(&fd, &path) {
            let (lower, upper) = (u64::from(fd.rep()), 0);
            return Ok(types::MetadataHashValue { lower, upper });
        }
        self.ready_fs().await?;
        elsewhere!(self, fd; |view| view.metadata_hash_at(fd, path_flags, path))
    }
}
