//! Files in whole runs; the quota itself is tested beside `files`.

use super::*;
use crate::settings::OverQuota;

everywhere! {
    a_full_disk_is_reported_to_the_guest_or_kills_it,
    a_spooled_input_is_a_commands_standard_input,
}

const DISK: u64 = MIB;

async fn a_full_disk_is_reported_to_the_guest_or_kills_it(at: Isolation) {
    let rig = Rig::new(at);
    let report = rig
        .run("fill-disk.wat", |run| run.spec.limits.disk_bytes = DISK)
        .await;
    assert_eq!(report.usage.disk_bytes, DISK);
    let failure = failure(report);
    // 51 is "no space left on device".
    assert_eq!(
        (failure.kind, failure.exit_code),
        (FailureKind::Exit, Some(51)),
        "{failure:?}"
    );

    let rig = Rig::with(at, |config| config.over_quota = OverQuota::Kill);
    let failure = rig
        .fail("fill-disk.wat", |run| run.spec.limits.disk_bytes = DISK)
        .await;
    assert_eq!(failure.kind, FailureKind::DiskExceeded);
    assert!(
        failure.message.contains("quota is 1048576 bytes"),
        "{failure:?}"
    );
}

async fn a_spooled_input_is_a_commands_standard_input(at: Isolation) {
    let rig = Rig::new(at);
    let path = rig.data.path().join("spooled");
    std::fs::write(&path, b"from a file").unwrap();
    let report = rig
        .run("read-stdin.wat", |run| {
            run.spec.input = GuestInput::File {
                content_type: "text/plain".into(),
                path,
            };
        })
        .await;
    assert_eq!(&output(report).body[..], b"from a file");
}
