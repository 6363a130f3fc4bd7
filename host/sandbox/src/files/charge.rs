//! What work on files costs a run: measured where it is done on a thread of its own, reckoned where
//! it is not.

use std::sync::Arc;

use wasmtime_wasi::runtime::spawn_blocking;

use crate::meter::Meter;

/// What a read of a file costs beside its bytes where it cannot be measured.
const READ_NS: u64 = 2_000;

/// Bytes that are copied in a nanosecond.
const BYTES_PER_NS: u64 = 8;

/// Does `work` on a blocking thread and charges it.
pub(super) async fn charged<T: Send + 'static>(
    meter: &Arc<Meter>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let meter = Arc::clone(meter);
    spawn_blocking(move || meter.charging(work)).await
}

/// Charges a read that was done where it could not be measured.
pub(super) fn charge_read(meter: &Meter, bytes: u64) {
    meter.charge(std::time::Duration::from_nanos(
        READ_NS + bytes / BYTES_PER_NS,
    ));
}
