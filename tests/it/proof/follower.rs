//! A reader who follows the changes of all tasks, wherever it finds a host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::history::Seen;
use crate::support::storm::Bases;

/// The wait before the next look.
const PAUSE: Duration = Duration::from_millis(25);

/// Follows until it has seen everything that there was when `over` became true.
pub(crate) fn follow(bases: &Bases, over: &AtomicBool) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut since = "c0".to_owned();
    for turn in 0.. {
        let is_last = over.load(Ordering::Acquire);
        let path = format!("/v1/tasks?limit=1000&since={since}");
        let page = match bases.client(turn).try_send("GET", &path, &[], &[]) {
            Ok(answer) if answer.status == 200 => answer.json(),
            Ok(answer) if matches!(answer.status, 503 | 507) => {
                thread::sleep(PAUSE);
                continue;
            }
            Ok(answer) => panic!("{path}: {} {}", answer.status, answer.text()),
            Err(_gone) => {
                thread::sleep(PAUSE);
                continue;
            }
        };
        let items = page["items"].as_array().expect("a list");
        seen.extend(items.iter().map(|task| {
            Seen {
                id: task["task_id"].as_str().expect("an id").to_owned(),
                status: task["status"].as_str().expect("a status").to_owned(),
                attempt: task["attempt"]
                    .as_u64()
                    .and_then(|n| n.try_into().ok())
                    .expect("a number"),
            }
        }));
        page["as_of"]
            .as_str()
            .expect("a number")
            .clone_into(&mut since);
        if items.is_empty() {
            if is_last {
                break;
            }
            thread::sleep(PAUSE);
        }
    }
    seen
}
