//! Nodes of workflows when they are claimed: whether a node runs, with what input, and what it does where it runs no
//! guest.
//!
//! It reads how the nodes before it ended and decides; `queue` carries the decision out, and `workflows` is the door
//! through which nodes come. Nothing is kept here: a claim that ends half-way is decided anew.

pub mod condition;
mod expansion;
mod parents;
pub mod plan;
pub mod pointer;
pub mod script;
pub mod template;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use self::expansion::Expansion;
use self::parents::{by_parents, failed_with, is_skipped};
use self::plan::{Plan, Wait, Work};
use self::script::Script;
use self::template::{Reference, Source, Template};
use self::values::{Ended, Output, Values, whole};
use cofferdam_domain::attempt::{Failure, FailureKind, Outcome, Payload};
use cofferdam_domain::claim::Claim;
use cofferdam_domain::said;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::task::{Input, TaskId, TaskSpec};
use cofferdam_domain::time::Timestamp;
use cofferdam_domain::whose::Whose;
use cofferdam_domain::workflow::{ClaimedNode, ParkedFor};
use cofferdam_sandbox::files::InputFile;
use cofferdam_storage::{Before, EndBefore, Park, Reads, StorageError, Workflows};

/// Outputs that are put into an input, in bytes, all that it names together. Further ones are files.
pub const INLINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Outputs that one node may take in, in bytes: they are in memory while it starts.
const TAKEN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads what nodes are told, and decides.
pub struct Nodes {
    workflows: Arc<dyn Workflows>,
    reads: Arc<dyn Reads>,
}

/// What becomes of a claimed node.
#[derive(Debug)]
pub enum Decision {
    /// It runs as any task.
    Run(Box<Given>),
    /// It ends so, without a run.
    End(Outcome),
    /// It does not run, for that reason.
    Skip(String),
    /// Its workflow was cancelled.
    Cancel,
    /// It waits.
    Park(Park),
}

/// What a node runs with.
#[derive(Debug)]
pub struct Given {
    /// What is run, with values in place of references.
    pub spec: Arc<TaskSpec>,
    /// The outputs that come as files.
    pub files: Vec<InputFile>,
    /// Source text to run on the input.
    pub source: Option<String>,
    /// Whether its input was not known when it was submitted.
    pub is_filled: bool,
}

/// Why nothing is decided.
enum Stop {
    /// Storage does not answer.
    Storage(StorageError),
    /// The node fails.
    Failed(Failure),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Stop {
        Stop::Storage(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

impl Nodes {
    /// Nodes of these workflows.
    pub fn new(workflows: Arc<dyn Workflows>, reads: Arc<dyn Reads>) -> Nodes {
        Nodes { workflows, reads }
    }

    /// Where workflows are kept.
    pub fn workflows(&self) -> &Arc<dyn Workflows> {
        &self.workflows
    }

    /// What becomes of a claimed node. `fresh` makes ids of tasks.
    pub async fn decide(
        &self,
        claim: &Claim,
        node: &ClaimedNode,
        now: Timestamp,
        fresh: &(dyn Fn() -> TaskId + Sync),
    ) -> Result<Decision, StorageError> {
        match self.look(claim, node, now, fresh).await {
            Ok(decision) => Ok(decision),
            Err(Stop::Failed(failure)) => Ok(Decision::End(Outcome::Failed(failure))),
            Err(Stop::Storage(error)) => Err(error),
        }
    }

    async fn look(
        &self,
        claim: &Claim,
        node: &ClaimedNode,
        now: Timestamp,
        fresh: &(dyn Fn() -> TaskId + Sync),
    ) -> Result<Decision, Stop> {
        if node.is_cancelled {
            return Ok(Decision::Cancel);
        }
        if node.is_paused {
            return Ok(Decision::Park(Park::Paused));
        }
        let plan = Plan::read(node.plan.as_deref());
        let plan = plan.map_err(|error| host_error(&format!("the plan of the node: {error}")))?;
        match &node.parked {
            Some(ParkedFor::Instances) => return self.collect(claim, node).await,
            Some(ParkedFor::Signal(signal)) => return Ok(signalled(&plan, node, signal.as_ref())),
            None => {}
        }
        if node.is_stopping {
            return Ok(Decision::Skip("stopped".to_owned()));
        }
        let template = Template::read(&input_text(&claim.spec.input));
        let template = template.map_err(|error| invalid(&error.to_string()))?;
        let named = references(&plan, &template).filter_map(|it| plan.node_of(&it.source));
        let named: BTreeSet<String> = named.collect();
        let ended = self.before(claim, node, &plan, &named).await?;
        if let Some(decision) = by_parents(&plan, &ended) {
            return Ok(decision);
        }
        let values = self.values(claim, node, &plan, (&template, &named), ended);
        let values = values.await?;
        if let Some(when) = &plan.when {
            let value = values
                .perhaps(&plan, &when.of)
                .map_err(|why| invalid(&why))?;
            let holds = when.holds(value.as_deref());
            let holds = holds.map_err(|error| invalid(&format!("when: {error}")))?;
            if !holds {
                return Ok(Decision::Skip("condition".to_owned()));
            }
        }
        if let Some(Wait { signal, timeout }) = &plan.wait {
            let (name, until) = (signal.clone(), timeout.map(|timeout| now.plus(timeout)));
            return Ok(Decision::Park(Park::Signal { name, until }));
        }
        match &plan.map {
            Some(map) => {
                let expansion = Expansion {
                    claim,
                    node,
                    plan: &plan,
                    template: &template,
                    now,
                };
                Ok(expansion.instances(map, &values, fresh)?)
            }
            None => Ok(begin(claim, &plan, &template, values)?),
        }
    }

    /// How the nodes before it ended, with outputs if it names any, and none if all completed and it names none; for
    /// an instance, those before the node that it is an instance of, which matter to it only if it names them.
    async fn before(
        &self,
        claim: &Claim,
        node: &ClaimedNode,
        plan: &Plan,
        named: &BTreeSet<String>,
    ) -> Result<Vec<EndBefore>, Stop> {
        let of = match plan.of {
            Some(_) if named.is_empty() => return Ok(Vec::new()),
            Some(map) => map,
            None if node.parents == 0 => return Ok(Vec::new()),
            None if named.is_empty() && node.parents_completed => return Ok(Vec::new()),
            None => claim.task_id,
        };
        let bytes = if named.is_empty() {
            0
        } else {
            INLINE_BYTES_MAX
        };
        let (tenant, before) = (&claim.tenant, Before::Parents);
        Ok(self
            .workflows
            .ends_before(tenant, of, before, bytes)
            .await?)
    }

    /// What its references stand for.
    async fn values(
        &self,
        claim: &Claim,
        node: &ClaimedNode,
        plan: &Plan,
        (template, named): (&Template, &BTreeSet<String>),
        ended: Vec<EndBefore>,
    ) -> Result<Values, Stop> {
        let mut values = Values::default();
        let has_input = references(plan, template).any(|it| it.source == Source::Input);
        if has_input && plan.within.is_empty() {
            let whose = Whose::One(claim.tenant.clone());
            values.input = self
                .workflows
                .workflow_definition(&whose, node.workflow)
                .await?;
        }
        let (mut taken_bytes, mut inline_bytes) = (0, 0);
        for end in ended {
            let is_named = named.contains(&end.name);
            taken_bytes += end.output_bytes.filter(|_| is_named).unwrap_or(0);
            if taken_bytes > TAKEN_BYTES_MAX {
                let why =
                    format!("the outputs that it names have more than {TAKEN_BYTES_MAX} bytes");
                return Err(invalid(&why).into());
            }
            let name = end.name.clone();
            let output = match is_named {
                false => Output::None,
                true => {
                    let bytes = end.output_bytes.unwrap_or(0);
                    let is_short = inline_bytes + bytes <= INLINE_BYTES_MAX;
                    inline_bytes += if is_short { bytes } else { 0 };
                    // What is passed on has no files.
                    let is_passed_on = matches!(plan.work, Work::Pass | Work::End);
                    self.output(claim, &end, is_short || is_passed_on).await?
                }
            };
            values.add(
                name,
                Ended {
                    state: end.state,
                    failure: end.failure,
                    output,
                },
            );
        }
        Ok(values)
    }

    async fn output(
        &self,
        claim: &Claim,
        end: &EndBefore,
        is_here: bool,
    ) -> Result<Output, StorageError> {
        let loaded = match (&end.output, end.output_bytes) {
            (Some(output), _) => Some(output.clone()),
            (None, Some(1..)) if end.state == TaskState::Completed => {
                self.result(claim, end.task_id).await?
            }
            (None, _) => None,
        };
        Ok(match loaded {
            None => Output::None,
            Some(payload) if is_here => Output::Here(payload),
            Some(payload) => {
                // A nested node's file is known inside by the node's own name.
                let name = end.name.rsplit('/').next().unwrap_or(&end.name).to_owned();
                Output::File { name, payload }
            }
        })
    }

    async fn result(&self, claim: &Claim, task: TaskId) -> Result<Option<Payload>, StorageError> {
        let whose = Whose::One(claim.tenant.clone());
        self.reads.result(&whose, task).await
    }

    /// The end of a node whose instances are all final: their outputs, in order.
    async fn collect(&self, claim: &Claim, node: &ClaimedNode) -> Result<Decision, Stop> {
        let (tenant, before) = (&claim.tenant, Before::Instances);
        let ended = self
            .workflows
            .ends_before(tenant, claim.task_id, before, INLINE_BYTES_MAX);
        let ended = ended.await?;
        if let Some(bad) = ended.iter().find(|end| end.state != TaskState::Completed) {
            if node.is_stopping && is_skipped(bad) {
                return Ok(Decision::Skip("stopped".to_owned()));
            }
            return Ok(failed_with(bad));
        }
        let limit = claim.spec.limits.output_bytes;
        let mut list = b"[".to_vec();
        for end in &ended {
            if list.len() > 1 {
                list.push(b',');
            }
            let loaded = match (&end.output, end.output_bytes) {
                (None, Some(1..)) => self.result(claim, end.task_id).await?,
                (_, _) => None,
            };
            let output = end.output.as_ref().or(loaded.as_ref());
            let value = output.map_or("null".into(), whole);
            list.extend_from_slice(value.as_bytes());
            if list.len() as u64 > limit {
                let message = format!("the outputs of its instances have more than {limit} bytes");
                return Ok(failed(FailureKind::OutputExceeded, message));
            }
        }
        list.push(b']');
        Ok(Decision::End(Outcome::Completed(Payload::json(list))))
    }
}

/// What the input of a node and its plan refer to.
fn references<'a>(plan: &'a Plan, template: &'a Template) -> impl Iterator<Item = &'a Reference> {
    let of_when = plan.when.iter().map(|when| &when.of);
    let of_map = plan.map.iter().map(|map| &map.over);
    template.references().chain(of_when).chain(of_map)
}

/// The end of a node that waited for a signal.
fn signalled(plan: &Plan, node: &ClaimedNode, signal: Option<&Payload>) -> Decision {
    match signal {
        Some(payload) => Decision::End(Outcome::Completed(payload.clone())),
        None if node.is_stopping => Decision::Skip("stopped".to_owned()),
        None => {
            let name = plan.wait.as_ref().map_or("", |wait| wait.signal.as_str());
            failed(
                FailureKind::Timeout,
                format!("the signal {name} did not come in time"),
            )
        }
    }
}

/// A node that runs, or that is done with its input.
fn begin(
    claim: &Claim,
    plan: &Plan,
    template: &Template,
    values: Values,
) -> Result<Decision, Failure> {
    let filled = template.fill(|reference| values.of(plan, reference));
    let filled = filled.map_err(|error| invalid(&error.to_string()))?;
    let (source, body) = match plan.work {
        Work::Pass | Work::End | Work::Wait => {
            return Ok(Decision::End(Outcome::Completed(Payload::json(filled))));
        }
        Work::Module => (None, filled),
        Work::Script => {
            let script = Script::read(&filled).map_err(|why| host_error(&why))?;
            let input = script.input();
            (Some(script.code.into_owned()), input)
        }
    };
    let is_filled = !template.is_plain();
    let spec = match is_filled || source.is_some() {
        false => Arc::clone(&claim.spec),
        true => Arc::new(TaskSpec {
            input: with_body(&claim.spec.input, body),
            ..TaskSpec::clone(&claim.spec)
        }),
    };
    let files = values.into_files().map_err(|why| host_error(&why))?;
    Ok(Decision::Run(Box::new(Given {
        spec,
        files,
        source,
        is_filled,
    })))
}

/// The text in which references are: JSON with the task. What is in the spool goes to the guest as it is.
pub fn input_text(input: &Input) -> Bytes {
    match input {
        Input::Inline(payload) if said::is_json(&payload.content_type) => payload.body.clone(),
        Input::Inline(_) | Input::Spooled { .. } => Bytes::new(),
    }
}

fn with_body(input: &Input, body: Bytes) -> Input {
    match input {
        Input::Inline(payload) => Input::Inline(Payload {
            content_type: Arc::clone(&payload.content_type),
            body,
        }),
        spooled @ Input::Spooled { .. } => spooled.clone(),
    }
}

fn failed(kind: FailureKind, message: String) -> Decision {
    Decision::End(Outcome::Failed(Failure::new(kind, message)))
}

fn invalid(why: &str) -> Failure {
    Failure::new(FailureKind::InvalidInput, why)
}

fn host_error(why: &str) -> Failure {
    Failure::new(FailureKind::HostError, why)
}
