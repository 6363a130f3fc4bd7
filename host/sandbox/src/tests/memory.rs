//! Memory: the guest's own, and the host's on its behalf.

use super::*;

everywhere! {
    memories_are_summed,
    a_guest_may_cope_with_a_refused_growth,
    a_module_that_declares_too_much_is_not_begun,
    table_elements_are_summed,
    host_resources_have_a_limit_each,
}

const MEMORY: u64 = 64 * MIB;

async fn memories_are_summed(at: Isolation) {
    let rig = Rig::new(at);
    for guest in ["grow-memory.wat", "grow-many-memories.wat"] {
        let report = rig
            .run(guest, |run| run.spec.limits.memory_bytes = MEMORY)
            .await;
        let peak = report.usage.peak_memory_bytes;
        assert!(peak <= MEMORY && peak > MEMORY - 2 * MIB, "{guest}: {peak}");
        let failure = failure(report);
        assert_eq!(failure.kind, FailureKind::MemoryExceeded, "{guest}");
        assert!(
            failure.message.contains(&format!("held {peak} bytes")),
            "{failure:?}"
        );
        assert!(
            failure.message.contains("67108864 are allowed"),
            "{failure:?}"
        );
    }
}

async fn a_guest_may_cope_with_a_refused_growth(at: Isolation) {
    let report = Rig::new(at)
        .run("grow-memory-and-cope.wat", |run| {
            run.spec.limits.memory_bytes = MEMORY
        })
        .await;
    assert!(
        matches!(report.outcome, Outcome::Completed(_)),
        "{report:?}"
    );
}

async fn a_module_that_declares_too_much_is_not_begun(at: Isolation) {
    let failure = Rig::new(at).fail("demand-memory.wat", |_| {}).await;
    assert_eq!(failure.kind, FailureKind::MemoryExceeded);
    assert!(
        failure.message.contains("asked for 1073741824 more"),
        "{failure:?}"
    );
}

async fn table_elements_are_summed(at: Isolation) {
    let failure = Rig::new(at).fail("grow-tables.wat", |_| {}).await;
    assert_eq!(failure.kind, FailureKind::MemoryExceeded);
    assert!(
        failure
            .message
            .contains("asked for 1000 more; 20000 are allowed"),
        "{failure:?}"
    );
}

async fn host_resources_have_a_limit_each(at: Isolation) {
    let rig = Rig::new(at);
    let cases = [
        ("leak-handles.wat", "holds 4096 handles"),
        ("poll-many.wat", "holds 500 host resources"),
        (
            "random.wat",
            "asked for 2097152 random bytes; 1048576 are allowed",
        ),
        ("progress.wat", "more than the 8388608 bytes"),
    ];
    for (guest, message) in cases {
        let began = Instant::now();
        let failure = rig.fail(guest, |run| run.spec.limits.resources = 500).await;
        assert!(began.elapsed() < GRACE * 2, "{guest}");
        assert_eq!(
            failure.kind,
            FailureKind::HostResourcesExceeded,
            "{guest}: {failure:?}"
        );
        assert!(failure.message.contains(message), "{guest}: {failure:?}");
    }
}
