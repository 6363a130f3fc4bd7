//! What must be true once storage fails no more.

use std::time::Duration;

use super::actors::Part;
use super::client::{Client, There};
use super::world::{Heard, Op, PATIENCE, Round, SLOTS, World};
use cofferdam_domain::state::TaskState;
use cofferdam_domain::whose::Whose;

impl World {
    /// Lets everything come to its end: whatever was taken, and whoever listens.
    pub(super) async fn settle(&mut self) {
        self.plan.stop();
        for number in 0..self.clients.len() {
            if self.clients[number].get_mut().there == There::Unknown {
                self.submit(number..number + 1).await;
                assert_eq!(self.clients[number].get_mut().there, There::Yes);
            }
        }
        let all_final = async {
            loop {
                self.end_those_that_wait().await;
                self.later(500);
                let counts = self.opened.reads.counts(&Whose::All).await.unwrap();
                if counts.pending + counts.running == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all_final).await.is_err() {
            panic!("not every task ends: {}", self.open().await);
        }
    }

    /// Cancels what would run for ever. A cancel may come too early for it: it is made again.
    async fn end_those_that_wait(&self) {
        for client in &self.clients {
            let mut client = client.lock().await;
            if client.part.waits() && client.there == There::Yes && !client.ends_cancelled {
                client.cancel(&self.host().queue, || self.log.len()).await;
            }
        }
    }

    async fn open(&self) -> String {
        let shared = &self.host().queue.shared;
        let mut open = format!(
            "in hand {:?}, ready {}, running {}, held {:?}",
            shared.hands.all(),
            shared.ready.len(),
            shared.running.len(),
            self.opened.tasks.held(shared.worker).await,
        );
        for client in &self.clients {
            let client = client.lock().await;
            let task = self
                .opened
                .reads
                .task(&Whose::All, client.id)
                .await
                .unwrap();
            if task.as_ref().is_some_and(|task| !task.state.is_final()) {
                open.push_str(&format!("\n{client:?} {task:?}"));
            }
        }
        open
    }

    pub(super) async fn check(&mut self) {
        self.check_listeners().await;
        for number in 0..self.clients.len() {
            self.check_task(number).await;
        }
        self.check_slots().await;
        self.check_nothing_is_left().await;
    }

    async fn check_listeners(&mut self) {
        let mut listeners = std::mem::take(&mut *self.host().listeners.lock().unwrap());
        while !listeners.is_empty() {
            let heard = tokio::time::timeout(PATIENCE, listeners.join_next()).await;
            let heard = heard.expect("nobody listens for ever").unwrap().unwrap();
            match heard {
                Heard::Watched(number, stood, states) => {
                    self.check_watch(number, stood, &states).await;
                }
                Heard::Waited(number, was_there, waited) => match *waited {
                    Ok(Some(task)) => assert!(task.state.is_final(), "{task:?}"),
                    Ok(None) if was_there => {
                        let client = self.clients[number].get_mut();
                        let may_be_gone = client.changed_its_mind || client.there != There::Yes;
                        assert!(may_be_gone, "{client:?}");
                    }
                    Ok(None) | Err(_) => {}
                },
            }
        }
    }

    async fn check_watch(&mut self, number: usize, stood: TaskState, states: &[(TaskState, u32)]) {
        let client = self.clients[number].get_mut();
        if client.purged {
            return;
        }
        check_order(states);
        if client.changed_its_mind {
            return;
        }
        let task = self
            .opened
            .reads
            .task(&Whose::All, client.id)
            .await
            .unwrap()
            .unwrap();
        let last = states.last().map_or(stood, |(state, _)| *state);
        assert_eq!(last, task.state, "what a watcher heard last: {states:?}");
    }

    async fn check_task(&mut self, number: usize) {
        let was_misjudged = self.was_misjudged;
        let client: &Client = self.clients[number].get_mut();
        let (reads, id) = (&self.opened.reads, client.id);
        let task = reads.task(&Whose::All, id).await.unwrap();
        if let There::Gone(since) = client.there {
            assert!(task.is_none(), "{client:?} is there: {task:?}");
            assert!(was_misjudged || self.log.begun(id, since).is_empty());
            return;
        }
        let task = task.expect("what was taken is there");
        assert!(task.state.is_final());
        let attempts = reads.attempts(&Whose::All, id, 0, 100).await.unwrap();
        let numbers: Vec<u32> = attempts.iter().map(|attempt| attempt.number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        let successes = attempts.iter().filter(|end| end.failure.is_none()).count();
        let at_least = usize::from(task.state == TaskState::Completed);
        // What a cancelled guest gave in time is kept; run again by hand, the task succeeds once more.
        let at_most = if client.changed_its_mind {
            numbers.len().max(1)
        } else {
            1
        };
        let expected = at_least..=at_most;
        assert!(expected.contains(&successes), "{task:?}: {attempts:?}");
        if task.state == TaskState::Completed {
            let last = numbers.last().copied();
            assert_eq!(last, Some(task.attempt));
            assert!(self.log.begun(id, 0).contains(&task.attempt));
        }
        if client.ends_cancelled {
            assert_eq!(task.state, TaskState::Cancelled, "{client:?}");
        }
        if let Some(since) = client.cancelled_since
            && !was_misjudged
        {
            let begun = self.log.begun(id, since);
            assert!(begun.is_empty(), "{client:?} began afterwards: {begun:?}");
        }
    }

    /// As many guests as there are slots run at once.
    async fn check_slots(&mut self) {
        let first = self.clients.len();
        let sleepers = vec![Part::Sleeps; usize::try_from(SLOTS).unwrap()];
        let submit = Round::Calls(vec![Op::Submit(sleepers, 0)]);
        self.play(&submit).await;
        let all_run = async {
            while self.log.running() < usize::try_from(SLOTS).unwrap() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let all_run = tokio::time::timeout(PATIENCE, all_run).await;
        all_run.expect("every slot is free");
        let numbers = first..self.clients.len();
        let cancel = numbers.map(Op::Cancel).collect();
        self.play(&Round::Calls(cancel)).await;
        self.settle().await;
    }

    async fn check_nothing_is_left(&mut self) {
        let shared = std::sync::Arc::clone(&self.host().queue.shared);
        let queue = std::sync::Arc::clone(&self.host().queue);
        let is_empty = async || {
            shared.hands.all().is_empty()
                && shared.ready.len() == 0
                && shared.running.len() == 0
                && shared.waiters.is_empty()
                && queue.recording_is_stuck().is_none()
                && self
                    .opened
                    .tasks
                    .held(shared.worker)
                    .await
                    .unwrap()
                    .is_empty()
        };
        let emptied = async {
            while !is_empty().await {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, emptied).await.is_err() {
            panic!(
                "something is left: stuck for {:?}, {}",
                queue.recording_is_stuck(),
                self.open().await
            );
        }
    }
}

/// Nothing that was told goes back, but for an attempt that did not begin and what follows a retry
/// by hand.
fn check_order(states: &[(TaskState, u32)]) {
    for pair in states.windows(2) {
        let [(before, number), (after, next)] = pair else {
            unreachable!("windows of two")
        };
        let goes_on = match (before, after) {
            (TaskState::Running, TaskState::Running) => next > number,
            (TaskState::Running, TaskState::Pending) => next == number || *next + 1 == *number,
            (TaskState::Running, _) => next >= number || *next + 1 == *number,
            (TaskState::Pending, TaskState::Running) => next > number,
            (TaskState::Pending, _) => next >= number,
            // A retry by hand.
            (_, TaskState::Pending) => next >= number,
            (_, TaskState::Running) => next > number,
            (_, _) => next > number,
        };
        assert!(goes_on, "{pair:?} in {states:?}");
    }
}
