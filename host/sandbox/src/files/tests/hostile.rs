//! Hostile guests: core modules written by hand, and calls of WASI 0.2 that no libc makes.

use std::time::{Duration, Instant};

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p2::bindings::filesystem::preopens::Host as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, ErrorCode, Host as _, HostDescriptor, HostDirectoryEntryStream, OpenFlags,
    PathFlags,
};
use wasmtime_wasi::p2::{DynOutputStream, StreamError};

use super::rig::{Ended, Rig, Road, bytes_below, meter, plan};
use crate::files::*;

const NO_SPACE: i32 = 51;
const QUOTA: u64 = 1 << 20;

async fn module(rig: &Rig, text: &str, plan: FilesPlan) -> (i32, Ended) {
    let wasm = wat::parse_str(text).unwrap();
    let ended = rig.run(Road::P1, &wasm, &[], plan).await;
    let error = ended.result.as_ref().unwrap_err();
    let exit = error.downcast_ref::<I32Exit>();
    (exit.unwrap_or_else(|| panic!("{error:?}")).0, ended)
}

#[tokio::test]
async fn one_file_cannot_fill_the_disk() {
    let rig = Rig::new();
    let guest = include_str!("../../../../../tests/guests/fill-disk.wat");
    let (run, most) = rig.watching(module(&rig, guest, plan(QUOTA))).await;
    assert_eq!(run.0, NO_SPACE);
    assert!(most <= QUOTA);
    assert_eq!(run.1.files.peak_bytes(), QUOTA);
}

#[tokio::test]
async fn a_sparse_file_costs_its_length() {
    let rig = Rig::new();
    let guest = include_str!("../../../../../tests/guests/sparse.wat");
    let (exit, ended) = module(&rig, guest, plan(QUOTA)).await;
    assert_eq!(exit, NO_SPACE);
    assert_eq!(ended.files.peak_bytes(), 0);
}

#[tokio::test]
async fn a_million_files_end_at_the_quota() {
    let rig = Rig::new();
    let guest = include_str!("../../../../../tests/guests/many-files.wat");
    let started = Instant::now();
    let plan = FilesPlan {
        disk_files: 1024,
        ..plan(QUOTA)
    };
    let (exit, ended) = module(&rig, guest, plan).await;
    assert_eq!(exit, NO_SPACE);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let work = rig.attempts().pop().unwrap().join("work");
    assert_eq!(std::fs::read_dir(work).unwrap().count(), 1024);
    assert_eq!(ended.files.exceeded().unwrap().axis, Axis::Entries);
}

#[tokio::test]
async fn moved_descriptors_stay_counted() {
    let rig = Rig::new();
    let guest = include_str!("../../../../../tests/guests/renumber.wat");
    let (exit, ended) = module(&rig, guest, plan(QUOTA)).await;
    assert_eq!(exit, NO_SPACE);
    assert_eq!(ended.files.peak_bytes(), 200);
}

/// A WASI 0.2 guest, reduced to its calls.
struct Calls {
    table: ResourceTable,
    files: Files,
}

impl Calls {
    fn new(rig: &Rig, plan: FilesPlan) -> Calls {
        Calls {
            table: ResourceTable::new(),
            files: Files::new(&rig.scratch, plan, meter()),
        }
    }

    fn view(&mut self) -> FilesCtxView<'_> {
        FilesCtxView {
            table: &mut self.table,
            files: &mut self.files,
        }
    }

    async fn create(&mut self, dir: &Resource<Descriptor>, name: &str) -> Resource<Descriptor> {
        let dir = Resource::new_borrow(dir.rep());
        let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
        let create = OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let path = PathFlags::empty();
        self.view()
            .open_at(dir, path, name.to_owned(), create, flags)
            .await
            .unwrap()
    }

    fn stream(&mut self, file: &Resource<Descriptor>, offset: u64) -> Resource<DynOutputStream> {
        self.view()
            .write_via_stream(Resource::new_borrow(file.rep()), offset)
            .unwrap()
    }
}

#[tokio::test]
async fn a_stream_tells_its_reason_to_whoever_asks() {
    let rig = Rig::new();
    let mut calls = Calls::new(&rig, plan(100));
    let work = calls.view().get_directories().unwrap().remove(0).0;
    let file = calls.create(&work, "file").await;
    let stream = calls.stream(&file, 60);
    let stream = calls.table.get_mut(&stream).unwrap();
    let error = stream
        .blocking_write_and_flush(vec![1; 41].into())
        .await
        .unwrap_err();
    let StreamError::LastOperationFailed(error) = error else {
        panic!("{error:?}")
    };
    let error = calls.table.push(error).unwrap();
    let reason = calls.view().filesystem_error_code(error).unwrap();
    assert_eq!(reason, Some(ErrorCode::InsufficientSpace));

    // The descriptor's own methods report it, and so does a stream onto a full disk.
    let borrowed = || Resource::new_borrow(file.rep());
    let refused = calls
        .view()
        .write(borrowed(), vec![1; 101], 0)
        .await
        .unwrap_err();
    assert_eq!(refused.downcast().unwrap(), ErrorCode::InsufficientSpace);
    calls.view().set_size(borrowed(), 100).await.unwrap();
    let refused = calls.view().append_via_stream(borrowed()).unwrap_err();
    assert_eq!(refused.downcast().unwrap(), ErrorCode::InsufficientSpace);
    assert!(calls.view().write_via_stream(borrowed(), 99).is_ok());
}

#[tokio::test]
async fn many_writes_at_once_are_counted_exactly() {
    let rig = Rig::new();
    let mut calls = Calls::new(&rig, plan(QUOTA));
    let work = calls.view().get_directories().unwrap().remove(0).0;
    for round in 0..4 {
        let file = calls.create(&work, "file").await;
        // The writes overlap, and the last one exceeds the quota.
        let streams = (0..32)
            .map(|at| calls.stream(&file, at * (32 << 10)))
            .collect::<Vec<_>>();
        for stream in &streams {
            let stream = calls.table.get_mut(stream).unwrap();
            // It is refused at once or later.
            drop(stream.write(vec![round; 64 << 10].into()));
        }
        // The file is truncated during the writes; bytes written afterwards are counted as well.
        calls
            .view()
            .set_size(Resource::new_borrow(file.rep()), 0)
            .await
            .unwrap();
        for stream in &streams {
            calls.table.get_mut(stream).unwrap().ready().await;
        }
        assert!(bytes_below(rig.dir.path()) <= QUOTA);
        for stream in streams {
            calls.table.delete(stream).unwrap().cancel().await;
        }
        HostDescriptor::drop(&mut calls.view(), file).unwrap();
    }
    let dir = || Resource::new_borrow(work.rep());
    calls
        .view()
        .unlink_file_at(dir(), "file".to_owned())
        .await
        .unwrap();
    let file = calls.create(&work, "file").await;
    let whole = vec![1; 1 << 20];
    assert_eq!(
        calls.view().write(file, whole, 0).await.unwrap(),
        QUOTA,
        "nothing is left over"
    );
}

#[tokio::test]
async fn a_run_that_is_dropped_in_a_write_leaves_nothing() {
    let rig = Rig::new();
    let mut calls = Calls::new(&rig, plan(QUOTA));
    let work = calls.view().get_directories().unwrap().remove(0).0;
    let file = calls.create(&work, "file").await;
    let stream = calls.stream(&file, 0);
    calls
        .table
        .get_mut(&stream)
        .unwrap()
        .write(vec![1; 64 << 10].into())
        .unwrap();
    drop(calls);
    rig.scratch.wait_until_removed(0).await;
    assert_eq!(rig.attempts().len(), 0);
    rig.finish();
}

#[tokio::test]
async fn a_guest_cannot_pile_up_listings() {
    let rig = Rig::new();
    let mut calls = Calls::new(&rig, plan(QUOTA));
    let work = calls.view().get_directories().unwrap().remove(0).0;
    let dir = || Resource::new_borrow(work.rep());
    let mut listings = Vec::new();
    for _ in 0..1000 {
        listings.push(calls.view().read_directory(dir()).await.unwrap());
    }
    // The listings are made to look larger: all of them together are bounded, whatever their
    // number.
    calls.files.listed_bytes += listing::LISTED_BYTES_MAX - 1000 * 64;
    let refused = calls.view().read_directory(dir()).await.unwrap_err();
    assert_eq!(refused.downcast().unwrap(), ErrorCode::InsufficientMemory);
    HostDirectoryEntryStream::drop(&mut calls.view(), listings.pop().unwrap()).unwrap();
    calls.view().read_directory(dir()).await.unwrap();
}
