//! Files that guests leave on disk cannot stop the host's start or its pruning, whatever their
//! shape, and whichever version of the host left them.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use serde_json::json;

use crate::support::guests;
use crate::support::host::Host;

/// Final tasks and files of executions go after this.
const RETENTION: &str = "[queue]\nretention_ms = 1000\n";

/// How long pruning may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn paths_too_long_for_the_disk_stop_no_start_and_no_pruning() {
    let mut host = Host::with_config(RETENTION);
    host.client
        .put_module("deep", &guests::wat("deep-files.wat"))
        .expect(201);
    let done = host.client.submit_and_wait(&json!({"module": "deep"}));
    assert_eq!(done["status"], "completed", "{done}");
    let id = done["task_id"].as_str().unwrap();
    let kept = host
        .client
        .get(&format!("/v1/tasks/{id}/artifacts"))
        .expect(200)
        .json();
    let paths: Vec<_> = kept["items"].as_array().unwrap().iter().collect();
    assert_eq!(paths.len(), 1, "{kept}");
    assert_eq!(paths[0]["path"], "nnnn");

    let limits = json!({"timeout_ms": 60_000, "cpu_ms": 60_000});
    let running = host
        .client
        .submit(&json!({"module": "deep", "args": ["run"], "limits": limits}));
    host.await_scratch(true);
    host.client
        .task_when(&running, |task| task["status"] == "running");
    host.kill();
    host.restart();
    host.client.get("/readyz").expect(200);
    await_pruned(&host, id);
    host.client.delete(&format!("/v1/tasks/{running}"));
    host.client.final_task(&running);
}

#[test]
fn a_data_directory_of_an_older_host_with_any_tree_in_it_starts_and_is_pruned() {
    // It is in memory, because a disk would need a millisecond for each of the folders.
    let data = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let data = data.unwrap();
    // Both were made in 2023, according to their names.
    let execution = "018bcfe5-6800-7000-8000-000000000000";
    let task = "018bcfe5-6801-7000-8000-000000000000";
    let places = [
        "scratch/0000000000000001-0/out".to_owned(),
        format!("artifacts/{task}/1"),
        format!("executions/{execution}"),
    ];
    for place in &places {
        make_hostile(&data.path().join(place));
    }
    std::fs::create_dir_all(data.path().join("spool/a-directory.part")).unwrap();
    let immovable = data
        .path()
        .join("executions/018bcfe5-6802-7000-8000-000000000000");
    std::os::unix::fs::symlink("/nowhere", &immovable).unwrap();

    let host = Host::over(data, "[interpreters]\ndir = \"/nowhere\"\n");
    host.client.get("/readyz").expect(200);
    let deadline = Instant::now() + PATIENCE;
    while places
        .iter()
        .any(|place| top(&host.data().join(place)).symlink_metadata().is_ok())
    {
        assert!(Instant::now() < deadline, "something is left");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(host.data().join("executions").exists());

    // A copy of such a directory can be made as well.
    make_hostile(&host.data().join(&places[1]));
    let to = tempfile::tempdir_in(host.data().parent().unwrap()).unwrap();
    let copy = to.path().join("copy");
    let made = std::process::Command::new(crate::support::host::program())
        .args(["backup", "--data"])
        .args([host.data(), &copy])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    assert!(copy.join(&places[1]).join("one").exists());
}

/// The directory directly below the one for all of a kind.
fn top(place: &Path) -> &Path {
    let depth = |path: &Path| path.components().count();
    let root = place
        .ancestors()
        .find(|it| {
            it.ends_with("scratch") || it.ends_with("artifacts") || it.ends_with("executions")
        })
        .expect("it is in one of them");
    place
        .ancestors()
        .find(|it| depth(it) == depth(root) + 1)
        .expect("it is below")
}

fn await_pruned(host: &Host, id: &str) {
    let deadline = Instant::now() + PATIENCE;
    let kept = host.data().join("artifacts").join(id);
    while host.client.get(&format!("/v1/tasks/{id}")).status != 404 || kept.exists() {
        assert!(Instant::now() < deadline, "{id} is not pruned");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A tree with everything that could make a walk fail.
fn make_hostile(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    make_deep(dir, &"n".repeat(255), 20);
    make_deep(dir, "d", 10_000);
    for number in 0..2_000 {
        std::fs::write(dir.join(number.to_string()), "").unwrap();
    }
    std::fs::hard_link(dir.join("1"), dir.join("one")).unwrap();
    std::os::unix::fs::symlink("..", dir.join("up")).unwrap();
    mknodat(CWD, dir.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe");
    std::fs::create_dir(dir.join(odd)).unwrap();
    std::fs::write(dir.join(odd).join(odd), "x").unwrap();
    std::fs::create_dir_all(dir.join("locked/inner")).unwrap();
    let none = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(dir.join("locked"), none).unwrap();
}

/// Such a path is too long for a call, so each level is made from its parent.
fn make_deep(dir: &Path, name: &str, levels: usize) {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, dir, flags, Mode::empty()).unwrap();
    for _ in 0..levels {
        mkdirat(&at, name, Mode::RWXU).unwrap();
        at = openat(&at, name, flags, Mode::empty()).unwrap();
    }
    openat(
        &at,
        "last",
        OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::RUSR | Mode::WUSR,
    )
    .unwrap();
}
