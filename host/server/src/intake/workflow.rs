//! A workflow as a caller submits it: its own fields, and nodes that are read by the rules of `task` and `code`.
//!
//! The graph, and what nodes refer to, are checked by `cofferdam::workflows`; here is what can be said of each field
//! alone.

mod node;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::intake::cache::CacheJson;
use crate::intake::callback::CallbackJson;
use crate::intake::fingerprint::fingerprint;
use crate::intake::json::{Unsupported, parse, present};
use crate::intake::refused::Refused;
use crate::intake::words;
use crate::intake::workflow::node::NodeRequest;
use cofferdam::runner::Runner;
use cofferdam::workflows::{
    DEPTH_MAX, GraphSubmission, NAME_BYTES_MAX, NodeSubmission, WorkflowSubmission,
};
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
    #[serde(default)]
    cancel_running: bool,
    /// The nodes.
    #[serde(borrow)]
    #[schema(value_type = Vec<NodeRequest>, min_items = 1, max_items = 1_000)]
    nodes: Vec<&'a RawValue>,
    /// The edges: pairs of ids, of which the second waits for the first.
    #[serde(default)]
    // Generators of clients do not know tuples.
    #[schema(value_type = Vec<Vec<String>>, max_items = 10_000)]
    edges: Vec<(String, String)>,
    /// Not supported by this version: null.
    #[expect(dead_code, reason = "its type takes nothing but null")]
    #[schema(value_type = Option<Object>)]
    definition: Option<Unsupported>,
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
    /// Reads a workflow.
    pub(crate) fn read(&self, runner: &Runner) -> Result<WorkflowSubmission, WorkflowRefused> {
        let request: WorkflowRequest<'_> = parse(&self.body)?;
        let nodes = Nodes {
            body: &self.body,
            runner,
            cache: request.cache,
        };
        let on_failure = request.on_failure.as_deref().map(|word| {
            let refused = || Refused::field("on_failure", "neither stop nor continue");
            OnFailure::parse(word).ok_or_else(refused)
        });
        let id = request.workflow_id.as_deref().map(|id| {
            let id = words::task_id(id).map(|id| WorkflowId(id.0));
            id.ok_or_else(|| Refused::field("workflow_id", "not a UUID"))
        });
        Ok(WorkflowSubmission {
            id: id.transpose()?,
            name: request.name.map(name).transpose()?,
            priority: words::priority(request.priority.as_deref())?,
            on_failure: on_failure.transpose()?.unwrap_or_default(),
            cancel_running: request.cancel_running,
            input: request.input.map(|input| input.get().to_owned()),
            graph: nodes.graph(request.nodes, request.edges, "", 0)?,
            callback: request
                .callback
                .map(CallbackJson::into_callback)
                .transpose()?,
            idempotency_key: self.idempotency_key.clone(),
            fingerprint: fingerprint(&self.body),
        })
    }
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
