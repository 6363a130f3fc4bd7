//! Memory and CPU time of this process.
//!
//! They are read from `/proc`, which is in the kernel's memory and never waits for a disk. If it
//! cannot be read, the figures are zero.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Reads the figures, and remembers the last reading to tell the CPU share since then.
#[derive(Debug)]
pub struct ProcessFigures {
    last: Mutex<(Instant, Duration)>,
}

impl ProcessFigures {
    /// The shortest interval of a CPU share.
    const INTERVAL_MIN: Duration = Duration::from_millis(100);

    /// Starts measuring.
    pub fn new() -> ProcessFigures {
        ProcessFigures {
            last: Mutex::new((Instant::now(), cpu_time())),
        }
    }

    /// The share of one core used since the last call, in percent.
    pub fn cpu_percent(&self) -> f64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, used) = (Instant::now(), cpu_time());
        let interval = now.duration_since(last.0).max(ProcessFigures::INTERVAL_MIN);
        let share = used.saturating_sub(last.1).as_secs_f64() / interval.as_secs_f64();
        *last = (now, used);
        share * 100.0
    }

    /// Resident memory.
    pub fn resident_bytes(&self) -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm")
            .ok()
            .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        pages
            .unwrap_or(0)
            .saturating_mul(rustix::param::page_size() as u64)
    }
}

impl Default for ProcessFigures {
    fn default() -> ProcessFigures {
        ProcessFigures::new()
    }
}

/// User and system time of all threads of this process, including ended ones.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_uses_cpu_and_memory() {
        let figures = ProcessFigures::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        assert!(figures.cpu_percent() > 0.0);
        assert!(figures.resident_bytes() > 100_000);
    }
}
