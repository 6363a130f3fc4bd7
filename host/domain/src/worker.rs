//! Workers: the host processes that run tasks, as they tell of themselves.
//!
//! When a silent worker counts as dead is decided here, so that a list of workers and a rescue agree.
//! How a worker tells of itself, and who keeps it, is decided elsewhere.

use std::fmt;
use std::sync::Arc;

use crate::attempt::WorkerId;
use crate::time::Timestamp;

/// The most capabilities of a worker, its groups included.
pub const CAPABILITIES_MAX: usize = 64;

/// Something that a worker has and a task may require: `[a-z0-9][a-z0-9._-]{0,63}`, or such a name
/// after `group:`, which says that the worker belongs to that group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(String);

impl Capability {
    /// The longest name, without `group:`.
    pub const NAME_BYTES_MAX: usize = 64;
    const GROUP: &str = "group:";

    /// What every worker has.
    pub fn of_every_worker() -> Vec<Capability> {
        ["cpu", "sandbox"]
            .map(|name| Capability(name.to_owned()))
            .into()
    }

    /// Reads a capability.
    pub fn parse(text: &str) -> Result<Capability, BadName> {
        let name = text.strip_prefix(Capability::GROUP).unwrap_or(text);
        check_name(name, false)?;
        Ok(Capability(text.to_owned()))
    }

    /// What a worker of the group of that name has.
    pub fn of_group(name: &str) -> Result<Capability, BadName> {
        check_name(name, false)?;
        Ok(Capability(format!("{}{name}", Capability::GROUP)))
    }

    /// The name of the group, if it says that the worker belongs to one.
    pub fn group(&self) -> Option<&str> {
        self.0.strip_prefix(Capability::GROUP)
    }

    /// As the API writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The operator's name for a worker, which stays when its process is started again:
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`. Several workers may have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerName(String);

impl WorkerName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<WorkerName, BadName> {
        check_name(text, true)?;
        Ok(WorkerName(text.to_owned()))
    }

    /// The name that is nearest to that of a machine.
    pub fn of_machine(name: &str) -> WorkerName {
        let is_allowed = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let allowed: String = name.chars().filter(is_allowed).collect();
        let name = allowed.trim_start_matches(['.', '_', '-']);
        let name: String = name.chars().take(Capability::NAME_BYTES_MAX).collect();
        match name.is_empty() {
            true => WorkerName("worker".to_owned()),
            false => WorkerName(name),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text is not the name of a worker, a group or a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit")]
pub struct BadName;

fn check_name(text: &str, capitals: bool) -> Result<(), BadName> {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || (capitals && byte.is_ascii_uppercase())
    };
    let begins_well = text.bytes().next().is_some_and(is_plain);
    let is_allowed = |byte: u8| is_plain(byte) || b"._-".contains(&byte);
    match begins_well && text.len() <= Capability::NAME_BYTES_MAX && text.bytes().all(is_allowed) {
        true => Ok(()),
        false => Err(BadName),
    }
}

/// Where others reach a worker's API: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// The longest address, in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Reads an address; a slash at its end is left out.
    pub fn parse(text: &str) -> Result<Address, BadAddress> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let scheme = ["http://", "https://"];
        let rest = scheme.iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.ok_or(BadAddress)?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(BadAddress)?;
                address
                    .parse::<core::net::Ipv6Addr>()
                    .map_err(|_| BadAddress)?;
                let port = match after {
                    "" => None,
                    after => Some(after.strip_prefix(':').ok_or(BadAddress)?),
                };
                (address, port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (check_host(host)?, Some(port)),
                None => (check_host(rest)?, None),
            },
        };
        let is_port = |port: &str| {
            port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        match !host.is_empty() && port.is_none_or(is_port) && text.len() <= Address::BYTES_MAX {
            true => Ok(Address(text.to_owned())),
            false => Err(BadAddress),
        }
    }

    /// The address as text, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_host(host: &str) -> Result<&str, BadAddress> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match host.bytes().all(is_allowed) {
        true => Ok(host),
        false => Err(BadAddress),
    }
}

/// The text is not the address of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address is http:// or https://, a host and a port if it is not the usual one, and nothing more"
)]
pub struct BadAddress;

/// How a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// It takes tasks and has none.
    Idle,
    /// It has tasks.
    Running,
    /// It takes no more tasks and finishes those it has.
    Draining,
    /// It cannot record what becomes of its tasks.
    Error,
    /// It has ended, or was not heard of for so long that it is taken for dead.
    Terminated,
}

impl WorkerState {
    /// Every state.
    pub const ALL: [WorkerState; 5] = [
        WorkerState::Idle,
        WorkerState::Running,
        WorkerState::Draining,
        WorkerState::Error,
        WorkerState::Terminated,
    ];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            WorkerState::Idle => "idle",
            WorkerState::Running => "running",
            WorkerState::Draining => "draining",
            WorkerState::Error => "error",
            WorkerState::Terminated => "terminated",
        }
    }
}

/// What a worker is from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The operator's name for it.
    pub name: WorkerName,
    /// Where others reach its API, if they can.
    pub address: Option<Address>,
    /// What it has, groups included, in order and each once.
    pub capabilities: Vec<Capability>,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
}

/// What a worker tells of itself when it is heard of.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Which one.
    pub worker: WorkerId,
    /// What it is.
    pub profile: Arc<Profile>,
    /// Attempts that it may run at once.
    pub slots: u32,
    /// Attempts that it runs.
    pub load: u32,
    /// How it is.
    pub state: WorkerState,
}

/// A worker as others know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// This process: the same host has another id after a restart.
    pub id: WorkerId,
    /// What it is.
    pub profile: Profile,
    /// Attempts that it may run at once.
    pub slots: u32,
    /// Attempts that it ran when it was last heard of.
    pub load: u32,
    /// How it was then.
    pub told: WorkerState,
    /// Whether it was asked to take no more tasks.
    pub drain_asked: bool,
    /// When it was last heard of.
    pub heard_at: Timestamp,
}

impl Worker {
    /// How it is, if those that were last heard of before `dead_before` are taken for dead.
    pub fn state(&self, dead_before: Timestamp) -> WorkerState {
        match self.told {
            WorkerState::Terminated => WorkerState::Terminated,
            _ if self.heard_at < dead_before => WorkerState::Terminated,
            WorkerState::Idle | WorkerState::Running if self.drain_asked => WorkerState::Draining,
            told @ (WorkerState::Idle
            | WorkerState::Running
            | WorkerState::Draining
            | WorkerState::Error) => told,
        }
    }

    /// The groups that it belongs to.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.profile
            .capabilities
            .iter()
            .filter_map(Capability::group)
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
