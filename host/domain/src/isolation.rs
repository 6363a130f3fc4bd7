//! Isolation: what surrounds a run besides its sandbox.
//!
//! A run asks for it or leaves it to the operator; [`IsolationPolicy::resolve`] is the only place that
//! decides. Unlike a limit, it is never refused: whoever asks for less than the operator wants gets more.

use crate::module::ModuleKind;

/// What surrounds a run besides its sandbox, the weaker first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// The host's own process, which it shares with other runs: starting it costs the least.
    #[default]
    Shared,
    /// A jailed child process: a defect of the runtime stays in it, and the kernel can end it.
    Process,
}

impl Isolation {
    /// Every isolation, the weakest first.
    pub const ALL: [Isolation; 2] = [Isolation::Shared, Isolation::Process];

    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Isolation::Shared => "shared",
            Isolation::Process => "process",
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IsolationPolicy {
    /// That of a run that asks for none.
    pub default: Isolation,
    /// The least that any run has.
    pub floor: Isolation,
}

impl IsolationPolicy {
    /// The isolation of a run of a module of that kind that asks for `asked`.
    pub fn resolve(&self, asked: Option<Isolation>, kind: ModuleKind) -> Isolation {
        let wanted = asked.unwrap_or(self.default);
        wanted.max(self.floor).max(least(kind))
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

    const SHARED: Option<Isolation> = Some(Isolation::Shared);
    const PROCESS: Option<Isolation> = Some(Isolation::Process);

    fn resolved(
        (default, floor): (Isolation, Isolation),
        kind: ModuleKind,
    ) -> [(Option<Isolation>, Isolation); 3] {
        let policy = IsolationPolicy { default, floor };
        [None, SHARED, PROCESS].map(|asked| (asked, policy.resolve(asked, kind)))
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
        use Isolation::{Process, Shared};
        let kinds = [
            ModuleKind::Task,
            ModuleKind::Command,
            ModuleKind::CoreCommand,
        ];
        for kind in kinds {
            let none = resolved((Shared, Shared), kind);
            assert_eq!(none, [(None, Shared), (SHARED, Shared), (PROCESS, Process)]);
            let default = resolved((Process, Shared), kind);
            assert_eq!(
                default,
                [(None, Process), (SHARED, Shared), (PROCESS, Process)]
            );
        }
    }

    #[test]
    fn a_run_below_the_floor_is_raised_to_it() {
        use Isolation::{Process, Shared};
        let all = [(None, Process), (SHARED, Process), (PROCESS, Process)];
        for default in Isolation::ALL {
            assert_eq!(resolved((default, Process), ModuleKind::Task), all);
        }
        assert_eq!(
            IsolationPolicy::default().resolve(None, ModuleKind::Task),
            Shared
        );
    }

    #[test]
    fn interpreters_and_scripts_run_in_processes_whatever_is_asked() {
        use Isolation::{Process, Shared};
        let all = [(None, Process), (SHARED, Process), (PROCESS, Process)];
        for language in [Language::Python, Language::JavaScript] {
            for kind in [
                ModuleKind::Interpreter(language),
                ModuleKind::Script(language),
            ] {
                assert_eq!(resolved((Shared, Shared), kind), all);
            }
        }
    }
}
