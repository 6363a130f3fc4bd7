//! Isolation: what surrounds a run besides its sandbox.
//!
//! A run asks for it or leaves it to the operator; [`IsolationPolicy::resolve`] is the only place that
//! decides. Unlike a limit, it is never refused: whoever asks for less than the operator wants gets more.

use std::time::Duration;

use crate::limits::Limits;
use crate::module::ModuleKind;

/// What surrounds a run besides its sandbox, the weaker first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// The host's own process, which it shares with other runs: starting it costs the least.
    #[default]
    Shared,
    /// A jailed child process: a defect of the runtime stays in it, and the kernel can end it.
    Process,
    /// Such a process that no other run has at the same time. An uploaded module's code has no checks in
    /// its loops there, because the end of the process ends it: long computations take less time.
    Dedicated,
}

impl Isolation {
    /// Every isolation, the weakest first.
    pub const ALL: [Isolation; 3] = [Isolation::Shared, Isolation::Process, Isolation::Dedicated];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Isolation::Shared => "shared",
            Isolation::Process => "process",
            Isolation::Dedicated => "dedicated",
        }
    }

    /// The isolation of that word.
    pub fn parse(word: &str) -> Option<Isolation> {
        Isolation::ALL
            .into_iter()
            .find(|isolation| isolation.as_str() == word)
    }
}

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsolationPolicy {
    /// That of a run that asks for none. Without one the host chooses: runs of modules whose last runs were
    /// long are isolated.
    pub default: Option<Isolation>,
    /// The least that any run has.
    pub floor: Isolation,
    /// An isolated run of an uploaded module has a process for itself if its limit of CPU time is above
    /// this: it says that it computes for long.
    pub dedicated_above: Duration,
}

impl Default for IsolationPolicy {
    fn default() -> IsolationPolicy {
        IsolationPolicy {
            default: None,
            floor: Isolation::Shared,
            dedicated_above: Limits::DEFAULT.cpu,
        }
    }
}

/// What is known of a module's last runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Habit {
    /// They were short, or there were none.
    #[default]
    Short,
    /// They computed for so long that crossing into a process would have cost them nothing.
    Long,
}

impl IsolationPolicy {
    /// The isolation of a run of a module of that kind and habit, under these limits, that asks for
    /// `asked`.
    pub fn resolve(
        &self,
        asked: Option<Isolation>,
        kind: ModuleKind,
        habit: Habit,
        limits: &Limits,
    ) -> Isolation {
        let chosen = || match habit {
            Habit::Short => Isolation::Shared,
            Habit::Long => Isolation::Process,
        };
        let wanted = asked.or(self.default).unwrap_or_else(chosen);
        let given = wanted.max(self.floor).max(least(kind));
        match given {
            Isolation::Process if self.is_heavy(kind, limits) => Isolation::Dedicated,
            Isolation::Shared | Isolation::Process | Isolation::Dedicated => given,
        }
    }

    /// Whether a run says that it computes for long, and would do so faster in a process for itself. One
    /// that counts fuel would not, and neither would an interpreter's.
    fn is_heavy(&self, kind: ModuleKind, limits: &Limits) -> bool {
        match kind {
            ModuleKind::Interpreter(_) | ModuleKind::Script(_) => false,
            ModuleKind::Task | ModuleKind::Command | ModuleKind::CoreCommand => {
                limits.fuel.is_none() && limits.cpu > self.dedicated_above
            }
        }
    }
}

/// The least that a module of that kind runs in: interpreters write to so many pages that runs of one
/// process would slow each other down, whatever an operator wants.
const fn least(kind: ModuleKind) -> Isolation {
    match kind {
        ModuleKind::Interpreter(_) | ModuleKind::Script(_) => Isolation::Process,
        ModuleKind::Task | ModuleKind::Command | ModuleKind::CoreCommand => Isolation::Shared,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Language;
    use Isolation::{Dedicated, Process, Shared};

    const UPLOADED: [ModuleKind; 3] = [
        ModuleKind::Task,
        ModuleKind::Command,
        ModuleKind::CoreCommand,
    ];

    /// What runs that ask for nothing, and for each isolation in turn, are given.
    fn resolved(policy: IsolationPolicy, kind: ModuleKind, habit: Habit) -> [Isolation; 4] {
        let asked = [None, Some(Shared), Some(Process), Some(Dedicated)];
        asked.map(|asked| policy.resolve(asked, kind, habit, &Limits::DEFAULT))
    }

    fn policy(default: Option<Isolation>, floor: Isolation) -> IsolationPolicy {
        IsolationPolicy {
            default,
            floor,
            ..IsolationPolicy::default()
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for isolation in Isolation::ALL {
            assert_eq!(Isolation::parse(isolation.as_str()), Some(isolation));
        }
        assert_eq!(Isolation::parse("Shared"), None);
        assert_eq!(Isolation::parse(""), None);
    }

    #[test]
    fn a_run_has_what_it_asks_for_or_the_default() {
        for (kind, habit) in UPLOADED
            .into_iter()
            .flat_map(|kind| [(kind, Habit::Short), (kind, Habit::Long)])
        {
            for default in Isolation::ALL {
                let given = resolved(policy(Some(default), Shared), kind, habit);
                assert_eq!(given, [default, Shared, Process, Dedicated]);
            }
        }
    }

    #[test]
    fn without_a_default_the_host_goes_by_the_last_runs() {
        for kind in UPLOADED {
            let given = |habit| resolved(policy(None, Shared), kind, habit);
            assert_eq!(given(Habit::Short), [Shared, Shared, Process, Dedicated]);
            assert_eq!(given(Habit::Long), [Process, Shared, Process, Dedicated]);
        }
    }

    #[test]
    fn a_run_below_the_floor_is_raised_to_it() {
        for default in [None, Some(Shared), Some(Process)] {
            let given = resolved(policy(default, Process), ModuleKind::Task, Habit::Short);
            assert_eq!(given, [Process, Process, Process, Dedicated]);
        }
        let given = resolved(policy(None, Dedicated), ModuleKind::Task, Habit::Short);
        assert_eq!(given, [Dedicated; 4]);
    }

    #[test]
    fn interpreters_and_scripts_run_in_processes_whatever_is_asked() {
        for language in [Language::Python, Language::JavaScript] {
            for kind in [
                ModuleKind::Interpreter(language),
                ModuleKind::Script(language),
            ] {
                let given = resolved(policy(Some(Shared), Shared), kind, Habit::Short);
                assert_eq!(given, [Process, Process, Process, Dedicated]);
            }
        }
    }

    #[test]
    fn an_isolated_run_that_may_compute_for_long_has_a_process_for_itself() {
        let policy = IsolationPolicy::default();
        let given =
            |asked, kind, limits: Limits| policy.resolve(asked, kind, Habit::Short, &limits);
        let heavy = Limits {
            cpu: Limits::DEFAULT.cpu + Duration::from_millis(1),
            ..Limits::DEFAULT
        };
        for kind in UPLOADED {
            assert_eq!(given(Some(Process), kind, Limits::DEFAULT), Process);
            assert_eq!(given(Some(Process), kind, heavy), Dedicated);
            assert_eq!(given(Some(Shared), kind, heavy), Shared);
            let metered = Limits {
                fuel: Some(1),
                ..heavy
            };
            assert_eq!(given(Some(Process), kind, metered), Process);
        }
        let python = ModuleKind::Interpreter(Language::Python);
        assert_eq!(given(None, python, heavy), Process);
    }
}
