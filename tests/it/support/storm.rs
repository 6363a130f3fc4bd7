//! A storm: many tasks submitted at once, under idempotency keys, while hosts are killed.
//!
//! What happens to the hosts meanwhile is the test's own; here is what clients do about it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::http::Client;

/// The addresses of the hosts, which change when a host starts again.
#[derive(Clone)]
pub(crate) struct Bases(Arc<[Mutex<String>]>);

impl Bases {
    pub(crate) fn of<'a>(clients: impl IntoIterator<Item = &'a Client>) -> Bases {
        let bases = clients.into_iter().map(|client| client.base.clone());
        Bases(bases.map(Mutex::new).collect())
    }

    /// The host of that number is where this client looks for it.
    pub(crate) fn moved(&self, host: usize, client: &Client) {
        self.0[host].lock().unwrap().clone_from(&client.base);
    }

    /// A client of the host whose turn it is.
    pub(crate) fn client(&self, turn: usize) -> Client {
        let base = &self.0[turn % self.0.len()];
        Client::new(base.lock().unwrap().clone())
    }
}

/// Submits `tasks` tasks of `echo` over `connections` connections until each is acknowledged; meanwhile
/// runs `during`, which may wait until so many are. Gives the input of each task by its id.
pub(crate) fn submit_all(
    tasks: usize,
    connections: usize,
    bases: &Bases,
    during: impl FnOnce(&dyn Fn(usize)),
) -> BTreeMap<String, usize> {
    let acknowledged = Mutex::new(BTreeMap::new());
    let (next, acks) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= tasks {
                        return;
                    }
                    let id = submit_until_acknowledged(bases, number);
                    acknowledged.lock().unwrap().insert(id, number);
                    acks.fetch_add(1, Ordering::Release);
                }
            });
        }
        during(&|number| {
            while acks.load(Ordering::Acquire) < number {
                thread::sleep(Duration::from_millis(1));
            }
        });
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert_eq!(acknowledged.len(), tasks);
    acknowledged
}

/// Each of these tasks is completed, and its result is its input.
pub(crate) fn assert_completed(client: &Client, tasks: &BTreeMap<String, usize>) {
    for (id, number) in tasks {
        let task = client.final_task(id);
        assert_eq!(task["status"], "completed", "{task}");
        let result = client.get(&format!("/v1/tasks/{id}/result")).expect(200);
        assert_eq!(result.json(), json!(number), "{task}");
    }
}

/// Submits a task under an idempotency key until a host acknowledges it, whichever that is.
fn submit_until_acknowledged(bases: &Bases, number: usize) -> String {
    let key = format!("storm-{number}");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key.as_str()),
    ];
    let body = json!({"module": "echo", "input": number}).to_string();
    for turn in number.. {
        match bases
            .client(turn)
            .try_send("POST", "/v1/tasks", &headers, body.as_bytes())
        {
            Ok(answer) if answer.status == 202 || answer.status == 200 => {
                return answer.json()["task_id"].as_str().unwrap().to_owned();
            }
            Ok(answer) if answer.status != 503 => panic!("{} {}", answer.status, answer.text()),
            // That host is gone or going; ask the next one.
            Ok(_) | Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
    unreachable!("there is always a next turn")
}
