//! The CPU cost of a run's work on files: measured where it happens on a separate thread, estimated
//! where it does not.

use std::sync::Arc;

use wasmtime_wasi::runtime::spawn_blocking;

use crate::meter::Meter;

/// The estimated cost of a file read besides its bytes.
const READ_NS: u64 = 2_000;

/// Bytes copied in a nanosecond.
const BYTES_PER_NS: u64 = 8;

/// Does `work` on a blocking thread and charges it.
pub(super) async fn charged<T: Send + 'static>(
    meter: &Arc<Meter>,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let meter = Arc::clone(meter);
    spawn_blocking(move || meter.charging(work)).await
}

/// Charges a read whose cost could not be measured.
pub(super) fn charge_read(meter: &Meter, bytes: u64) {
    meter.charge(std::time::Duration::from_nanos(
        READ_NS + bytes / BYTES_PER_NS,
    ));
}
