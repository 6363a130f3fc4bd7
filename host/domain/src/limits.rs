//! Limits: what a run may use, and the ceilings the operator sets above them.
//!
//! A task names only the limits it cares about ([`LimitRequest`]); [`LimitPolicy::resolve`] fills
//! in the defaults and refuses what is above a ceiling. Inside the host there are only
//! resolved [`Limits`].

use std::time::Duration;

/// What one run may use, every axis decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time.
    pub timeout: Duration,
    /// CPU time.
    pub cpu: Duration,
    /// Fuel. A run with a fuel limit runs on the metered, deterministic engine.
    pub fuel: Option<u64>,
    /// Linear memories and tables together.
    pub memory_bytes: u64,
    /// Elements of all tables together.
    pub table_elements: u64,
    /// Files in `/work` and `/out` together.
    pub disk_bytes: u64,
    /// Files and directories in `/work` and `/out` together.
    pub disk_files: u64,
    /// The output payload.
    pub output_bytes: u64,
    /// Standard output kept; more is dropped.
    pub stdout_bytes: u64,
    /// Standard error kept; more is dropped.
    pub stderr_bytes: u64,
    /// Log text kept; more is dropped.
    pub log_bytes: u64,
    /// Host memory that a guest can make one host call take.
    pub hostcall_bytes: u64,
    /// Component-model handles at once.
    pub handles: u32,
    /// Host resources (files, streams, pollables) at once.
    pub resources: u32,
    /// Random bytes in one call.
    pub random_bytes: u64,
}

/// The limits a task may name for itself. An absent one takes the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitRequest {
    /// Wall-clock time.
    pub timeout: Option<Duration>,
    /// CPU time.
    pub cpu: Option<Duration>,
    /// Fuel.
    pub fuel: Option<u64>,
    /// Linear memories and tables together.
    pub memory_bytes: Option<u64>,
    /// Elements of all tables together.
    pub table_elements: Option<u64>,
    /// Bytes of files.
    pub disk_bytes: Option<u64>,
    /// Number of files.
    pub disk_files: Option<u64>,
    /// The output payload.
    pub output_bytes: Option<u64>,
}

/// Defaults and ceilings, as the operator configured them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitPolicy {
    /// The limits of a task that names none.
    pub defaults: Limits,
    /// The most a task may ask for. `fuel` is the most fuel; `None` means no ceiling.
    pub ceilings: Limits,
}

/// A task asked for more than the operator allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {asked}, above this host's ceiling of {ceiling}")]
pub struct AboveCeiling {
    /// The field as the API names it.
    pub field: &'static str,
    /// The requested value, in the field's unit.
    pub asked: u64,
    /// The most allowed, in the field's unit.
    pub ceiling: u64,
}

impl LimitPolicy {
    /// The same below further ceilings.
    pub fn below(&self, ceilings: &LimitRequest) -> LimitPolicy {
        fn least<T: Ord>(own: T, other: Option<T>) -> T {
            match other {
                Some(other) => own.min(other),
                None => own,
            }
        }
        let own = &self.ceilings;
        LimitPolicy {
            defaults: self.defaults,
            ceilings: Limits {
                timeout: least(own.timeout, ceilings.timeout),
                cpu: least(own.cpu, ceilings.cpu),
                fuel: match own.fuel {
                    Some(fuel) => Some(least(fuel, ceilings.fuel)),
                    None => ceilings.fuel,
                },
                memory_bytes: least(own.memory_bytes, ceilings.memory_bytes),
                table_elements: least(own.table_elements, ceilings.table_elements),
                disk_bytes: least(own.disk_bytes, ceilings.disk_bytes),
                disk_files: least(own.disk_files, ceilings.disk_files),
                output_bytes: least(own.output_bytes, ceilings.output_bytes),
                ..*own
            },
        }
    }

    /// The limits of a run that asks for `request`.
    pub fn resolve(&self, request: &LimitRequest) -> Result<Limits, AboveCeiling> {
        let (defaults, ceilings) = (&self.defaults, &self.ceilings);
        let number = |field, asked: Option<u64>, default: u64, ceiling: u64| match asked {
            None => Ok(default.min(ceiling)),
            Some(asked) if asked > ceiling => Err(AboveCeiling {
                field,
                asked,
                ceiling,
            }),
            Some(asked) => Ok(asked),
        };
        let time = |field, asked: Option<Duration>, default: Duration, ceiling: Duration| {
            number(field, asked.map(millis), millis(default), millis(ceiling))
                .map(Duration::from_millis)
        };
        let fuel = match (request.fuel, ceilings.fuel) {
            (Some(asked), Some(ceiling)) if asked > ceiling => {
                return Err(AboveCeiling {
                    field: "fuel",
                    asked,
                    ceiling,
                });
            }
            (Some(asked), _) => Some(asked),
            (None, Some(ceiling)) => defaults.fuel.map(|default| default.min(ceiling)),
            (None, None) => defaults.fuel,
        };
        Ok(Limits {
            timeout: time(
                "timeout_ms",
                request.timeout,
                defaults.timeout,
                ceilings.timeout,
            )?,
            cpu: time("cpu_ms", request.cpu, defaults.cpu, ceilings.cpu)?,
            fuel,
            memory_bytes: number(
                "memory_bytes",
                request.memory_bytes,
                defaults.memory_bytes,
                ceilings.memory_bytes,
            )?,
            table_elements: number(
                "table_elements",
                request.table_elements,
                defaults.table_elements,
                ceilings.table_elements,
            )?,
            disk_bytes: number(
                "disk_bytes",
                request.disk_bytes,
                defaults.disk_bytes,
                ceilings.disk_bytes,
            )?,
            disk_files: number(
                "disk_files",
                request.disk_files,
                defaults.disk_files,
                ceilings.disk_files,
            )?,
            output_bytes: number(
                "output_bytes",
                request.output_bytes,
                defaults.output_bytes,
                ceilings.output_bytes,
            )?,
            ..*defaults
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One mebibyte.
pub const MIB: u64 = 1024 * 1024;

impl Limits {
    /// The default limits.
    pub const DEFAULT: Limits = Limits {
        timeout: Duration::from_secs(30),
        cpu: Duration::from_secs(10),
        fuel: None,
        memory_bytes: 128 * MIB,
        table_elements: 20_000,
        disk_bytes: 64 * MIB,
        disk_files: 1024,
        output_bytes: 4 * MIB,
        stdout_bytes: MIB,
        stderr_bytes: MIB,
        log_bytes: MIB,
        hostcall_bytes: 8 * MIB,
        handles: 4096,
        resources: 4096,
        random_bytes: MIB,
    };

    /// The default ceilings.
    pub const CEILING: Limits = Limits {
        timeout: Duration::from_secs(60 * 60),
        cpu: Duration::from_secs(60 * 60),
        fuel: None,
        memory_bytes: 4096 * MIB,
        table_elements: 1_000_000,
        disk_bytes: 16 * 1024 * MIB,
        disk_files: 1_000_000,
        output_bytes: 64 * MIB,
        stdout_bytes: 64 * MIB,
        stderr_bytes: 64 * MIB,
        log_bytes: 64 * MIB,
        hostcall_bytes: 256 * MIB,
        handles: 100_000,
        resources: 100_000,
        random_bytes: 64 * MIB,
    };
}

impl Default for LimitPolicy {
    fn default() -> LimitPolicy {
        LimitPolicy {
            defaults: Limits::DEFAULT,
            ceilings: Limits::CEILING,
        }
    }
}

#[cfg(test)]
mod tests;
