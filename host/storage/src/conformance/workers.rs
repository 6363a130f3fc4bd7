//! Workers: what they tell of themselves, what they are asked to do, how long they are listed.

use std::sync::Arc;
use std::time::Duration;

use super::Backend;
use super::fixture::*;
use crate::{Asked, WORKERS_KEPT};
use cofferdam_domain::attempt::WorkerId;
use cofferdam_domain::state::TaskState;
use cofferdam_domain::worker::{Beat, Capability, Profile, Worker, WorkerName, WorkerState};

pub(crate) async fn a_worker_is_known_by_what_it_told_last<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    assert_eq!(storage.worker(ME).await.unwrap(), None);
    let asked = storage.heartbeat(beat(ME), at(1)).await.unwrap();
    assert_eq!(asked, Asked { drain: false });
    let first = beat(ME);
    let known = Worker {
        id: ME,
        profile: Profile::clone(&first.profile),
        slots: 16,
        load: 0,
        told: WorkerState::Idle,
        drain_asked: false,
        heard_at: at(1),
    };
    assert_eq!(storage.worker(ME).await.unwrap(), Some(known));
    let profile = Profile {
        name: WorkerName::parse("Host-2").unwrap(),
        address: None,
        capabilities: vec![Capability::of_group("eu").unwrap()],
        version: "2".to_owned(),
        started_at: at(-5),
    };
    for state in WorkerState::ALL {
        let next = Beat {
            profile: Arc::new(profile.clone()),
            slots: u32::try_from(i32::MAX).unwrap(),
            load: 7,
            state,
            ..beat(ME)
        };
        storage.heartbeat(next, at(3)).await.unwrap();
        let known = storage.worker(ME).await.unwrap().unwrap();
        assert_eq!((known.told, &known.profile), (state, &profile));
        assert_eq!((known.slots, known.load), (2_147_483_647, 7));
    }
    // A clock that goes back does not make it look older.
    storage.heartbeat(beat(ME), at(2)).await.unwrap();
    let known = storage.worker(ME).await.unwrap().unwrap();
    assert_eq!((known.heard_at, known.told), (at(3), WorkerState::Idle));
    backend
}

pub(crate) async fn a_drain_is_heard_of_at_the_next_heartbeat<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    assert_eq!(storage.ask_to_drain(ME, true).await.unwrap(), None);
    storage.heartbeat(beat(ME), at(1)).await.unwrap();
    storage.heartbeat(beat(OTHER), at(1)).await.unwrap();
    for drain in [true, true, false, false] {
        let asked = storage.ask_to_drain(ME, drain).await.unwrap().unwrap();
        assert_eq!((asked.id, asked.drain_asked), (ME, drain));
        let heard = storage.heartbeat(beat(ME), at(2)).await.unwrap();
        assert_eq!(heard, Asked { drain });
        let other = storage.heartbeat(beat(OTHER), at(2)).await.unwrap();
        assert_eq!(other, Asked { drain: false });
    }
    backend
}

pub(crate) async fn workers_are_listed_page_by_page<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let ids = [3, 1, 5, 2, 4].map(|number| WorkerId(uuid::Uuid::from_u128(number << 100)));
    for worker in ids {
        storage.heartbeat(beat(worker), at(1)).await.unwrap();
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = storage.workers(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        listed.extend(page.iter().map(|worker| worker.id.0));
    }
    let mut sorted = ids.map(|worker| worker.0);
    sorted.sort_unstable();
    assert_eq!(listed, sorted);
    backend
}

pub(crate) async fn who_has_ended_loses_its_tasks_at_once<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    insert(storage, new_task(1)).await;
    storage.heartbeat(beat(OTHER), at(1)).await.unwrap();
    claim_one(storage, OTHER, at(1)).await;
    assert_eq!(storage.rescue(ME, at(0), 9, at(2)).await.unwrap(), []);
    let last = Beat {
        state: WorkerState::Terminated,
        ..beat(OTHER)
    };
    storage.heartbeat(last, at(2)).await.unwrap();
    assert_eq!(storage.rescue(ME, at(0), 9, at(2)).await.unwrap().len(), 1);
    assert_eq!(state(storage, 1).await, TaskState::Pending);
    backend
}

pub(crate) async fn silent_workers_without_tasks_are_removed<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let busy = WorkerId(id(0xb1).0);
    insert(storage, new_task(1)).await;
    for worker in [ME, OTHER, busy] {
        storage.heartbeat(beat(worker), at(1)).await.unwrap();
    }
    claim_one(storage, busy, at(1)).await;
    storage.heartbeat(beat(ME), at(2)).await.unwrap();
    let long_after = at(1).plus(WORKERS_KEPT);
    storage.prune(at(0), 99, 9, long_after).await.unwrap();
    assert_eq!(storage.workers(None, 9).await.unwrap().len(), 3);
    let later = long_after.plus(Duration::from_millis(1));
    storage.prune(at(0), 99, 9, later).await.unwrap();
    let left = storage.workers(None, 9).await.unwrap();
    let mut left: Vec<_> = left.iter().map(|worker| worker.id).collect();
    left.sort_unstable_by_key(|worker| worker.0);
    assert_eq!(left, [busy, ME]);
    backend
}
