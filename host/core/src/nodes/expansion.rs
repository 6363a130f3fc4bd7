//! A node with `map`: its instances, of which each has its element in its input.
//!
//! References to other nodes stay in these inputs, so that an instance reads outputs as its node would have.

use serde_json::value::RawValue;

use super::plan::{Map, Plan};
use super::template::{Source, Template};
use super::values::Values;
use super::{Decision, invalid, with_body};
use cofferdam_domain::attempt::Failure;
use cofferdam_domain::claim::Claim;
use cofferdam_domain::task::{NewTask, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::workflow::ClaimedNode;
use cofferdam_storage::{NewNode, Park};

/// A node with `map` whose instances are made.
pub(super) struct Expansion<'a> {
    pub(super) claim: &'a Claim,
    pub(super) node: &'a ClaimedNode,
    pub(super) plan: &'a Plan,
    pub(super) template: &'a Template,
    pub(super) now: Timestamp,
}

impl Expansion<'_> {
    /// The instances, each with its item in its input.
    pub(super) fn instances(
        &self,
        map: &Map,
        values: &Values,
        fresh: &(dyn Fn() -> TaskId + Sync),
    ) -> Result<Decision, Failure> {
        let over = |why: &str| invalid(&format!("map.over: {why}"));
        let list = values.of(self.plan, &map.over).map_err(|why| over(&why))?;
        let items: Vec<&RawValue> = serde_json::from_str(&list)
            .map_err(|_no_list| over("what it leads to is not a list"))?;
        if items.len() > map.max {
            let (len, max) = (items.len(), map.max);
            return Err(over(&format!(
                "the list has {len} elements, and max is {max}"
            )));
        }
        let instance = |(index, item)| self.instance(index, item, fresh());
        let nodes = items.into_iter().enumerate().map(instance);
        Ok(Decision::Park(Park::Instances {
            nodes: nodes.collect::<Result<_, _>>()?,
            at_once: map.concurrency,
        }))
    }

    fn instance(&self, index: usize, item: &RawValue, id: TaskId) -> Result<NewNode, Failure> {
        let (claim, number) = (self.claim, index.to_string());
        let filled = self.template.fill_some(|reference| match reference.source {
            Source::Index => Ok(Some(number.as_str().into())),
            Source::Item => match reference.pointer.find(item.get()) {
                Some(value) => Ok(Some(value.get().into())),
                None => Err(format!("item {index} has nothing at {}", reference.pointer)),
            },
            Source::Input | Source::Output(_) | Source::Failure(_) => Ok(None),
        });
        let filled = filled.map_err(|error| invalid(&error.to_string()))?;
        let spec = match self.template.is_plain() {
            true => TaskSpec::clone(&claim.spec),
            false => TaskSpec {
                input: with_body(&claim.spec.input, filled),
                ..TaskSpec::clone(&claim.spec)
            },
        };
        Ok(NewNode {
            name: format!("{}[{index}]", self.node.name),
            task: NewTask {
                id,
                tenant: claim.tenant.clone(),
                run_at: self.now,
                spec,
                idempotency_key: None,
                fingerprint: [0; 16],
                dedup: None,
                callback: None,
            },
            plan: Some(self.plan.of_instance(claim.task_id).text()),
            parents: Vec::new(),
        })
    }
}
