//! The guest program on both WASI versions.

use std::fs;

use bytes::Bytes;

use super::rig::{BOTH, Rig, plan, program};
use crate::Mount;
use crate::files::*;
use crate::settings::OverQuota;
use cofferdam_domain::grants::Access;

const QUOTA: u64 = 1 << 20;

#[tokio::test]
async fn a_file_grows_to_the_quota_and_no_further() {
    let rig = Rig::new();
    for road in BOTH {
        let (ended, most) = rig.watching(rig.scenario(road, "fill", QUOTA)).await;
        assert_eq!(ended.output.trim(), QUOTA.to_string());
        assert!(most <= QUOTA, "{most} bytes on the disk");
        assert_eq!(ended.files.peak_bytes(), QUOTA);
        let exceeded = ended.files.exceeded().unwrap();
        assert_eq!((exceeded.axis, exceeded.allowed), (Axis::Bytes, QUOTA));
        drop(ended);
    }
}

#[tokio::test]
async fn the_apparent_size_counts() {
    let rig = Rig::new();
    for road in BOTH {
        let ended = rig.scenario(road, "sparse", QUOTA).await;
        assert_eq!(ended.files.peak_bytes(), 1000);
    }
}

#[tokio::test]
async fn entries_of_every_kind_count() {
    let rig = Rig::new();
    for road in BOTH {
        let ended = rig.scenario(road, "entries", 50).await;
        assert_eq!(ended.output.trim(), "50");
    }
}

#[tokio::test]
async fn freed_bytes_are_given_back() {
    let rig = Rig::new();
    for road in BOTH {
        rig.scenario(road, "free", QUOTA).await;
        rig.scenario(road, "replace", QUOTA).await;
    }
}

#[tokio::test]
async fn an_open_file_without_a_name_still_costs() {
    let rig = Rig::new();
    for road in BOTH {
        rig.scenario(road, "nameless", QUOTA).await;
    }
}

#[tokio::test]
async fn appending_appends() {
    let rig = Rig::new();
    for road in BOTH {
        rig.scenario(road, "append", QUOTA).await;
    }
}

#[tokio::test]
async fn details_are_as_on_any_machine() {
    let rig = Rig::new();
    for road in BOTH {
        rig.scenario(road, "small-print", QUOTA).await;
    }
}

#[tokio::test]
async fn no_path_and_no_link_leads_outside() {
    let rig = Rig::new();
    for road in BOTH {
        rig.scenario(road, "escape", QUOTA).await;
        let outside = rig.dir.path().join("scratch/escaped");
        assert!(!outside.exists());
    }
}

#[tokio::test]
async fn a_guest_over_its_quota_is_ended_where_the_operator_says_so() {
    let rig = Rig::new();
    for road in BOTH {
        let plan = FilesPlan {
            over_quota: OverQuota::Kill,
            ..plan(QUOTA)
        };
        let ended = rig.run(road, &program(road), &["fill"], plan).await;
        let error = ended.result.unwrap_err();
        let exceeded = error.downcast_ref::<DiskExceeded>().copied();
        assert_eq!(exceeded, ended.files.exceeded(), "{error:?}");
        assert_eq!(exceeded.unwrap().used, QUOTA + 4096);
    }
}

#[tokio::test]
async fn granted_directories_keep_their_rights_and_cost_quota() {
    let rig = Rig::new();
    for road in BOTH {
        let host = tempfile::tempdir().unwrap();
        let mounts = ["ro", "rw"].map(|name| Mount {
            path: host.path().join(name),
            at: format!("/{name}"),
            access: if name == "ro" {
                Access::Read
            } else {
                Access::Write
            },
        });
        for mount in &mounts {
            fs::create_dir(&mount.path).unwrap();
        }
        fs::write(mounts[0].path.join("note"), "read only").unwrap();
        fs::write(mounts[1].path.join("theirs"), vec![1; 1 << 16]).unwrap();
        let plan = FilesPlan {
            mounts: mounts.to_vec(),
            ..plan(QUOTA + 4)
        };
        let quota = QUOTA.to_string();
        let ended = rig
            .run(road, &program(road), &["mounts", &quota], plan)
            .await;
        assert!(
            ended.result.is_ok(),
            "{road:?} {:?}\n{}",
            ended.result,
            ended.output
        );
        assert_eq!(
            fs::read_to_string(host.path().join("ro/note")).unwrap(),
            "read only"
        );
        assert_eq!(fs::read_dir(host.path().join("rw")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn inputs_are_there_and_read_only() {
    let rig = Rig::new();
    for road in BOTH {
        let payload = rig.dir.path().join("payload");
        fs::write(&payload, "spooled").unwrap();
        let script = rig.dir.path().join("main.py");
        fs::write(&script, "print()").unwrap();
        let input = |name, place, content| InputFile::new(name, place, content).unwrap();
        let extra = InputContent::Bytes(Bytes::from_static(b"extra"));
        let inputs = vec![
            input("data/extra.txt", InputPlace::In, extra),
            input(
                "pkg/main.py",
                InputPlace::Work,
                InputContent::File(script.clone()),
            ),
        ];
        let plan = FilesPlan {
            payload: Some(payload.clone()),
            inputs,
            ..plan(QUOTA)
        };
        let ended = rig.run(road, &program(road), &["input"], plan).await;
        assert!(
            ended.result.is_ok(),
            "{road:?} {:?}\n{}",
            ended.result,
            ended.output
        );
        assert_eq!(ended.output.trim(), "spooled");
        assert_eq!(ended.files.peak_bytes(), 8);
        // The host's own copies are unchanged.
        assert_eq!(fs::read_to_string(&payload).unwrap(), "spooled");
        assert_eq!(fs::read_to_string(&script).unwrap(), "print()");
    }
}

#[tokio::test]
async fn inputs_for_work_must_fit_the_quota() {
    let rig = Rig::new();
    for road in BOTH {
        let content = InputContent::Bytes(vec![1; 100].into());
        let inputs = vec![InputFile::new("big", InputPlace::Work, content).unwrap()];
        let plan = FilesPlan { inputs, ..plan(99) };
        let ended = rig.run(road, &program(road), &["touch"], plan).await;
        let error = ended.result.unwrap_err();
        assert!(
            matches!(error.downcast_ref(), Some(FilesError::Inputs(_))),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_guest_without_files_costs_no_directory() {
    let rig = Rig::new();
    for road in BOTH {
        let mut ended = rig.scenario(road, "hello", QUOTA).await;
        assert_eq!(ended.output.trim(), "hello");
        assert_eq!(rig.attempts().len(), 0);
        assert!(ended.files.take().await.is_none());
        // Looking counts as use.
        let ended = rig.scenario(road, "look", QUOTA).await;
        assert_eq!(rig.attempts().len(), 1);
        drop(ended);
        rig.scratch.wait_until_removed(0).await;
        assert_eq!(rig.attempts().len(), 0);
    }
}
