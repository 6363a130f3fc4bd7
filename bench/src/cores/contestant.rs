//! The hosts: each with a number of guest processes, and an earlier version if one is named.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tempfile::TempDir;

use crate::cores::work::Work;
use crate::host::{Host, Start};
use crate::place::Place;

/// How long a host may take to be able to do a kind of work: with cold caches it compiles interpreters first.
const WARM_UP_MAX: Duration = Duration::from_secs(180);
/// How often a host that is not able yet is asked again.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// The variable for the number of guest processes.
const PROCESSES: &str = "COFFERDAM_SANDBOX_PROCESSES";
/// The core of the host that has one alone.
const CORE: usize = 0;

/// What distinguishes a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// So many processes on all cores.
    AllCores(usize),
    /// One process, and one core for everything.
    OneCore,
    /// An earlier version, which knows nothing of processes.
    Earlier,
}

/// A host that is measured.
pub(super) struct Contestant {
    pub(super) name: String,
    kind: Kind,
    host: Host,
    _data: TempDir,
}

/// The hosts for a machine with so many cores.
pub(super) fn all(
    place: &Place,
    earlier: Option<&Path>,
    cores: usize,
) -> anyhow::Result<Vec<Contestant>> {
    let kinds = numbers(cores).into_iter().map(Kind::AllCores);
    let mut kinds: Vec<Kind> = kinds.chain([Kind::OneCore]).collect();
    kinds.extend(earlier.map(|_program| Kind::Earlier));
    let start = |kind| Contestant::start(place, kind, earlier);
    kinds.into_iter().map(start).collect()
}

/// One process, twice as many each time, and one for each core.
fn numbers(cores: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(1), |number| Some(number * 2));
    let mut numbers: Vec<usize> = doubled.take_while(|number| *number < cores).collect();
    numbers.push(cores);
    numbers
}

impl Contestant {
    fn start(place: &Place, kind: Kind, earlier: Option<&Path>) -> anyhow::Result<Contestant> {
        let data = TempDir::new()?;
        let processes = |number: usize| vec![(PROCESSES, number.to_string())];
        let start = match kind {
            Kind::AllCores(number) => Start {
                environment: processes(number),
                ..Start::default()
            },
            Kind::OneCore => Start {
                environment: processes(1),
                core: Some(CORE),
                ..Start::default()
            },
            Kind::Earlier => Start {
                program: earlier.map(Path::to_owned),
                ..Start::default()
            },
        };
        Ok(Contestant {
            name: match kind {
                Kind::AllCores(1) => "1 process".to_owned(),
                Kind::AllCores(number) => format!("{number} processes"),
                Kind::OneCore => "1 process, one core".to_owned(),
                Kind::Earlier => "before".to_owned(),
            },
            kind,
            host: Host::start_with(place, data.path(), start)?,
            _data: data,
        })
    }

    /// How many processes it has, if it has all cores.
    pub(super) fn on_all_cores(&self) -> Option<usize> {
        match self.kind {
            Kind::AllCores(number) => Some(number),
            Kind::OneCore | Kind::Earlier => None,
        }
    }

    /// Whether it has one process and all cores.
    pub(super) fn is_base(&self) -> bool {
        self.kind == Kind::AllCores(1)
    }

    /// Whether it has one core alone.
    pub(super) fn is_on_one_core(&self) -> bool {
        self.kind == Kind::OneCore
    }

    /// Whether it is of an earlier version.
    pub(super) fn is_earlier(&self) -> bool {
        self.kind == Kind::Earlier
    }

    /// Where a kind of work is asked for.
    pub(super) fn url(&self, work: &Work) -> String {
        self.host.client.url(&self.path(work))
    }

    fn path(&self, work: &Work) -> String {
        match (self.kind, work.module()) {
            // Without the word, a module would be run in the host's own process.
            (Kind::AllCores(_) | Kind::OneCore, Some(_)) => {
                format!("{}?isolation=process", work.path)
            }
            (Kind::AllCores(_) | Kind::OneCore | Kind::Earlier, _) => work.path.to_owned(),
        }
    }

    /// Uploads what the work needs, waits until the host can do it, and checks its answer.
    pub(super) fn prepare(&self, place: &Place, work: &Work) -> anyhow::Result<()> {
        if let Some(module) = work.module() {
            let (content_type, bytes) = module.bytes(place)?;
            self.host.upload_bytes(module.name, content_type, &bytes)?;
        }
        let begun = Instant::now();
        let client = &self.host.client;
        let path = self.path(work);
        loop {
            let answer = client.post(&path, "application/json", work.body.as_bytes())?;
            if answer.status == 200 {
                return work.check(&answer.body);
            }
            ensure!(
                begun.elapsed() < WARM_UP_MAX,
                "{path} was answered with {}: {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
            std::thread::sleep(ASK_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_process_for_each_core_at_last() {
        assert_eq!(numbers(1), [1]);
        assert_eq!(numbers(2), [1, 2]);
        assert_eq!(numbers(6), [1, 2, 4, 6]);
    }
}
