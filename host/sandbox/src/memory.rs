//! How large the host's memory budget is, and how it is divided.

use cofferdam_domain::limits::MIB;
use cofferdam_domain::memory::{Budget, Share, Shares};

use crate::settings::SandboxConfig;

/// The budget that `config` decides, from which a server's bodies have `bodies`.
pub fn budget(config: &SandboxConfig, bodies: Share) -> Budget {
    let total_bytes = match config.memory_budget_bytes {
        0 => three_quarters_of_the_machine(),
        bytes => bytes,
    };
    let guests = match config.guests_reserved_bytes {
        0 => total_bytes / 2,
        bytes => bytes,
    };
    let shares = Shares {
        guests: Share::reserving(guests),
        compiles: Share::reserving(config.compiles_reserved_bytes),
        bodies,
    };
    Budget::new(total_bytes, shares)
}

/// Of the memory this process may use: the machine's, or its control group's if that is less.
fn three_quarters_of_the_machine() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| meminfo_total_bytes(&text))
        .unwrap_or(4 * 1024 * MIB);
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(u64::MAX);
    machine.min(group) / 4 * 3
}

fn meminfo_total_bytes(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
