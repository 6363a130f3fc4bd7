//! Which nodes of a final workflow wait again when it is tried again: one rule for every database.

use std::collections::{BTreeMap, BTreeSet};

use crate::Retry;
use crate::rows::Ends;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::workflow::RetryMode;

/// A node as it is before.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) state: TaskState,
    pub(crate) parents: Vec<u32>,
    pub(crate) instance_of: Option<u32>,
    /// Whether it has instances of its last run.
    pub(crate) has_instances: bool,
    /// How many of them may be under way, if that is bounded.
    pub(crate) at_once: Option<u32>,
    /// Whether it was not to run.
    pub(crate) is_skipped: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// The nodes that wait again, by place, and for how many others; an instance also for its turn.
    pub(crate) reset: BTreeMap<u32, u32>,
    /// Those of them that wait for their instances, some of which did not complete.
    pub(crate) waiting_for_instances: BTreeSet<u32>,
    /// Instances that are no nodes any more: their node makes new ones.
    pub(crate) forgotten: Vec<u32>,
}

/// Decides it; an error is the name of a node that is not there.
pub(crate) fn again(nodes: &BTreeMap<u32, Ended>, retry: &Retry) -> Result<Again, String> {
    let chosen = chosen(nodes, retry)?;
    let mut again = Again::default();
    for place in &chosen {
        let Some(node) = nodes.get(place) else {
            continue;
        };
        let waits_for = node
            .parents
            .iter()
            .filter(|parent| chosen.contains(*parent));
        let mut remaining = waits_for.count();
        if node.has_instances {
            let instances = nodes
                .iter()
                .filter(|(_, it)| it.instance_of == Some(*place));
            let left = instances.clone().filter(|(_, it)| !is_completed(it));
            let left: Vec<u32> = left.map(|(place, _)| *place).collect();
            let begins_anew = remaining > 0
                || left.is_empty()
                || is_completed(node)
                || retry.mode == RetryMode::All;
            match begins_anew {
                true => again.forgotten.extend(instances.map(|(place, _)| *place)),
                false => {
                    remaining = left.len();
                    again.waiting_for_instances.insert(*place);
                    let waits = |turn| node.at_once.is_some_and(|at_once| turn >= at_once.max(1));
                    let turns = (0..)
                        .zip(left)
                        .map(|(turn, place)| (place, u32::from(waits(turn))));
                    again.reset.extend(turns);
                }
            }
        }
        again
            .reset
            .insert(*place, u32::try_from(remaining).unwrap_or(u32::MAX));
    }
    Ok(again)
}

impl Again {
    /// How the nodes ended that stay as they are.
    pub(crate) fn kept(&self, nodes: &BTreeMap<u32, Ended>) -> Ends {
        let mut ends = Ends::default();
        let kept = nodes.iter().filter(|(place, _)| {
            !self.reset.contains_key(place) && !self.forgotten.contains(place)
        });
        for (_, node) in kept {
            ends.add(node.state, node.is_skipped, node.instance_of.is_some());
        }
        ends
    }
}

/// The nodes that are tried again, without instances.
fn chosen(nodes: &BTreeMap<u32, Ended>, retry: &Retry) -> Result<BTreeSet<u32>, String> {
    let own = || nodes.iter().filter(|(_, node)| node.instance_of.is_none());
    let mut chosen = BTreeSet::new();
    for name in &retry.from {
        let found = own().find(|(_, node)| node.name == *name);
        let (place, _) = found.ok_or_else(|| name.clone())?;
        chosen.insert(*place);
    }
    if retry.from.is_empty() {
        let begins = own().filter(|(_, node)| retry.mode == RetryMode::All || !is_completed(node));
        chosen.extend(begins.map(|(place, _)| *place));
    }
    let mut kids: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (place, node) in own() {
        for parent in &node.parents {
            kids.entry(*parent).or_default().push(*place);
        }
    }
    // Whatever comes behind one that is tried again and did not complete is tried again too.
    let mut left: Vec<u32> = chosen.iter().copied().collect();
    while let Some(place) = left.pop() {
        for kid in kids.get(&place).into_iter().flatten() {
            let goes_along = retry.mode != RetryMode::Failed
                || nodes.get(kid).is_some_and(|node| !is_completed(node));
            if goes_along && chosen.insert(*kid) {
                left.push(*kid);
            }
        }
    }
    Ok(chosen)
}

fn is_completed(node: &Ended) -> bool {
    node.state == TaskState::Completed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// a → b → c, a → d; b failed and c was skipped.
    fn nodes() -> BTreeMap<u32, Ended> {
        let node = |name: &str, state, parents: &[u32]| Ended {
            name: name.to_owned(),
            state,
            parents: parents.to_vec(),
            instance_of: None,
            has_instances: false,
            at_once: None,
            is_skipped: false,
        };
        BTreeMap::from([
            (0, node("a", TaskState::Completed, &[])),
            (1, node("b", TaskState::Failed, &[0])),
            (2, node("c", TaskState::Cancelled, &[1])),
            (3, node("d", TaskState::Completed, &[0, 1])),
        ])
    }

    fn reset(mode: RetryMode, from: &[&str]) -> Vec<(u32, u32)> {
        let retry = Retry {
            mode,
            from: from.iter().map(|name| (*name).to_owned()).collect(),
        };
        let again = again(&nodes(), &retry).unwrap();
        again.reset.into_iter().collect()
    }

    #[test]
    fn each_mode_takes_more_with_it() {
        assert_eq!(reset(RetryMode::Failed, &[]), [(1, 0), (2, 1)]);
        let downstream = reset(RetryMode::FailedAndDownstream, &[]);
        assert_eq!(downstream, [(1, 0), (2, 1), (3, 1)]);
        let all = reset(RetryMode::All, &[]);
        assert_eq!(all, [(0, 0), (1, 1), (2, 1), (3, 2)]);
        assert_eq!(reset(RetryMode::Failed, &["c"]), [(2, 0)]);
        let unknown = Retry {
            mode: RetryMode::All,
            from: vec!["x".to_owned()],
        };
        assert_eq!(again(&nodes(), &unknown), Err("x".to_owned()));
    }

    #[test]
    fn instances_that_completed_stay_unless_their_node_begins_anew() {
        let mut nodes = nodes();
        nodes.get_mut(&1).unwrap().has_instances = true;
        for (place, state) in [(4, TaskState::Completed), (5, TaskState::Failed)] {
            let instance = Ended {
                name: format!("b[{place}]"),
                state,
                parents: Vec::new(),
                instance_of: Some(1),
                has_instances: false,
                at_once: None,
                is_skipped: false,
            };
            nodes.insert(place, instance);
        }
        let of = |mode| {
            let retry = Retry { mode, from: vec![] };
            again(&nodes, &retry).unwrap()
        };
        let failed = of(RetryMode::Failed);
        assert_eq!(failed.reset, BTreeMap::from([(1, 1), (2, 1), (5, 0)]));
        assert_eq!(failed.waiting_for_instances, BTreeSet::from([1]));
        let all = of(RetryMode::All);
        assert_eq!(all.forgotten, [4, 5]);
        assert_eq!(all.reset.get(&1), Some(&1));
    }
}
