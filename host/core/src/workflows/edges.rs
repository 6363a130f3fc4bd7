//! Schemas along edges: where a node takes in what another one gives, and both modules have schemas, what can never fit
//! is refused before anything runs. What can be told of two schemas is `registry`'s to say.

use std::collections::HashMap;

use super::WorkflowError;
use crate::nodes::pointer::Pointer;
use crate::queue::Queue;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::step::Step;
use cofferdam_storage::NewNode;

/// What the output of a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Gives {
    /// Nobody knows.
    #[default]
    Unknown,
    /// That of its module.
    Output,
    /// A list of those of its module.
    List,
}

/// That a node takes in what another one gives, and fails if that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Takes {
    /// The one that gives.
    pub(super) from: String,
    /// Where in its output.
    pub(super) pointer: Pointer,
    /// Where that is put in the input of the module; none if it is what `map` goes through.
    pub(super) place: Option<Vec<Step>>,
}

/// All of that of one workflow.
#[derive(Default)]
pub(super) struct Uses {
    /// By name: where a node is, and what it gives.
    gives: HashMap<String, (usize, Gives)>,
    takes: Vec<(usize, Takes)>,
}

impl Uses {
    /// Notes the next node.
    pub(super) fn add(&mut self, name: &str, gives: Gives, takes: Vec<Takes>) {
        let place = self.gives.len();
        self.gives.insert(name.to_owned(), (place, gives));
        self.takes.extend(takes.into_iter().map(|it| (place, it)));
    }

    /// Refuses what can never fit.
    pub(super) async fn check(
        &self,
        queue: &Queue,
        caller: &Caller,
        nodes: &[NewNode],
    ) -> Result<(), WorkflowError> {
        for (place, takes) in &self.takes {
            let Some((from, is_list)) = self.known(&takes.from) else {
                continue;
            };
            let (Some(from), Some(to)) = (nodes.get(from), nodes.get(*place)) else {
                continue;
            };
            let place = takes.place.as_deref();
            let into = place.map(|place| (&to.task.spec, place));
            let passed = (&takes.pointer, is_list);
            let never = queue.never_fits(caller, &from.task.spec, passed, into);
            if let Some(why) = never.await {
                let at = match takes.pointer.is_whole() {
                    true => String::new(),
                    false => format!(" at {}", takes.pointer),
                };
                return Err(WorkflowError::Edge {
                    from: from.name.clone(),
                    to: to.name.clone(),
                    at,
                    why,
                });
            }
        }
        Ok(())
    }

    /// Where a node is whose output is known, and whether that is a list.
    fn known(&self, name: &str) -> Option<(usize, bool)> {
        let (place, gives) = self.gives.get(name)?;
        match gives {
            Gives::Unknown => None,
            Gives::Output => Some((*place, false)),
            Gives::List => Some((*place, true)),
        }
    }
}
