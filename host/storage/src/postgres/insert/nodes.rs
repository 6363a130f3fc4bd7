//! The columns of nodes beside those of their tasks, as the same statement takes them.

use uuid::Uuid;

use crate::StorageError;
use crate::postgres::params::{Params, params, text};
use crate::postgres::settle::number;
use crate::rows::state_number;
use cofferdam_domain::state::TaskState;

/// What a node has besides its task.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct NodeRow {
    pub(in crate::postgres) workflow: Uuid,
    pub(in crate::postgres) is_paused: bool,
    pub(in crate::postgres) place: u32,
    pub(in crate::postgres) name: String,
    pub(in crate::postgres) remaining: u32,
    pub(in crate::postgres) parents: Vec<u32>,
    pub(in crate::postgres) kids: Vec<u32>,
    pub(in crate::postgres) instance_of: Option<u32>,
    pub(in crate::postgres) plan: Option<String>,
}

impl NodeRow {
    /// The state of its task at first.
    pub(super) fn state(&self) -> TaskState {
        match self.remaining > 0 || self.is_paused {
            true => TaskState::Blocked,
            false => TaskState::Pending,
        }
    }
}

/// The last parameters of a statement for these nodes.
pub(super) fn node_params(nodes: &[&NodeRow]) -> Result<Params, StorageError> {
    let nodes = nodes.iter();
    let workflows: Vec<Uuid> = nodes.clone().map(|node| node.workflow).collect();
    let places: Result<Vec<i32>, _> = nodes.clone().map(|node| number(node.place)).collect();
    let remaining = nodes.clone().map(|node| number(node.remaining));
    let remaining: Result<Vec<i32>, _> = remaining.collect();
    let instance_of = nodes.clone();
    let instance_of = instance_of.map(|node| node.instance_of.map(number).transpose());
    let instance_of: Result<Vec<Option<i32>>, _> = instance_of.collect();
    let states = nodes.clone().map(|node| state_number(node.state()).into());
    let states: Vec<i16> = states.collect();
    let names: Vec<String> = nodes.clone().map(|node| text(&node.name)).collect();
    let parents: Vec<String> = nodes.clone().map(|node| array(&node.parents)).collect();
    let kids: Vec<String> = nodes.clone().map(|node| array(&node.kids)).collect();
    let plans = nodes.map(|node| node.plan.as_deref().map(text));
    let plans: Vec<Option<String>> = plans.collect();
    Ok(params![
        workflows,
        places?,
        states,
        names,
        remaining?,
        parents,
        kids,
        instance_of?,
        plans,
    ])
}

/// An array as the database writes it: no column of arrays is unfolded otherwise.
fn array(places: &[u32]) -> String {
    let places: Vec<String> = places.iter().map(u32::to_string).collect();
    format!("{{{}}}", places.join(","))
}
