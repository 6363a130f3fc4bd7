//! A definition of workflows as a caller puts it: what of a workflow does not belong to one run of it.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Nodes, WorkflowRefused, on_failure};
use crate::intake::cache::CacheJson;
use crate::intake::json::parse;
use crate::intake::refused::Refused;
use crate::intake::workflow::node::NodeRequest;
use cofferdam::runner::Runner;
use cofferdam::workflows::GraphSubmission;
use cofferdam::workflows::definitions::Definition;
use cofferdam_domain::workflow::definition::DefinitionName;

/// The body of `PUT /v1/workflow-definitions/{name}`.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefinitionRequest<'a> {
    /// As in a workflow, for those that do not say their own.
    #[schema(pattern = "^(stop|continue)$")]
    pub(super) on_failure: Option<String>,
    /// As in a workflow, for those that do not say their own.
    pub(super) cancel_running: Option<bool>,
    /// As in a workflow, for those that do not say their own.
    pub(super) cache: Option<CacheJson>,
    /// The nodes.
    #[serde(borrow)]
    #[schema(value_type = Vec<NodeRequest>, min_items = 1, max_items = 1_000)]
    pub(super) nodes: Vec<&'a RawValue>,
    /// The edges: pairs of ids, of which the second waits for the first.
    #[serde(default)]
    // Generators of clients do not know tuples.
    #[schema(value_type = Vec<Vec<String>>, max_items = 10_000)]
    pub(super) edges: Vec<(String, String)>,
}

/// Reads a definition's name.
pub(crate) fn name(text: &str) -> Result<DefinitionName, Refused> {
    DefinitionName::parse(text).map_err(|error| Refused::field("name", error))
}

/// Reads what a definition is made of.
pub(crate) fn graph(
    definition: &Definition,
    runner: &Runner,
) -> Result<GraphSubmission, WorkflowRefused> {
    let request: DefinitionRequest<'_> = parse(&definition.text)?;
    on_failure(request.on_failure.as_deref())?;
    let nodes = Nodes {
        body: &definition.text,
        runner,
        cache: request.cache,
    };
    nodes.graph(request.nodes, request.edges, "", 0)
}
