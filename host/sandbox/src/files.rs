//! The files of one run: `/in`, `/work`, `/out` and the granted directories, under a quota.
//!
//! [`Files`] lives beside the WASI state of a run's store. wasmtime-wasi does the file work; the
//! layer here comes before its calls that grow a file or create an entry, in `p2` for components
//! and in `p1` for core modules, which translates to `p2`. Nothing is made on the host's disk until
//! the guest first uses a path: until then all its directories lead to one that is always empty.
//! Limits and grants are decided elsewhere.

mod charge;
mod collect;
mod counted;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod home;
mod input;
mod listing;
mod open;
mod p1;
mod p2;
mod quota;
mod scratch;
mod stream;
#[cfg(test)]
mod tests;
mod times;

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx};
use wasmtime_wasi::runtime::spawn_blocking;
use wasmtime_wasi::{FsPerms, OpenMode};

use crate::Mount;
use crate::files::listing::DirListing;
use crate::files::open::OpenedDirs;
use crate::files::p1::GuestFds;
use crate::files::quota::{Quota, Zone};
use crate::files::scratch::ScratchDir;
use crate::files::times::Times;
use crate::meter::Meter;
use crate::settings::OverQuota;
use cofferdam_domain::grants::Access;

pub use collect::{Area, Listing, OutputFiles};
pub(crate) use home::{Given, Home, INCARNATION, Left};
pub use input::{BadInputName, InputContent, InputFile, InputPlace};
pub(crate) use p1::{P1FilesView, P1View, add_to_linker_p1};
pub(crate) use p2::{FilesCtxView, FilesView, add_to_linker_p2};
pub use quota::{Axis, DiskExceeded};
pub use scratch::Scratch;
pub use times::FileClock;

/// The directories of every run, in the order the guest sees them. Granted ones come before them:
/// some toolchains take the first as the working directory, and a guest that counts descriptors
/// finds its granted directories where other hosts put them. A granted directory at one of these
/// paths replaces it.
const PREOPENS: [Preopen; 6] = [
    Preopen::new("/work", FsPerms::ReadWrite, "work"),
    Preopen::new("/out", FsPerms::ReadWrite, "out"),
    Preopen::new("/in", FsPerms::ReadOnly, "in"),
    Preopen::new("/tmp", FsPerms::ReadWrite, "tmp"),
    Preopen::new("/mnt/data", FsPerms::ReadWrite, "work"),
    Preopen::new("/", FsPerms::ReadOnly, "."),
];

/// The preopens of a module.
const MODULE_PREOPENS: usize = 3;

/// A directory that a run has of its own.
#[derive(Clone, Copy, Debug)]
struct Preopen {
    at: &'static str,
    perms: FsPerms,
    /// In the attempt's directory.
    dir: &'static str,
}

impl Preopen {
    const fn new(at: &'static str, perms: FsPerms, dir: &'static str) -> Preopen {
        Preopen { at, perms, dir }
    }
}

/// The directories that a guest has without a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// `/work`, `/out` and `/in`.
    Module,
    /// In addition what code expects on any machine: a root that can be listed, `/tmp`, and
    /// `/mnt/data`, other sandboxes' name for the working directory.
    Code,
}

impl Places {
    fn preopens(self) -> &'static [Preopen] {
        match self {
            Places::Module => &PREOPENS[..MODULE_PREOPENS],
            Places::Code => &PREOPENS,
        }
    }
}

/// The files and directories of a run.
#[derive(Clone, Debug)]
pub struct FilesPlan {
    /// Bytes in `/work` and `/out` together, and bytes written into granted directories.
    pub disk_bytes: u64,
    /// Files, directories and links there.
    pub disk_files: u64,
    /// What happens above either limit.
    pub over_quota: OverQuota,
    /// The directories it has without a grant.
    pub places: Places,
    /// The granted directories.
    pub mounts: Vec<Mount>,
    /// A spooled input that appears as `/in/payload`.
    pub payload: Option<PathBuf>,
    /// Further files put there before the guest starts.
    pub inputs: Vec<InputFile>,
    /// The run's clock, for the times of files.
    pub clock: FileClock,
}

impl FilesPlan {
    /// Whether anything is in `/in`.
    fn has_inputs(&self) -> bool {
        self.payload.is_some() || self.inputs.iter().any(|it| it.place == InputPlace::In)
    }

    /// The run's own directories that no granted directory replaces.
    fn own(&self) -> impl Iterator<Item = &'static Preopen> {
        own(self.places, |at| {
            self.mounts.iter().any(|mount| is_at(&mount.at, at))
        })
    }
}

fn own(places: Places, granted: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static Preopen> {
    let preopens = places.preopens().iter();
    preopens.filter(move |preopen| !granted(preopen.at))
}

fn is_at(path: &str, at: &str) -> bool {
    path.trim_end_matches('/') == at.trim_end_matches('/')
}

/// Why a run's directories could not be made. The guest traps with it.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The attempt's own directory.
    #[error("the attempt's scratch directory could not be made: {0}")]
    Scratch(#[source] std::io::Error),
    /// An input file.
    #[error("the input file {name} could not be put in place: {source}")]
    Input {
        /// As the guest would see it.
        name: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A granted directory.
    #[error("the granted directory {at} could not be opened: {source}")]
    Mount {
        /// Where the guest would see it.
        at: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The input files for `/work` do not fit into the quota.
    #[error(transparent)]
    Inputs(#[from] DiskExceeded),
}

/// The files of one run. Making one costs no system call.
pub struct Files {
    scratch: Scratch,
    plan: FilesPlan,
    quota: Quota,
    /// The context of wasmtime-wasi's implementation, which does the work.
    delegate: WasiFilesystemCtx,
    made: Option<Made>,
    /// Descriptors by their place in the resource table.
    zones: HashMap<u32, Zone>,
    /// Descriptors that still lead to the placeholder, with the number of their preopen.
    waiting: Vec<(u32, usize)>,
    /// A core module's numbers for them.
    fds: GuestFds,
    /// Host memory of the directory listings that the guest is reading.
    listed_bytes: u64,
    /// The listings of a core module, by the directory's place in the table.
    p1_listings: HashMap<u32, DirListing>,
    times: Times,
    /// The run that pays for work on blocking threads.
    meter: Arc<Meter>,
    /// The number of its directory, once that exists.
    number: Arc<OnceLock<u64>>,
}

/// What other threads may ask of a guest's files while it runs.
#[derive(Clone)]
pub(crate) struct SeenFiles {
    quota: Quota,
    number: Arc<OnceLock<u64>>,
}

impl SeenFiles {
    /// The most bytes that were in use at once.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.quota.peak_bytes()
    }

    /// The number of the directory, if the guest used a file.
    pub(crate) fn number(&self) -> Option<u64> {
        self.number.get().copied()
    }
}

/// The directories, once they exist.
struct Made {
    scratch: Arc<ScratchDir>,
    /// In the order of the preopens.
    dirs: Vec<Arc<File>>,
}

impl Files {
    /// The files of a run that starts.
    pub(crate) fn new(scratch: &Scratch, plan: FilesPlan, meter: Arc<Meter>) -> Files {
        Files {
            scratch: scratch.clone(),
            quota: Quota::new(plan.disk_bytes, plan.disk_files, plan.over_quota),
            times: Times::new(plan.clock),
            plan,
            delegate: WasiFilesystemCtx::default(),
            made: None,
            zones: HashMap::new(),
            waiting: Vec::new(),
            fds: GuestFds::default(),
            listed_bytes: 0,
            p1_listings: HashMap::new(),
            meter,
            number: Arc::default(),
        }
    }

    /// What other threads may ask.
    pub(crate) fn seen(&self) -> SeenFiles {
        SeenFiles {
            quota: self.quota.clone(),
            number: Arc::clone(&self.number),
        }
    }

    /// Charges the work from now on to this meter.
    pub(crate) fn charge_to(&mut self, meter: &Arc<Meter>) {
        self.meter = Arc::clone(meter);
    }

    /// The most bytes that were in use at once.
    pub fn peak_bytes(&self) -> u64 {
        self.quota.peak_bytes()
    }

    /// The first time the guest met its quota, whatever the policy.
    pub fn exceeded(&self) -> Option<DiskExceeded> {
        self.quota.exceeded()
    }

    /// The directory that the guest left; `None` if it used no file.
    pub(crate) async fn take(&mut self) -> Option<Left> {
        let made = self.made.take()?;
        // A write that was in progress when the guest ended is over here.
        drop(self.quota.lock().await);
        // The descriptors close here, so that files without a name are gone.
        drop(made.dirs);
        Some(Left::new(made.scratch))
    }

    /// The guest's files so far; `None` if it used no file. The guest must not be running.
    pub(crate) fn so_far(&self) -> Option<Left> {
        let made = self.made.as_ref()?;
        Some(Left::new(Arc::clone(&made.scratch)))
    }

    /// The preopen with that number as the guest sees it: its path, rights and zone.
    fn preopen(&self, number: usize) -> Option<(&str, FsPerms, Zone)> {
        let mounts = &self.plan.mounts;
        if let Some(mount) = mounts.get(number) {
            return Some((&mount.at, perms(mount.access), Zone::Mount(number)));
        }
        let own = self.plan.own().nth(number - mounts.len())?;
        let zone = match own.perms {
            FsPerms::ReadOnly => Zone::Input,
            FsPerms::ReadWrite => Zone::Scratch,
        };
        Some((own.at, own.perms, zone))
    }

    fn preopen_count(&self) -> usize {
        self.plan.mounts.len() + self.plan.own().count()
    }

    /// Puts a preopen into the table. It leads to the placeholder until the directories exist.
    fn push_preopen(
        &mut self,
        table: &mut ResourceTable,
        number: usize,
    ) -> wasmtime::Result<Option<(Resource<Descriptor>, String)>> {
        let Some((at, perms, zone)) = self.preopen(number) else {
            return Ok(None);
        };
        let at = at.to_owned();
        let mut dir = self.scratch.placeholder().clone();
        dir.perms = perms;
        dir.open_mode = open_mode(perms);
        let made = self.made.as_ref().and_then(|made| made.dirs.get(number));
        if let Some(made) = made {
            dir.dir = Arc::clone(made);
        }
        let is_made = made.is_some();
        let pushed = table.push(Descriptor::Dir(dir))?;
        self.adopt_preopen(pushed.rep(), number, zone, is_made);
        Ok(Some((pushed, at)))
    }

    fn adopt_preopen(&mut self, rep: u32, number: usize, zone: Zone, is_made: bool) {
        self.zones.insert(rep, zone);
        if !is_made {
            self.waiting.push((rep, number));
        }
    }

    /// Makes the directories if this is the guest's first use of a path.
    pub(crate) async fn ready(&mut self, table: &mut ResourceTable) -> wasmtime::Result<()> {
        if self.made.is_some() {
            return Ok(());
        }
        let room = self.scratch.room().await.map_err(FilesError::Scratch)?;
        let mut ledger = self.quota.lock().await;
        let (scratch, plan) = (self.scratch.clone(), self.plan.clone());
        let OpenedDirs { scratch, dirs } =
            spawn_blocking(move || open::make(&scratch, room, &plan, &mut ledger)).await?;
        for (rep, number) in self.waiting.drain(..) {
            let key = Resource::<Descriptor>::new_borrow(rep);
            if let (Ok(Descriptor::Dir(dir)), Some(made)) = (table.get_mut(&key), dirs.get(number))
            {
                dir.dir = Arc::clone(made);
            }
        }
        let scratch = Arc::new(scratch);
        if let Some(number) = Left::new(Arc::clone(&scratch)).number() {
            self.number.get_or_init(|| number);
        }
        self.made = Some(Made { scratch, dirs });
        Ok(())
    }

    /// A descriptor was closed.
    fn forget(&mut self, rep: u32) {
        self.zones.remove(&rep);
        self.forget_listing(rep);
        // Another descriptor may take its place in the table, and must not be redirected to a
        // preopen.
        self.waiting.retain(|(waiting, _)| *waiting != rep);
    }

    fn forget_listing(&mut self, rep: u32) {
        if let Some(listing) = self.p1_listings.remove(&rep) {
            self.listed_bytes = self.listed_bytes.saturating_sub(listing.bytes);
        }
    }

    /// The account that pays for writes through a descriptor.
    fn zone(&self, rep: u32) -> Zone {
        // Every descriptor is entered when it is opened. An unknown one gets the strictest account.
        self.zones
            .get(&rep)
            .copied()
            .unwrap_or(Zone::Mount(usize::MAX))
    }
}

fn perms(access: Access) -> FsPerms {
    match access {
        Access::Read => FsPerms::ReadOnly,
        Access::Write => FsPerms::ReadWrite,
    }
}

fn open_mode(perms: FsPerms) -> OpenMode {
    match perms {
        FsPerms::ReadOnly => OpenMode::READ,
        FsPerms::ReadWrite => OpenMode::READ | OpenMode::WRITE,
    }
}
