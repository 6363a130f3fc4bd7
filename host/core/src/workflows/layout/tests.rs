//! How workflows are laid out, and what is refused.

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::nodes::plan::MapText;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::module::ModuleRef;

fn module(input: &Value) -> NodeWork {
    let payload = Payload {
        content_type: "application/json".into(),
        body: Bytes::from(input.to_string()),
    };
    let module = ModuleRef::parse("m").unwrap();
    NodeWork::Module(Box::new(Submission::new(module, Input::Inline(payload))))
}

fn node(id: &str, work: NodeWork) -> NodeSubmission {
    NodeSubmission {
        id: id.to_owned(),
        work,
        when: None,
        map: None,
        runs_after_failure: false,
    }
}

fn graph(nodes: Vec<NodeSubmission>, edges: &str) -> GraphSubmission {
    let edges = edges.split_whitespace().map(|edge| {
        let (from, to) = edge.split_once('>').unwrap();
        (from.to_owned(), to.to_owned())
    });
    let edges = edges.collect();
    GraphSubmission { nodes, edges }
}

fn nested(input: Option<Value>, graph: GraphSubmission) -> NodeWork {
    NodeWork::Workflow {
        input: input.map(|input| input.to_string()),
        graph,
    }
}

/// Each node with the names of those that it waits for.
fn told(laid: &[Laid]) -> Vec<(String, Vec<String>)> {
    let name = |place: &u32| laid[usize::try_from(*place).unwrap()].name.clone();
    laid.iter()
        .map(|node| (node.name.clone(), node.parents.iter().map(name).collect()))
        .collect()
}

fn refusal(graph: GraphSubmission, input: Option<&str>) -> String {
    match Layout::of(graph, Some(input)) {
        Err(error) => error.to_string(),
        Ok(laid) => panic!("{:?}", told(&laid)),
    }
}

#[test]
fn a_plain_node_has_no_plan_and_one_with_references_has() {
    let nodes = vec![
        node("a", module(&json!(7))),
        node("b", module(&json!({"x": {"$from": "a"}}))),
    ];
    let laid = Layout::of(graph(nodes, "a>b"), Some(None)).unwrap();
    assert!(laid[0].plan.is_none() && laid[1].plan.is_some());
    assert_eq!(
        (laid[0].parents.as_slice(), laid[1].parents.as_slice()),
        (&[][..], &[0][..])
    );
    let templates = laid.iter().map(|node| match &node.what {
        What::Task(task) => task.is_template,
        What::Control { .. } => panic!("both are tasks"),
    });
    assert_eq!(templates.collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_nested_workflow_is_laid_out_into_the_one_around_it() {
    let inner = graph(
        vec![
            node("x", module(&json!({"$input": "/n"}))),
            node("y", module(&json!({"$from": "x"}))),
            node("z", module(&json!(null))),
        ],
        "x>y",
    );
    let nodes = vec![
        node("a", module(&json!(null))),
        node("sub", nested(Some(json!({"n": {"$from": "a"}})), inner)),
        node("b", module(&json!({"$from": "sub", "pointer": "/y"}))),
    ];
    let laid = Layout::of(graph(nodes, "a>sub sub>b"), Some(None)).unwrap();
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let expected = [
        ("a", list(&[])),
        ("sub/$input", list(&["a"])),
        ("sub/x", list(&["sub/$input"])),
        ("sub/y", list(&["sub/$input", "sub/x"])),
        ("sub/z", list(&["sub/$input"])),
        ("sub", list(&["sub/$input", "sub/y", "sub/z"])),
        ("b", list(&["sub"])),
    ];
    assert_eq!(
        told(&laid),
        expected.map(|(name, parents)| (name.to_owned(), parents))
    );
    let What::Control {
        input: Some(outputs),
    } = &laid[5].what
    else {
        panic!("the host does it");
    };
    let outputs: Value = serde_json::from_str(outputs).unwrap();
    assert_eq!(outputs, json!({"y": {"$from": "y"}, "z": {"$from": "z"}}));
}

#[test]
fn workflows_nest_so_deep_and_no_deeper() {
    let deep = |levels: usize| {
        let mut graph_of = graph(vec![node("x", module(&json!(null)))], "");
        for _ in 0..levels {
            graph_of = graph(vec![node("n", nested(None, graph_of))], "");
        }
        graph_of
    };
    assert_eq!(
        Layout::of(deep(DEPTH_MAX), Some(None)).unwrap().len(),
        2 * DEPTH_MAX + 1
    );
    assert!(refusal(deep(DEPTH_MAX + 1), None).contains("at most 8 deep"));
}

#[test]
fn what_a_node_names_is_a_node_before_it() {
    let two = |input: Value| vec![node("a", module(&json!(null))), node("b", module(&input))];
    let told = |input: Value, edges: &str, of: Option<&str>| refusal(graph(two(input), edges), of);
    let unknown = told(json!([{"$from": "c"}]), "a>b", None);
    assert_eq!(unknown, "node b: input: c is no node");
    let no_edge = told(json!({"$from": "a"}), "", None);
    assert_eq!(
        no_edge,
        "node b: input: it names a, but no edge leads from a to b"
    );
    let against = told(json!({"$error": "a"}), "b>a", None);
    assert!(against.contains("no edge leads from a to b"), "{against}");
    let outside = told(json!({"$input": "/m"}), "", Some(r#"{"n": 1}"#));
    assert_eq!(
        outside,
        "node b: input: the input of the workflow has nothing at /m"
    );
    assert!(told(json!({"$item": ""}), "", None).contains("only a node with map"));
    assert!(told(json!({"$from": "a", "x": 1}), "a>b", None).starts_with("node b: input: "));
    assert!(
        told(json!(1), "a>b b>a", None).contains("a → b → a")
            || told(json!(1), "a>b b>a", None).contains("b → a → b")
    );
    let inside = graph(vec![node("x", module(&json!({"$from": "a"})))], "");
    let nodes = vec![
        node("a", module(&json!(null))),
        node("sub", nested(None, inside)),
    ];
    assert_eq!(
        refusal(graph(nodes, "a>sub"), None),
        "node sub/x: input: a is no node"
    );
    let twice = graph(
        vec![node("x", module(&json!(1))), node("x", module(&json!(1)))],
        "",
    );
    let nodes = vec![node("sub", nested(None, twice))];
    assert_eq!(
        refusal(graph(nodes, ""), None),
        "in node sub: two nodes have the id x"
    );
}

#[test]
fn a_map_has_items_and_a_wait_and_a_workflow_have_no_map() {
    let over = |over: &Value| MapText {
        over: serde_json::value::to_raw_value(over).unwrap(),
        max: None,
        concurrency: None,
    };
    let mapped = |work: NodeWork, list: Value| NodeSubmission {
        map: Some(over(&list)),
        ..node("b", work)
    };
    let first = || node("a", module(&json!(null)));
    let each = mapped(module(&json!({"x": {"$item": ""}})), json!({"$from": "a"}));
    let laid = Layout::of(graph(vec![first(), each], "a>b"), Some(None)).unwrap();
    assert!(laid[1].plan.as_ref().unwrap().map.is_some());
    let each = mapped(module(&json!(1)), json!({"$from": "a"}));
    assert!(refusal(graph(vec![first(), each], ""), None).contains("map.over: it names a"));
    let wait = NodeWork::Wait {
        signal: "go".to_owned(),
        timeout_ms: None,
    };
    let each = mapped(wait, json!({"$from": "a"}));
    assert!(refusal(graph(vec![first(), each], "a>b"), None).contains("waits has no map"));
    let each = mapped(
        nested(None, graph(vec![first()], "")),
        json!({"$from": "a"}),
    );
    assert!(refusal(graph(vec![first(), each], "a>b"), None).contains("is a workflow has no map"));
}
