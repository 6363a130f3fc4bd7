//! `GET /v1/workflows/{id}/events`: how a workflow and its nodes stand, as server-sent events.
//!
//! A stream begins with how everything stands and then tells what has changed, so it is resumed by beginning it anew.
//! It looks into storage from time to time, less often while nothing changes; what changes twice between two looks
//! is told once.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;

use crate::http::AppState;
use crate::http::caller::By;
use crate::http::error::ApiError;
use crate::http::events::{HEARTBEAT, heartbeat, piece, stream_of};
use crate::http::path::PathParts;
use crate::http::workflows::wire::{NodeJson, WorkflowJson, WorkflowSummary};
use crate::http::workflows::{callback, find};
use crate::intake::query::Query;
use cofferdam_domain::caller::Caller;
use cofferdam_domain::workflow::WorkflowId;
use cofferdam_storage::WorkflowNodes;

/// The shortest and the longest wait between two looks.
const LOOK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Watch a workflow
///
/// The events are `workflow` (the workflow without its nodes), `node` (one node), and at the end `result` with the
/// whole workflow. A stream begins with all nodes as they stand.
#[utoipa::path(
    get, path = "/v1/workflows/{id}/events", operation_id = "watch_workflow", tag = "Workflows",
    params(("id" = String, Path, description = "The workflow's id")),
    responses((status = 200, description = "Events until the workflow is final", content_type = "text/event-stream")),
)]
pub(crate) async fn events(
    State(services): State<AppState>,
    By(caller): By,
    path: PathParts,
    uri: Uri,
) -> Result<Response, ApiError> {
    Query::of(uri.query())?.done()?;
    let id = path.workflow()?;
    let first = find(&services, &caller, id).await?;
    let mut watch = Watch {
        services,
        caller,
        id,
        told: Told::default(),
        pieces: VecDeque::new(),
        wait: LOOK.0,
        last: Instant::now(),
        is_over: false,
    };
    watch.take(first).await?;
    let pieces = stream::unfold(watch, |mut watch| async {
        let piece = watch.next().await?;
        Some((Ok::<_, Infallible>(piece), watch))
    });
    Ok(stream_of(pieces))
}

/// What was told last.
#[derive(Default)]
struct Told {
    change: Option<i64>,
    workflow: Option<WorkflowSummary>,
    nodes: HashMap<String, NodeJson>,
}

struct Watch {
    services: AppState,
    caller: Caller,
    id: WorkflowId,
    told: Told,
    /// What is not sent yet: no more than one look found.
    pieces: VecDeque<Bytes>,
    wait: Duration,
    /// When something was last sent.
    last: Instant,
    is_over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                self.last = Instant::now();
                return Some(piece);
            }
            if self.is_over {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(self.wait) => {}
                // The client begins anew at a host that is not shutting down.
                () = self.services.closing.requested() => return None,
            }
            // If it is gone or storage fails, the stream ends without a result, and the next request says why.
            let found = find(&self.services, &self.caller, self.id).await.ok()?;
            self.take(found).await.ok()?;
            if self.pieces.is_empty() && self.last.elapsed() >= HEARTBEAT {
                self.pieces.push_back(heartbeat());
            }
        }
    }

    /// Notes what has changed since the last look.
    async fn take(&mut self, found: WorkflowNodes) -> Result<(), ApiError> {
        if self.told.change == Some(found.change) {
            self.wait = (self.wait * 2).min(LOOK.1);
            return Ok(());
        }
        self.wait = LOOK.0;
        self.told.change = Some(found.change);
        self.is_over = found.workflow.state.is_final();
        let callback = match self.is_over {
            true => callback(&self.services, &self.caller, self.id).await?,
            false => None,
        };
        let shown = WorkflowJson::new(found, callback, self.services.clock.now());
        if self.told.workflow.as_ref() != Some(&shown.workflow) {
            self.pieces
                .push_back(piece(None, "workflow", &shown.workflow));
            self.told.workflow = Some(shown.workflow.clone());
        }
        for node in &shown.nodes {
            if self.told.nodes.get(&node.id) != Some(node) {
                self.pieces.push_back(piece(None, "node", node));
                self.told.nodes.insert(node.id.clone(), node.clone());
            }
        }
        if self.is_over {
            self.pieces.push_back(piece(None, "result", &shown));
        }
        Ok(())
    }
}
