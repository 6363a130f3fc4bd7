//! One node of a workflow: a task, source text, a wait, or a workflow.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::intake::cache::CacheJson;
use crate::intake::callback::CallbackJson;
use crate::intake::code;
use crate::intake::grants::GrantsJson;
use crate::intake::json::{EXACT_MAX, Whole, present};
use crate::intake::limits::LimitsJson;
use crate::intake::refused::Refused;
use crate::intake::retry::RetryJson;
use crate::intake::task::TaskRequest;
use crate::intake::workflow::GraphRequest;
use cofferdam::interpreters::request::MEMORY_BYTES;
use cofferdam::nodes::plan::MapText;
use cofferdam::nodes::script::Script;
use cofferdam::queue::Submission;
use cofferdam::runner::Runner;
use cofferdam::workflows::{GraphSubmission, NodeSubmission, NodeWork};
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::limits::LimitRequest;
use cofferdam_domain::task::Input;

/// A node of a workflow: exactly one of `module`, `script`, `workflow` and `wait`, and the fields of a task.
///
/// In `input`, `{"$from": NODE, "pointer": POINTER}` stands for the output of a node before this one (or what the
/// pointer leads to in it), `{"$error": NODE}` for its failure, `{"$input": POINTER}` for the workflow's input, and
/// `{"$literal": VALUE}` for a value that is not searched.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeRequest<'a> {
    /// Its name within the workflow.
    #[schema(pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
    id: String,
    /// A module's name, or name@sha256:…
    #[schema(pattern = "^[a-z0-9][a-z0-9._/-]{0,127}(@sha256:[0-9a-f]{64})?$")]
    module: Option<String>,
    /// Source text, which gets the node's input as a script that is a module does: by its function `run(input)`, or
    /// in its variable `input`. Its value is the node's output.
    script: Option<ScriptRequest>,
    /// A workflow of its own, whose nodes refer to this node's input with `$input`. Its output is an object of the
    /// outputs of its last nodes.
    #[serde(default, borrow)]
    #[schema(value_type = Option<GraphRequest>)]
    pub(super) workflow: Option<&'a RawValue>,
    /// A signal to wait for, with whose content it completes.
    wait: Option<WaitRequest>,
    /// Any JSON, with references.
    #[serde(default, borrow, deserialize_with = "present")]
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<&'a RawValue>,
    /// Any bytes, instead of `input`.
    input_base64: Option<String>,
    /// `application/json` for `input` if absent. Only JSON is searched for references.
    content_type: Option<String>,
    /// Arguments, for commands.
    args: Option<Vec<String>>,
    /// Environment variables.
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    env: Option<crate::intake::json::UniqueMap>,
    limits: Option<LimitsJson>,
    retry: Option<RetryJson>,
    grants: Option<GrantsJson>,
    /// `shared`, `process` or `dedicated`, as for a task.
    #[schema(pattern = "^(shared|process|dedicated)$")]
    isolation: Option<String>,
    /// Capabilities the worker must have.
    #[schema(max_items = 16)]
    requires: Option<Vec<String>>,
    /// The worker that it is for at first.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    preferred_worker: Option<String>,
    /// Whom the node's end is told.
    callback: Option<CallbackJson>,
    /// The caller's own object, kept with the node's task.
    #[serde(default, borrow)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<&'a RawValue>,
    /// For how long its result may be that of another run of the same; a node that takes in files has none.
    cache: Option<CacheJson>,
    /// What becomes of it if a node before it did not complete: `skip` (it does not run; the default) or `run`
    /// (that node's output is null).
    #[schema(pattern = "^(skip|run)$")]
    on_parent_failure: Option<String>,
    /// A condition without which it does not run: a reference, and `equals`, `not`, `exists`, `in`, `gt`, `gte`, `lt`
    /// or `lte`, all of which must hold.
    #[schema(value_type = Option<Object>)]
    when: Option<Box<RawValue>>,
    /// It runs once for each element of a list, which `{"$item": POINTER}` stands for in its input; its output is
    /// the list of the outputs.
    map: Option<MapRequest>,
}

/// Source text of a node.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScriptRequest {
    /// `python`, `javascript` or `typescript`.
    language: String,
    /// The source.
    code: String,
}

/// A signal to wait for.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitRequest {
    /// Its name.
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_.:-]+$")]
    signal: String,
    /// How long, after which the node fails; for ever if absent.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 31_622_400_000_u64)]
    timeout_ms: Option<Whole<1, EXACT_MAX>>,
}

/// What a node runs for each of.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MapRequest {
    /// A reference to a list.
    #[schema(value_type = Object)]
    over: Box<RawValue>,
    /// The most elements that the list may have; 1,000 if absent.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000)]
    max: Option<Whole<1, 1_000>>,
    /// How many may be under way at once; any number if absent.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000)]
    concurrency: Option<Whole<1, 1_000>>,
}

impl NodeRequest<'_> {
    /// Takes what the workflow says of results that may be taken from another run, if the node runs something and does
    /// not say it.
    pub(super) fn cache_by_default(&mut self, cache: Option<CacheJson>) {
        if self.module.is_some() || self.script.is_some() {
            self.cache = self.cache.or(cache);
        }
    }

    /// What a node that is no workflow does; `body` is the text this was read from.
    pub(super) fn into_submission(
        mut self,
        body: &Bytes,
        runner: &Runner,
    ) -> Result<NodeSubmission, Refused> {
        let work = match (self.module.take(), self.script.take(), self.wait.take()) {
            (Some(module), None, None) => NodeWork::Module(Box::new(self.task(body, module)?)),
            (None, Some(script), None) => {
                NodeWork::Script(Box::new(self.script(body, script, runner)?))
            }
            (None, None, Some(wait)) => {
                self.runs_nothing("wait")?;
                if self.input.is_some() {
                    return Err(Refused::field("input", "a node that waits has none"));
                }
                NodeWork::Wait {
                    signal: wait.signal,
                    timeout_ms: wait.timeout_ms.map(|timeout| timeout.0),
                }
            }
            (_, _, _) => return Err(not_one()),
        };
        self.finish(work)
    }

    /// A node that is a workflow of that graph.
    pub(super) fn into_nested(self, graph: GraphSubmission) -> Result<NodeSubmission, Refused> {
        if self.module.is_some() || self.script.is_some() || self.wait.is_some() {
            return Err(not_one());
        }
        self.runs_nothing("workflow")?;
        let input = self.input.map(|input| input.get().to_owned());
        self.finish(NodeWork::Workflow { input, graph })
    }

    fn finish(self, work: NodeWork) -> Result<NodeSubmission, Refused> {
        let runs_after_failure = match self.on_parent_failure.as_deref() {
            None | Some("skip") => false,
            Some("run") => true,
            Some(_) => return Err(Refused::field("on_parent_failure", "neither skip nor run")),
        };
        let map = self.map.map(|map| MapText {
            over: map.over,
            max: map.max.map(|max| max.0),
            concurrency: map.concurrency.map(|most| most.0),
        });
        Ok(NodeSubmission {
            id: self.id,
            work,
            when: self.when,
            map,
            runs_after_failure,
        })
    }

    /// Refuses the fields of a task in a node that is none.
    fn runs_nothing(&self, what: &str) -> Result<(), Refused> {
        let given = [
            ("input_base64", self.input_base64.is_some()),
            ("content_type", self.content_type.is_some()),
            ("args", self.args.is_some()),
            ("env", self.env.is_some()),
            ("limits", self.limits.is_some()),
            ("retry", self.retry.is_some()),
            ("grants", self.grants.is_some()),
            ("isolation", self.isolation.is_some()),
            ("requires", self.requires.is_some()),
            ("preferred_worker", self.preferred_worker.is_some()),
            ("callback", self.callback.is_some()),
            ("metadata", self.metadata.is_some()),
            ("cache", self.cache.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((field, _)) => {
                let why = format!("a node with {what} has none");
                Err(Refused::field(field, why))
            }
            None => Ok(()),
        }
    }

    /// The task of a node with a module.
    fn task(&mut self, body: &Bytes, module: String) -> Result<Submission, Refused> {
        let has_input = self.input.is_some() || self.input_base64.is_some();
        let task = self.request(module).into_submission(body)?;
        Ok(match self.map.is_some() && !has_input {
            true => Submission {
                input: json(Bytes::from_static(ITEM)),
                ..task
            },
            false => task,
        })
    }

    /// The task of a node with source text.
    fn script(
        &mut self,
        body: &Bytes,
        script: ScriptRequest,
        runner: &Runner,
    ) -> Result<Submission, Refused> {
        let taken = [
            ("input_base64", self.input_base64.is_some()),
            ("content_type", self.content_type.is_some()),
            ("args", self.args.is_some()),
            ("env", self.env.is_some()),
        ];
        if let Some((field, _)) = taken.iter().find(|(_, is_given)| *is_given) {
            return Err(Refused::field(field, "a node with script has none"));
        }
        let language = code::language(&script.language)?;
        // This comes before mistakes of the node, which do not matter while no code can run.
        runner.interpreters().get(language)?;
        let item = serde_json::from_slice::<&RawValue>(ITEM).ok();
        let input = self.input.take().or(item.filter(|_| self.map.is_some()));
        let script = Script {
            code: script.code.into(),
            input,
        };
        let task = self
            .request(language.module().to_string())
            .into_submission(body)?;
        let memory_most = runner.admission().ceilings().memory_bytes;
        let memory_bytes = task
            .limits
            .memory_bytes
            .unwrap_or(MEMORY_BYTES.min(memory_most));
        Ok(Submission {
            input: json(script.text()),
            limits: LimitRequest {
                memory_bytes: Some(memory_bytes),
                ..task.limits
            },
            ..task
        })
    }

    /// The same fields as a task.
    fn request(&mut self, module: String) -> TaskRequest<'_> {
        TaskRequest {
            module,
            input: self.input,
            input_base64: self.input_base64.take(),
            content_type: self.content_type.take(),
            args: self.args.take().unwrap_or_default(),
            env: self.env.take().unwrap_or_default(),
            priority: None,
            delay_ms: None,
            run_at: None,
            dedup_key: None,
            task_id: None,
            limits: self.limits.take().unwrap_or_default(),
            retry: self.retry.take().unwrap_or_default(),
            grants: self.grants.take().unwrap_or_default(),
            isolation: self.isolation.take(),
            requires: self.requires.take().unwrap_or_default(),
            preferred_worker: self.preferred_worker.take(),
            cache: self.cache.take(),
            callback: self.callback.take(),
            metadata: self.metadata,
        }
    }
}

/// The input of a node with `map` that says none: the element.
const ITEM: &[u8] = br#"{"$item":null}"#;

fn json(body: Bytes) -> Input {
    Input::Inline(Payload::json(body))
}

fn not_one() -> Refused {
    Refused::field(
        "module",
        "a node has exactly one of module, script, workflow and wait",
    )
}
