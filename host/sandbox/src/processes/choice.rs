//! Which of a module's processes a run gets. Starting another is the pool's.

use std::sync::Arc;

use super::hearing::this_thread;
use super::messages::Dir;
use super::process::{Phase, Process};

/// What there is for a run.
pub(super) struct Choice {
    /// Processes that have its directories, and that no run has for itself.
    pub(super) there_are: usize,
    /// The best of them, and how many runs the least busy one has.
    pub(super) best: Option<(usize, Arc<Process>)>,
}

/// The choice for a run with these directories: the process with the fewest runs of those that are ready, and
/// where several are as good, or all are busy, rather the one that this thread uses anyway and hears already.
pub(super) fn among(members: &[Arc<Process>], dirs: &[Dir]) -> Choice {
    let fit = members.iter().filter(|process| process.dirs == dirs);
    let fit: Vec<&Arc<Process>> = fit.filter(|process| !process.is_taken()).collect();
    let is_ready = |process: &Process| matches!(*process.phase.borrow(), Phase::Ready);
    let least = fit
        .iter()
        .filter_map(|process| {
            let load = process.load()?;
            Some((!is_ready(process), load, *process))
        })
        .min_by_key(|(waits, load, _)| (*waits, *load));
    let best = least.map(|(_, load, process)| {
        let most = if load == 0 { 0 } else { load + 1 };
        let usual = fit[this_thread() % fit.len()];
        let is_as_good = is_ready(usual) && usual.load().is_some_and(|load| load <= most);
        let chosen = if is_as_good { usual } else { process };
        (load, Arc::clone(chosen))
    });
    Choice {
        there_are: fit.len(),
        best,
    }
}
