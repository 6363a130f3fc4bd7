//! A workflow as a caller submits it: its own fields, and nodes that are read by the rules of `task` and `code`.
//!
//! The graph, and what nodes refer to, are checked by `cofferdam::workflows`; here is what can be said of each field
//! alone.

pub(crate) mod definition;
mod node;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::intake::cache::CacheJson;
use crate::intake::callback::CallbackJson;
use crate::intake::fingerprint::fingerprint;
use crate::intake::json::{parse, present};
use crate::intake::refused::Refused;
use crate::intake::words;
use crate::intake::workflow::definition::DefinitionRequest;
use crate::intake::workflow::node::NodeRequest;
use cofferdam::runner::Runner;
use cofferdam::workflows::definitions::Definition;
use cofferdam::workflows::{
    DEPTH_MAX, GraphSubmission, NAME_BYTES_MAX, NodeSubmission, WorkflowSubmission,
};
use cofferdam_domain::workflow::definition::DefinitionRef;
use cofferdam_domain::workflow::graph::{EDGES_MAX, NODES_MAX};
use cofferdam_domain::workflow::{OnFailure, WorkflowId};

/// The body of `POST /v1/workflows`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkflowRequest<'a> {
    /// A name, which need not be its alone.
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// A UUID that the caller chose.
    #[schema(pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
    workflow_id: Option<String>,
    /// Any JSON, which nodes refer to with `{"$input": POINTER}`.
    #[serde(default, borrow, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<&'a RawValue>,
    /// `critical`, `high`, `normal` or `low`: that of all nodes.
    #[schema(pattern = "^(critical|high|normal|medium|low)$")]
    priority: Option<String>,
    /// What a failed node does to those that have not begun: `stop` (none of them runs; the default) or `continue`
    /// (those that do not depend on it still run).
    #[schema(pattern = "^(stop|continue)$")]
    on_failure: Option<String>,
    /// Whether a failure that stops the workflow also cancels what runs.
    cancel_running: Option<bool>,
    /// The nodes, unless a definition has them.
    #[serde(default, borrow)]
    #[schema(value_type = Option<Vec<NodeRequest>>, min_items = 1, max_items = 1_000)]
    nodes: Option<Vec<&'a RawValue>>,
    /// The edges: pairs of ids, of which the second waits for the first.
    // Generators of clients do not know tuples.
    #[schema(value_type = Option<Vec<Vec<String>>>, max_items = 10_000)]
    edges: Option<Vec<(String, String)>>,
    /// A definition that is kept, as its name or name@sha256:…, instead of `nodes` and `edges`. What else it says holds
    /// unless it is said here; its name is that of the workflow, too.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?$")]
    definition: Option<String>,
    /// That of nodes with `module` or `script` that do not say their own.
    cache: Option<CacheJson>,
    /// Whom its ends are told: one for each run.
    callback: Option<CallbackJson>,
}

/// The nodes and edges of a nested workflow.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GraphRequest<'a> {
    /// The nodes.
    #[serde(borrow)]
    #[schema(value_type = Vec<Object>, min_items = 1, max_items = 1_000)]
    nodes: Vec<&'a RawValue>,
    /// The edges.
    #[serde(default)]
    // Generators of clients do not know tuples.
    #[schema(value_type = Vec<Vec<String>>, max_items = 10_000)]
    edges: Vec<(String, String)>,
}

/// Why a workflow is refused.
#[derive(Debug)]
pub(crate) struct WorkflowRefused {
    /// What the field is a member of, such as `nodes[3]`; empty for the whole.
    pub(crate) under: String,
    /// Why.
    pub(crate) refused: Refused,
}

impl std::fmt::Display for WorkflowRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let WorkflowRefused { under, refused } = self;
        match under.as_str() {
            "" => refused.fmt(f),
            under => write!(f, "{under}: {refused}"),
        }
    }
}

impl From<Refused> for WorkflowRefused {
    fn from(refused: Refused) -> WorkflowRefused {
        WorkflowRefused {
            under: String::new(),
            refused,
        }
    }
}

/// What a workflow is read from.
#[derive(Debug)]
pub(crate) struct WorkflowSource {
    /// The request's body.
    pub(crate) body: Bytes,
    /// The key that came with it.
    pub(crate) idempotency_key: Option<String>,
}

impl WorkflowSource {
    /// What the body says; the definition that it names is still to be found.
    pub(crate) fn request(&self) -> Result<WorkflowRequest<'_>, WorkflowRefused> {
        Ok(parse(&self.body)?)
    }

    /// Reads a workflow, with what the definition says that it names.
    pub(crate) fn read(
        &self,
        request: WorkflowRequest<'_>,
        definition: Option<&Definition>,
        runner: &Runner,
    ) -> Result<WorkflowSubmission, WorkflowRefused> {
        let made: Made<'_> = match definition {
            None => Made {
                body: &self.body,
                nodes: request.nodes.ok_or_else(neither)?,
                edges: request.edges.unwrap_or_default(),
                on_failure: None,
                cancel_running: None,
                cache: None,
            },
            Some(definition) => Made::of(definition)?,
        };
        let nodes = Nodes {
            body: made.body,
            runner,
            cache: request.cache.or(made.cache),
        };
        let id = request.workflow_id.as_deref().map(|id| {
            let id = words::task_id(id).map(|id| WorkflowId(id.0));
            id.ok_or_else(|| Refused::field("workflow_id", "not a UUID"))
        });
        let word = request.on_failure.or(made.on_failure);
        let of_definition = definition.map(|definition| definition.name.to_string());
        let cancels = request.cancel_running.or(made.cancel_running);
        let callback = request.callback.map(CallbackJson::into_callback);
        Ok(WorkflowSubmission {
            id: id.transpose()?,
            name: request.name.map(name).transpose()?.or(of_definition),
            priority: words::priority(request.priority.as_deref())?,
            on_failure: on_failure(word.as_deref())?,
            cancel_running: cancels.unwrap_or(false),
            input: request.input.map(|input| input.get().to_owned()),
            graph: nodes.graph(made.nodes, made.edges, "", 0)?,
            callback: callback.transpose()?,
            idempotency_key: self.idempotency_key.clone(),
            fingerprint: fingerprint(&self.body),
        })
    }
}

impl WorkflowRequest<'_> {
    /// The definition that it names, instead of nodes of its own.
    pub(crate) fn definition(&self) -> Result<Option<DefinitionRef>, Refused> {
        let Some(named) = &self.definition else {
            return Ok(None);
        };
        if self.nodes.is_some() || self.edges.is_some() {
            let why = "a workflow with a definition has no nodes and edges of its own";
            return Err(Refused::field("definition", why));
        }
        let named = DefinitionRef::parse(named);
        Ok(Some(
            named.map_err(|why| Refused::field("definition", why))?,
        ))
    }
}

/// What a workflow is made of, wherever that is said.
struct Made<'a> {
    /// What all nodes are parts of.
    body: &'a Bytes,
    nodes: Vec<&'a RawValue>,
    edges: Vec<(String, String)>,
    on_failure: Option<String>,
    cancel_running: Option<bool>,
    cache: Option<CacheJson>,
}

impl Made<'_> {
    fn of(definition: &Definition) -> Result<Made<'_>, WorkflowRefused> {
        let kept: DefinitionRequest<'_> = parse(&definition.text)?;
        Ok(Made {
            body: &definition.text,
            nodes: kept.nodes,
            edges: kept.edges,
            on_failure: kept.on_failure,
            cancel_running: kept.cancel_running,
            cache: kept.cache,
        })
    }
}

fn neither() -> Refused {
    Refused::field("nodes", "neither nodes nor definition are given")
}

/// Reads what a failed node does.
fn on_failure(word: Option<&str>) -> Result<OnFailure, Refused> {
    let refused = || Refused::field("on_failure", "neither stop nor continue");
    let read = word.map(|word| OnFailure::parse(word).ok_or_else(refused));
    Ok(read.transpose()?.unwrap_or_default())
}

fn name(name: String) -> Result<String, Refused> {
    let is_text = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    match is_text {
        true => Ok(name),
        false => {
            let why = format!("has 1 to {NAME_BYTES_MAX} bytes, without control characters");
            Err(Refused::field("name", why))
        }
    }
}

/// Reads nodes.
struct Nodes<'a> {
    /// What all texts are parts of.
    body: &'a Bytes,
    runner: &'a Runner,
    /// That of nodes that do not say it.
    cache: Option<CacheJson>,
}

impl Nodes<'_> {
    /// Reads nodes and edges that are members of `under`.
    fn graph(
        &self,
        nodes: Vec<&RawValue>,
        edges: Vec<(String, String)>,
        under: &str,
        depth: usize,
    ) -> Result<GraphSubmission, WorkflowRefused> {
        let refused = |field: &str, why: String| WorkflowRefused {
            under: under.to_owned(),
            refused: Refused::field(field, why),
        };
        if nodes.is_empty() || nodes.len() > NODES_MAX {
            let why = format!("has 1 to {NODES_MAX} nodes, not {}", nodes.len());
            return Err(refused("nodes", why));
        }
        if edges.len() > EDGES_MAX {
            let why = format!("has at most {EDGES_MAX} edges, not {}", edges.len());
            return Err(refused("edges", why));
        }
        let separator = if under.is_empty() { "" } else { "." };
        let mut read = Vec::with_capacity(nodes.len());
        for (place, text) in nodes.into_iter().enumerate() {
            let under = format!("{under}{separator}nodes[{place}]");
            read.push(self.node(text, under, depth)?);
        }
        Ok(GraphSubmission { nodes: read, edges })
    }

    fn node(
        &self,
        text: &RawValue,
        under: String,
        depth: usize,
    ) -> Result<NodeSubmission, WorkflowRefused> {
        // A part of the whole body, so that its input is not copied.
        let text = self.body.slice_ref(text.get().as_bytes());
        let at = |refused: Refused| WorkflowRefused {
            under: under.clone(),
            refused,
        };
        let mut node: NodeRequest<'_> = parse(&text).map_err(at)?;
        match node.workflow.take() {
            None => {
                node.cache_by_default(self.cache);
                node.into_submission(&text, self.runner).map_err(at)
            }
            Some(_) if depth == DEPTH_MAX => {
                let why = format!("workflows nest at most {DEPTH_MAX} deep");
                Err(at(Refused::field("workflow", why)))
            }
            Some(inner) => {
                let graph: GraphRequest<'_> =
                    parse(inner.get().as_bytes()).map_err(|refused| WorkflowRefused {
                        under: format!("{under}.workflow"),
                        refused,
                    })?;
                let under_inner = format!("{under}.workflow");
                let graph = self.graph(graph.nodes, graph.edges, &under_inner, depth + 1)?;
                node.into_nested(graph).map_err(at)
            }
        }
    }
}
