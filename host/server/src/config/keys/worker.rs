//! The keys of `[worker]`.

use super::{Key, Kind, put_optional, shown};
use cofferdam_domain::worker::{BadName, Capability, WorkerName};

/// The most capabilities, and the most groups, that an operator may give to a worker.
const NAMES_MAX: usize = 31;

pub(super) fn keys() -> Vec<Key> {
    vec![
        Key {
            section: "worker",
            name: "name",
            doc: "This host's name in lists of workers, and for preferred_worker; that of the machine if empty.",
            kind: Kind::Text {
                form: "1 to 64 of A-Z a-z 0-9 . _ -",
                get: |config| shown(config.worker.name.as_ref()),
                set: |config, text| put_optional(&mut config.worker.name, text, WorkerName::parse),
            },
        },
        Key {
            section: "worker",
            name: "capabilities",
            doc: "What tasks may require of this host, besides cpu and sandbox, which every host has.",
            kind: Kind::Words {
                form: "up to 31 names of a-z 0-9 . _ -",
                get: |config| texts(&config.worker.capabilities),
                set: |config, words| {
                    let plain = |word: &&str| match Capability::parse(word)? {
                        capability if capability.group().is_some() => Err(BadName),
                        capability => Ok(capability),
                    };
                    put(&mut config.worker.capabilities, words, plain)
                },
            },
        },
        Key {
            section: "worker",
            name: "groups",
            doc: "The groups that this host belongs to; a task that requires group:NAME runs in that group only.",
            kind: Kind::Words {
                form: "up to 31 names of a-z 0-9 . _ -",
                get: |config| {
                    let groups = config.worker.groups.iter();
                    groups
                        .filter_map(Capability::group)
                        .map(str::to_owned)
                        .collect()
                },
                set: |config, words| {
                    put(&mut config.worker.groups, words, |word| {
                        Capability::of_group(word)
                    })
                },
            },
        },
    ]
}

fn texts(capabilities: &[Capability]) -> Vec<String> {
    capabilities
        .iter()
        .map(|capability| capability.as_str().to_owned())
        .collect()
}

/// Writes the field; false if a word is no name, or there are too many.
fn put(
    field: &mut Vec<Capability>,
    words: &[&str],
    read: impl Fn(&&str) -> Result<Capability, BadName>,
) -> bool {
    let read: Result<Vec<Capability>, BadName> = words.iter().map(read).collect();
    match read {
        Ok(read) if read.len() <= NAMES_MAX => {
            *field = read;
            true
        }
        Ok(_) | Err(BadName) => false,
    }
}
