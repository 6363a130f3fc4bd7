//! Notes in a granted directory that an attempt began: one empty file, named by the task, the attempt
//! and a random number. So a test knows what ran, whatever became of the host, and the file system
//! says when.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::thread;
use std::time::Duration;

use cofferdam_guest::{Failure, Json, ResultExt, context};
use serde::Deserialize;

#[derive(Deserialize)]
struct Entry {
    /// The result.
    number: u64,
    /// How long it takes.
    ms: u64,
    /// How many attempts fail before one succeeds.
    fail: u32,
}

#[cofferdam_guest::task]
fn diary(Json(entry): Json<Entry>) -> Result<Json<u64>, Failure> {
    let attempt = context::attempt();
    // Another run may have the same attempt number, if the database forgot a claim.
    let run = RandomState::new().build_hasher().finish();
    let path = format!("/diary/{}.{attempt}.{run:x}", context::task_id());
    File::create_new(path).permanent()?;
    thread::sleep(Duration::from_millis(entry.ms));
    match attempt > entry.fail {
        true => Ok(Json(entry.number)),
        false => Err(Failure::transient("as it was told to")),
    }
}
