//! A guest that takes its operations from bytes: a byte for what it does, then one for each thing
//! that it does it with. What an operation answers is of no interest; what it leaves is.

use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, HostDescriptor, OpenFlags, PathFlags,
};

use super::disk::{InUse, in_use};
use crate::files::p2::Fd;
use crate::files::{FileClock, Files, FilesCtxView, FilesPlan, Places, Scratch};
use crate::meter::Meter;
use crate::settings::OverQuota;

/// The guest's quota: small, so that most guests meet it.
const BYTES_MAX: u64 = 1000;
const ENTRIES_MAX: u64 = 8;
/// The most descriptors, and streams, that a guest keeps open.
const OPEN_MAX: usize = 8;
/// What a byte of an operation is multiplied by where it means a length.
const LENGTH_UNIT: u64 = 5;
/// An offset that no quota allows, and no file system either.
const FAR: u64 = u64::MAX - 7;

/// Names that meet one another: files, folders, links to both, and the ways to write them.
const NAMES: [&str; 16] = [
    "a", "b", "c", "d", "d/a", "d/e", "d/e/a", "l", "l/a", "a/", "d/", "l/", "./a", "d/../a", ".",
    "..",
];

pub(super) struct Guest {
    // Goes last.
    files: Option<Files>,
    table: ResourceTable,
    preopens: usize,
    fds: Vec<u32>,
    streams: Vec<u32>,
    /// Every file that was ever opened.
    opened: Vec<Weak<File>>,
    scratch: Scratch,
    _dir: tempfile::TempDir,
}

impl Guest {
    pub(super) async fn new(kills: bool) -> Guest {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let scratch = Scratch::open(dir.path(), 1).expect("a scratch root");
        let plan = FilesPlan {
            disk_bytes: BYTES_MAX,
            disk_files: ENTRIES_MAX,
            over_quota: match kills {
                true => OverQuota::Kill,
                false => OverQuota::Refuse,
            },
            places: Places::Module,
            mounts: Vec::new(),
            payload: None,
            inputs: Vec::new(),
            clock: FileClock::Coarse,
        };
        let meter = Arc::new(Meter::new(Duration::MAX));
        let mut files = Files::new(&scratch, plan, meter);
        let mut table = ResourceTable::new();
        let mut view = FilesCtxView {
            table: &mut table,
            files: &mut files,
        };
        let preopens = view.get_directories().expect("room for the preopens");
        view.ready().await.expect("the directories can be made");
        let fds: Vec<u32> = preopens.iter().map(|(fd, _)| fd.rep()).collect();
        Guest {
            files: Some(files),
            table,
            preopens: fds.len(),
            fds,
            streams: Vec::new(),
            opened: Vec::new(),
            scratch,
            _dir: dir,
        }
    }

    fn files(&self) -> &Files {
        self.files.as_ref().expect("it is there until the end")
    }

    fn view(&mut self) -> FilesCtxView<'_> {
        FilesCtxView {
            table: &mut self.table,
            files: self.files.as_mut().expect("it is there until the end"),
        }
    }

    fn fd(&self, byte: u8) -> Fd {
        Fd::new_borrow(self.fds[usize::from(byte) % self.fds.len()])
    }

    /// One operation; `None` once there are no more, or the guest was ended by its quota.
    pub(super) async fn step(&mut self, bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
        let what = bytes.next()?;
        let fd = self.fd(bytes.next()?);
        let (name, more) = (name(bytes.next()?), bytes.next()?);
        let length = u64::from(more) * LENGTH_UNIT;
        let other = self.fd(more);
        match what % 12 {
            0 | 1 => self.open(fd, name, more).await,
            2 => self.close(more).await,
            3 => drop(self.view().write(fd, data(length), length / 2).await),
            4 => drop(self.view().write(fd, data(1), FAR).await),
            5 => drop(self.view().set_size(fd, length).await),
            6 => drop(self.view().create_directory_at(fd, name).await),
            7 => {
                let target = NAMES[usize::from(more) % NAMES.len()].to_owned();
                drop(self.view().symlink_at(fd, target, name).await);
            }
            8 => {
                let to = NAMES[usize::from(more / 16) % NAMES.len()].to_owned();
                let flags = PathFlags::empty();
                drop(self.view().link_at(fd, flags, name, other, to).await);
            }
            9 => {
                let to = NAMES[usize::from(more / 16) % NAMES.len()].to_owned();
                drop(self.view().rename_at(fd, name, other, to).await);
            }
            10 => match more % 2 {
                0 => drop(self.view().unlink_file_at(fd, name).await),
                _ => drop(self.view().remove_directory_at(fd, name).await),
            },
            _ => self.stream(&fd, more).await,
        }
        // Not every time: a comparison waits for the writes that are under way.
        if what >= 128 {
            self.compare().await;
        }
        let is_ended = matches!(self.files().plan.over_quota, OverQuota::Kill)
            && self.files().exceeded().is_some();
        (!is_ended).then_some(())
    }

    async fn open(&mut self, fd: Fd, name: String, more: u8) {
        if self.fds.len() >= OPEN_MAX {
            return;
        }
        let all = [
            OpenFlags::CREATE,
            OpenFlags::DIRECTORY,
            OpenFlags::EXCLUSIVE,
            OpenFlags::TRUNCATE,
        ];
        let open = (0..)
            .zip(all)
            .filter(|(bit, _)| more >> bit & 1 == 1)
            .fold(OpenFlags::empty(), |flags, (_, flag)| flags | flag);
        let flags = match more & 0x10 {
            0 => DescriptorFlags::READ | DescriptorFlags::WRITE,
            _ => DescriptorFlags::READ,
        };
        let path = match more & 0x20 {
            0 => PathFlags::SYMLINK_FOLLOW,
            _ => PathFlags::empty(),
        };
        if let Ok(opened) = self.view().open_at(fd, path, name, open, flags).await {
            if let Ok(Descriptor::File(file)) = self.table.get(&opened) {
                self.opened.push(Arc::downgrade(&file.file));
            }
            self.fds.push(opened.rep());
        }
    }

    /// Closes a descriptor that it opened, or a stream.
    async fn close(&mut self, more: u8) {
        let place = usize::from(more / 2);
        let own = self.fds.len() - self.preopens;
        if more.is_multiple_of(2) && own > 0 {
            let rep = self.fds.remove(self.preopens + place % own);
            let closed = HostDescriptor::drop(&mut self.view(), Resource::new_own(rep));
            closed.expect("it was open");
        } else if !self.streams.is_empty() {
            let rep = self.streams.remove(place % self.streams.len());
            let stream = Resource::<DynOutputStream>::new_own(rep);
            // As wasmtime-wasi does where a guest drops its stream.
            let mut stream = self.table.delete(stream).expect("it was open");
            stream.cancel().await;
        }
    }

    /// Writes to a stream, a new one or one that it has, and perhaps does not wait for the write.
    async fn stream(&mut self, fd: &Fd, more: u8) {
        let is_new = more.is_multiple_of(2) && self.streams.len() < OPEN_MAX;
        if is_new {
            let made = match more & 2 {
                0 => self.view().append_via_stream(Fd::new_borrow(fd.rep())),
                _ => self
                    .view()
                    .write_via_stream(Fd::new_borrow(fd.rep()), u64::from(more)),
            };
            self.streams.extend(made.ok().map(|stream| stream.rep()));
        }
        let Some(rep) = self.streams.last() else {
            return;
        };
        let stream = Resource::<DynOutputStream>::new_borrow(*rep);
        let stream = self.table.get_mut(&stream).expect("it is open");
        if stream.check_write().is_ok_and(|room| room > 0) {
            let data = Bytes::from(data(u64::from(more)));
            drop(stream.write(data));
        }
        if more & 4 == 0 {
            stream.ready().await;
            drop(stream.flush());
        }
    }

    /// Holds the ledger against the disk, once no write is under way.
    pub(super) async fn compare(&mut self) {
        for rep in &self.streams {
            let stream = Resource::<DynOutputStream>::new_borrow(*rep);
            let stream = self.table.get_mut(&stream).expect("it is open");
            stream.ready().await;
        }
        let files = self.files();
        let made = files.made.as_ref().expect("they are made at the start");
        let (work, out) = (
            made.scratch.path().join("work"),
            made.scratch.path().join("out"),
        );
        let held: Vec<Arc<File>> = self.opened.iter().filter_map(Weak::upgrade).collect();
        let found = in_use(&[&work, &out], held.iter().map(AsRef::as_ref));
        drop(held);
        let (bytes, entries) = files.quota.lock().await.in_use();
        assert_eq!(
            InUse { bytes, entries },
            found,
            "what is counted, and what is there"
        );
        assert!(bytes <= BYTES_MAX && entries <= ENTRIES_MAX);
        assert!(files.peak_bytes() >= bytes && files.peak_bytes() <= BYTES_MAX);
    }

    /// The guest's end: nothing of it stays.
    pub(super) async fn end(mut self) {
        for rep in self.streams.drain(..) {
            let stream = Resource::<DynOutputStream>::new_own(rep);
            let mut stream = self.table.delete(stream).expect("it is open");
            stream.cancel().await;
        }
        drop(self.table);
        drop(self.files.take());
        self.scratch.close(Duration::from_secs(10));
    }
}

fn name(byte: u8) -> String {
    NAMES[usize::from(byte) % NAMES.len()].to_owned()
}

fn data(length: u64) -> Vec<u8> {
    vec![b'x'; usize::try_from(length).unwrap_or(0)]
}
