//! Workflows of thirty nodes while hosts of three die: all end, no node runs before those that it waits for have
//! ended, none has two results, and none is left blocked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cofferdam_test_postgres::{Database, Server};
use serde_json::{Value, json};

use super::cluster::{Cluster, HOSTS, POLICY};
use super::history::Millis;
use super::storage;
use crate::support::storm::Bases;

/// Workflows of the suite, unless the variable says how many; `cargo xtask storm` does.
const WORKFLOWS: usize = 60;
const VARIABLE: &str = "STORM_WORKFLOWS";
const CLIENTS: usize = 8;
/// How wide each level is; every node of an inner level has two parents.
const LEVELS: [usize; 6] = [1, 7, 7, 7, 7, 1];
/// Of so many workflows one has a node that fails, and behind it are others.
const FAILS_EVERY: usize = 10;
/// How many hosts die after the last workflow was submitted.
const DEATHS: usize = 4;
/// The node that fails.
const FAILS: usize = 9;
/// The nodes of all workflows: their workflow, name, task, state, parents left, and when they ended.
const NODES: &str = "
    SELECT w.id, n.name, s.id, t.state, n.remaining, coalesce(t.finished_at, -1)
    FROM cofferdam.node n JOIN cofferdam.workflow w ON w.seq = n.workflow
        JOIN cofferdam.task t ON t.seq = n.seq JOIN cofferdam.task_spec s ON s.seq = n.seq";

/// A node, as the database has it at the end.
struct Node {
    task: String,
    is_completed: bool,
    ended_at: Millis,
}

#[test]
fn workflows_end_whichever_hosts_die() {
    let workflows = match std::env::var(VARIABLE) {
        Ok(text) => text.parse().expect("a number of workflows"),
        Err(_not_set) => WORKFLOWS,
    };
    let mut cluster = Cluster::owned(Server::start(""));
    let bases = cluster.bases.clone();
    let (next, acknowledged) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ids = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= workflows {
                        return;
                    }
                    let id = submit(&bases, number);
                    ids.lock().unwrap().insert(id, number);
                    acknowledged.fetch_add(1, Ordering::Release);
                }
            });
        }
        for tenth in 1..10 {
            while acknowledged.load(Ordering::Acquire) < workflows * tenth / 10 {
                thread::sleep(Duration::from_millis(1));
            }
            if tenth % 2 == 1 {
                let host = rand::random_range(0..HOSTS);
                println!("after {tenth} tenths host {host} dies");
                cluster.kill(host);
                cluster.restart(host);
            }
        }
    });
    // Others die while nothing but nodes is left, at even distances.
    let nodes = workflows * LEVELS.iter().sum::<usize>();
    for death in 0..DEATHS {
        while ended(&cluster.database) < nodes * death / DEATHS {
            thread::sleep(Duration::from_millis(10));
        }
        let host = rand::random_range(0..HOSTS);
        println!(
            "after {} of {nodes} nodes host {host} dies",
            ended(&cluster.database)
        );
        cluster.kill(host);
        cluster.restart(host);
    }
    cluster.await_rest();
    let ids = ids.into_inner().unwrap();
    assert_eq!(ids.len(), workflows);
    for (id, number) in &ids {
        let workflow = cluster.hosts[0].client.get(&format!("/v1/workflows/{id}"));
        let workflow = workflow.expect(200).json();
        let wanted = if fails(*number) {
            "failed"
        } else {
            "completed"
        };
        assert_eq!(workflow["status"], wanted, "{workflow}");
        assert_eq!(workflow["counts"]["open"], 0, "{workflow}");
    }
    check(&cluster, &ids);
    for host in &cluster.hosts {
        let metrics = host.client.get("/metrics").expect(200).text();
        assert!(
            metrics.contains("cofferdam_workflow_repairs_total 0\n"),
            "a workflow had to be repaired: {metrics}"
        );
    }
}

/// How many nodes have ended.
fn ended(database: &Database) -> usize {
    let counted = storage::counted(database);
    let of = |state: &str| counted.get(state).copied().unwrap_or(0);
    let ended = of("completed") + of("failed") + of("cancelled");
    usize::try_from(ended).expect("they are counted")
}

fn fails(number: usize) -> bool {
    number % FAILS_EVERY == 3
}

/// Submits a workflow until a host acknowledges it, and gives its id.
fn submit(bases: &Bases, number: usize) -> String {
    let key = format!("workflow-{number}");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key.as_str()),
    ];
    let body = workflow(number).to_string();
    for turn in number.. {
        let client = bases.client(turn);
        match client.try_send("POST", "/v1/workflows", &headers, body.as_bytes()) {
            Ok(answer) if matches!(answer.status, 200 | 202) => {
                return answer.json()["workflow_id"].as_str().unwrap().to_owned();
            }
            Ok(answer) if !matches!(answer.status, 500 | 503) => {
                panic!("{} {}", answer.status, answer.text())
            }
            // That host is gone or going; ask the next one.
            Ok(_) | Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
    unreachable!("there is always a next turn")
}

fn workflow(number: usize) -> Value {
    let parents = parents();
    let node = |at: usize| {
        let fail = u32::from(at == FAILS && fails(number)) * 100;
        json!({
            "id": format!("n{at}"), "module": "diary",
            "input": {"number": at, "ms": (number + at) % 5, "fail": fail},
            "grants": {"dirs": [{"name": "diary", "at": "/diary"}]},
            "retry": {"max_attempts": POLICY.max_attempts, "max_lost": POLICY.max_lost, "base_ms": 50},
        })
    };
    let edges: Vec<[String; 2]> = (parents.iter().enumerate())
        .flat_map(|(child, of)| of.iter().map(move |parent| (*parent, child)))
        .map(|edge| [format!("n{}", edge.0), format!("n{}", edge.1)])
        .collect();
    let nodes: Vec<Value> = (0..parents.len()).map(node).collect();
    json!({"name": format!("storm {number}"), "on_failure": "continue", "nodes": nodes, "edges": edges})
}

/// Of each node, those that it waits for.
fn parents() -> Vec<Vec<usize>> {
    let (mut all, mut before) = (Vec::new(), 0..0);
    for level in LEVELS {
        let first = all.len();
        for at in 0..level {
            let wide = before.len();
            all.push(match wide {
                0 | 1 => before.clone().collect(),
                _ if level == 1 => before.clone().collect(),
                _ => vec![before.start + at % wide, before.start + (at + 1) % wide],
            });
        }
        before = first..all.len();
    }
    all
}

/// What the database, the attempts and the guests say of every node.
fn check(cluster: &Cluster, ids: &BTreeMap<String, usize>) {
    let nodes = nodes(&cluster.database);
    let mut begun: BTreeMap<String, Vec<Millis>> = BTreeMap::new();
    for one in cluster.begun() {
        begun.entry(one.id).or_default().push(one.at);
    }
    let mut results: BTreeMap<String, usize> = BTreeMap::new();
    for attempt in storage::attempts(&cluster.database) {
        *results.entry(attempt.id).or_default() += usize::from(attempt.ended.is_ok());
    }
    let never = Vec::new();
    for (id, number) in ids {
        let of = &nodes[id];
        let mut is_skipped = BTreeSet::new();
        for (at, parents) in parents().iter().enumerate() {
            let node = &of[&format!("n{at}")];
            let what = format!("node {at} of workflow {number}");
            let ran = begun.get(&node.task).unwrap_or(&never);
            for parent in parents {
                let parent = &of[&format!("n{parent}")];
                assert!(
                    ran.iter().all(|began| *began >= parent.ended_at),
                    "{what} began before those that it waits for had ended"
                );
            }
            let failed_before = |parent: &usize| {
                is_skipped.contains(parent) || (*parent == FAILS && fails(*number))
            };
            if parents.iter().any(failed_before) {
                is_skipped.insert(at);
                assert!(
                    ran.is_empty() && !node.is_completed,
                    "{what} was to be skipped"
                );
            } else {
                assert!(!ran.is_empty(), "{what} never ran");
                assert_eq!(node.is_completed, at != FAILS || !fails(*number), "{what}");
            }
            let results = results.get(&node.task).copied().unwrap_or(0);
            assert_eq!(results, usize::from(node.is_completed), "results of {what}");
        }
    }
}

/// All nodes, by their workflows and names.
fn nodes(database: &Database) -> BTreeMap<String, BTreeMap<String, Node>> {
    let mut all: BTreeMap<String, BTreeMap<String, Node>> = BTreeMap::new();
    for row in storage::rows(database, NODES, |columns: [&str; 6]| {
        columns.map(str::to_owned)
    }) {
        let [workflow, name, task, state, remaining, ended_at] = row;
        let state = storage::named(&state);
        assert!(
            matches!(&*state, "completed" | "failed" | "cancelled"),
            "{name} is {state}"
        );
        assert_eq!(
            remaining, "0",
            "{name} of {workflow} is {state} and waits for others"
        );
        let node = Node {
            task,
            is_completed: state == "completed",
            ended_at: storage::number(&ended_at),
        };
        all.entry(workflow).or_default().insert(name, node);
    }
    all
}
