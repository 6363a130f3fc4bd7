//! Lays a workflow out as one list of nodes, and checks what they refer to.
//!
//! A nested workflow `sub` becomes the nodes `sub/$input`, which has its input, `sub/NODE` for each of its nodes, and
//! `sub` itself, which has the outputs of its last nodes by their names. Names inside mean nodes inside.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use serde_json::json;

use super::edges::{Gives, Takes};
use super::{DEPTH_MAX, GraphSubmission, NodeSubmission, NodeWork, WorkflowError};
use crate::nodes::input_text;
use crate::nodes::plan::{Plan, PlanText, Work, entry};
use crate::nodes::template::{Reference, Source, Template};
use crate::queue::Submission;
use cofferdam_domain::task::Input;
use cofferdam_domain::workflow::graph::{BadGraph, EDGES_MAX, Graph, NODES_MAX, NodeName};

/// A node in its place.
pub(super) struct Laid {
    pub(super) name: String,
    pub(super) what: What,
    /// None for a task without anything special.
    pub(super) plan: Option<PlanText>,
    /// The places of the nodes that it waits for.
    pub(super) parents: Vec<u32>,
    /// What its output is.
    pub(super) gives: Gives,
    /// What it takes in of others.
    pub(super) takes: Vec<Takes>,
}

/// What the task of a node is made of.
pub(super) enum What {
    /// A task as callers submit it.
    Task(Box<Submission>),
    /// The host itself does it.
    Control {
        /// With this input, which may have references.
        input: Option<String>,
    },
}

/// What is laid out so far.
#[derive(Default)]
pub(super) struct Layout {
    nodes: Vec<(Laid, BTreeSet<String>)>,
    edges: usize,
}

/// Where nodes are laid out: in the whole, or in a nested workflow.
struct Scope<'a> {
    /// The nested workflow; empty for the whole.
    within: &'a str,
    depth: usize,
    /// The input, if it is known.
    input: Option<Option<&'a str>>,
}

impl Scope<'_> {
    fn full(&self, name: &str) -> String {
        match self.within {
            "" => name.to_owned(),
            within => format!("{within}/{name}"),
        }
    }
}

impl Layout {
    /// The nodes of a workflow with that input; none if the input is not known yet.
    pub(super) fn of(
        graph: GraphSubmission,
        input: Option<Option<&str>>,
    ) -> Result<Vec<Laid>, WorkflowError> {
        let mut layout = Layout::default();
        let whole = Scope {
            within: "",
            depth: 0,
            input,
        };
        layout.lay(graph, &whole)?;
        Ok(layout.finish())
    }

    /// Lays out the nodes of one graph, and returns the names of those that nothing waits for.
    fn lay(
        &mut self,
        submitted: GraphSubmission,
        scope: &Scope<'_>,
    ) -> Result<Vec<String>, WorkflowError> {
        let of_graph = |error| WorkflowError::Graph {
            nested: scope.within.to_owned(),
            error,
        };
        let names = submitted.nodes.iter().map(|node| NodeName::parse(&node.id));
        let names: Vec<NodeName> = names.collect::<Result<_, _>>().map_err(of_graph)?;
        let graph = Graph::of(names, &submitted.edges).map_err(of_graph)?;
        self.edges += submitted.edges.len();
        if self.edges > EDGES_MAX {
            return Err(of_graph(BadGraph::TooManyEdges(self.edges)));
        }
        for (place, node) in submitted.nodes.into_iter().enumerate() {
            self.lay_node(node, (&graph, place), scope)?;
            if self.nodes.len() > NODES_MAX {
                return Err(of_graph(BadGraph::TooManyNodes(self.nodes.len())));
            }
        }
        let is_last = |place: &usize| graph.children(*place).is_empty();
        let last = (0..graph.len()).filter(is_last);
        Ok(last.map(|place| graph.names()[place].to_string()).collect())
    }

    fn lay_node(
        &mut self,
        node: NodeSubmission,
        (graph, place): (&Graph, usize),
        scope: &Scope<'_>,
    ) -> Result<(), WorkflowError> {
        let name = scope.full(&node.id);
        let parents = graph.parents(place).iter();
        let mut parents: BTreeSet<String> = parents
            .map(|parent| scope.full(graph.names()[*parent].as_str()))
            .collect();
        if !scope.within.is_empty() {
            parents.insert(entry(scope.within));
        }
        let (signal, timeout_ms) = match &node.work {
            NodeWork::Wait { signal, timeout_ms } => (Some(signal.clone()), *timeout_ms),
            NodeWork::Module(_) | NodeWork::Script(_) | NodeWork::Workflow { .. } => (None, None),
        };
        let text = PlanText {
            work: match &node.work {
                NodeWork::Module(_) => Work::Module,
                NodeWork::Script(_) => Work::Script,
                NodeWork::Wait { .. } => Work::Wait,
                NodeWork::Workflow { .. } => Work::Pass,
            },
            when: node.when,
            map: node.map,
            signal,
            timeout_ms,
            runs_after_failure: node.runs_after_failure,
            within: scope.within.to_owned(),
            of: None,
        };
        let at = At {
            name: &name,
            graph,
            place,
            scope,
        };
        let plan = text.plan().map_err(|error| at.mistake(error))?;
        match node.work {
            NodeWork::Module(task) => {
                let input = input_text(&task.input);
                let template = at.check(&plan, &input)?;
                let is_plain = template.is_plain();
                let takes = at.takes(&plan, Some(&template));
                let text = (!is_plain || !is_default(&text)).then_some(text);
                let gives = match plan.map {
                    None => Gives::Output,
                    Some(_) => Gives::List,
                };
                let task = What::Task(Box::new(templated(*task, is_plain)));
                self.push(name, task, text, parents);
                self.passes(gives, takes);
            }
            NodeWork::Script(task) => {
                at.check(&plan, &input_text(&task.input))?;
                // The schema of its interpreter is about something else.
                let takes = at.takes(&plan, None);
                let task = What::Task(Box::new(templated(*task, false)));
                self.push(name, task, Some(text), parents);
                self.passes(Gives::Unknown, takes);
            }
            NodeWork::Wait { .. } => {
                at.check(&plan, &Bytes::new())?;
                if plan.map.is_some() {
                    return Err(at.mistake("a node that waits has no map"));
                }
                self.push(name, What::Control { input: None }, Some(text), parents);
            }
            NodeWork::Workflow { input, graph } => {
                self.lay_nested((name.clone(), text, parents), (input, graph), &plan, &at)?;
            }
        }
        Ok(())
    }

    /// A nested workflow, as nodes of the whole.
    fn lay_nested(
        &mut self,
        (name, text, parents): (String, PlanText, BTreeSet<String>),
        (input, graph): (Option<String>, GraphSubmission),
        plan: &Plan,
        at: &At<'_>,
    ) -> Result<(), WorkflowError> {
        if plan.map.is_some() {
            return Err(at.mistake("a node that is a workflow has no map; its nodes may have"));
        }
        let depth = at.scope.depth + 1;
        if depth > DEPTH_MAX {
            return Err(WorkflowError::TooDeep(name));
        }
        let body = input.as_deref().unwrap_or("null");
        let template = at.check(plan, &Bytes::copy_from_slice(body.as_bytes()))?;
        let scope = Scope {
            within: &name,
            depth,
            input: template.is_plain().then_some(input.as_deref()),
        };
        let what = What::Control {
            input: Some(body.to_owned()),
        };
        self.push(entry(&name), what, Some(text), parents);
        let last = self.lay(graph, &scope)?;
        let outputs = last
            .iter()
            .map(|last| (last.clone(), json!({ "$from": last })));
        let outputs: serde_json::Map<_, _> = outputs.collect();
        let mut before: BTreeSet<String> = last.iter().map(|last| scope.full(last)).collect();
        before.insert(entry(&name));
        let text = PlanText {
            work: Work::End,
            within: name.clone(),
            ..PlanText::default()
        };
        let what = What::Control {
            input: Some(serde_json::Value::Object(outputs).to_string()),
        };
        self.push(name, what, Some(text), before);
        Ok(())
    }

    fn push(
        &mut self,
        name: String,
        what: What,
        plan: Option<PlanText>,
        parents: BTreeSet<String>,
    ) {
        let laid = Laid {
            name,
            what,
            plan,
            parents: Vec::new(),
            gives: Gives::Unknown,
            takes: Vec::new(),
        };
        self.nodes.push((laid, parents));
    }

    /// Notes what the last node gives and takes.
    fn passes(&mut self, gives: Gives, takes: Vec<Takes>) {
        if let Some((last, _)) = self.nodes.last_mut() {
            (last.gives, last.takes) = (gives, takes);
        }
    }

    /// The nodes, with the places of those that each waits for.
    fn finish(self) -> Vec<Laid> {
        let names = self.nodes.iter().map(|(node, _)| node.name.clone());
        let numbered = names.zip(0_u32..);
        let places: HashMap<String, u32> = numbered.collect();
        let nodes = self.nodes.into_iter().map(|(node, parents)| {
            let place = |name: &String| places.get(name).copied();
            let mut parents: Vec<u32> = parents.iter().filter_map(place).collect();
            parents.sort_unstable();
            Laid { parents, ..node }
        });
        nodes.collect()
    }
}

/// A node whose references are checked.
struct At<'a> {
    name: &'a str,
    graph: &'a Graph,
    place: usize,
    scope: &'a Scope<'a>,
}

impl At<'_> {
    fn mistake(&self, why: impl ToString) -> WorkflowError {
        WorkflowError::Node {
            node: self.name.to_owned(),
            why: why.to_string(),
        }
    }

    /// Checks every reference of a node, and returns its input with those that are in it.
    fn check(&self, plan: &Plan, input: &Bytes) -> Result<Template, WorkflowError> {
        let template = Template::read(input);
        let template = template.map_err(|error| self.mistake(format!("input: {error}")))?;
        for reference in template.references() {
            self.check_one("input", plan, reference)?;
        }
        if let Some(when) = &plan.when {
            self.check_one("when", plan, &when.of)?;
        }
        if let Some(map) = &plan.map {
            self.check_one("map.over", plan, &map.over)?;
        }
        Ok(template)
    }

    /// What it takes in of other nodes, where it fails if that does not fit: a node that runs whatever became of those
    /// gets null of some. The input is that of a module with a schema.
    fn takes(&self, plan: &Plan, input: Option<&Template>) -> Vec<Takes> {
        if plan.runs_after_failure || self.graph.parents(self.place).is_empty() {
            return Vec::new();
        }
        let taken = |reference: &Reference, place| match &reference.source {
            Source::Output(node) => Some(Takes {
                from: self.scope.full(node.as_str()),
                pointer: reference.pointer.clone(),
                place,
            }),
            Source::Input | Source::Failure(_) | Source::Item | Source::Index => None,
        };
        let placed = input.into_iter().flat_map(Template::placed_references);
        let within = placed.filter_map(|(it, place)| taken(it, Some(place.to_vec())));
        let over = plan.map.as_ref().and_then(|map| taken(&map.over, None));
        within.chain(over).collect()
    }

    fn check_one(
        &self,
        field: &str,
        plan: &Plan,
        reference: &Reference,
    ) -> Result<(), WorkflowError> {
        let refused = |why: String| Err(self.mistake(format!("{field}: {why}")));
        match &reference.source {
            Source::Item | Source::Index if plan.map.is_none() => {
                refused("only a node with map has $item and $index".to_owned())
            }
            Source::Item | Source::Index => Ok(()),
            Source::Input => match self.scope.input {
                // A condition may ask whether there is something.
                Some(input) if field != "when" => {
                    let pointer = &reference.pointer;
                    match pointer.find(input.unwrap_or("null")) {
                        Some(_) => Ok(()),
                        None => refused(format!(
                            "the input of the workflow has nothing at {pointer}"
                        )),
                    }
                }
                Some(_) | None => Ok(()),
            },
            Source::Output(node) | Source::Failure(node) => match self.graph.place(node.as_str()) {
                None => refused(format!("{node} is no node")),
                Some(parent) if !self.graph.has_edge(parent, self.place) => {
                    let own = &self.graph.names()[self.place];
                    refused(format!(
                        "it names {node}, but no edge leads from {node} to {own}"
                    ))
                }
                Some(_) => Ok(()),
            },
        }
    }
}

/// Whether there is nothing to say of a node but what its task says.
fn is_default(text: &PlanText) -> bool {
    let PlanText {
        work,
        when,
        map,
        signal,
        timeout_ms: _,
        runs_after_failure,
        within: _,
        of: _,
    } = text;
    *work == Work::Module
        && when.is_none()
        && map.is_none()
        && signal.is_none()
        && !runs_after_failure
}

fn templated(task: Submission, is_plain: bool) -> Submission {
    let is_inline = matches!(task.input, Input::Inline(_));
    Submission {
        is_template: !is_plain && is_inline,
        ..task
    }
}

#[cfg(test)]
mod tests;
