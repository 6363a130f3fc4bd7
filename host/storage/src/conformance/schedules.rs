//! Schedules.

use std::time::Duration;

use super::fixture::*;
use super::{Backend, Storage};
use crate::{PutSchedule, SCHEDULES_MAX};
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::schedule::{
    CatchUp, Fired, Firing, Overlap, Plan, Schedule, ScheduleName, Scheduled, Timetable, Work,
};
use cofferdam_domain::task::TaskId;
use cofferdam_domain::workflow::WorkflowId;

fn name(text: &str) -> ScheduleName {
    ScheduleName::parse(text).unwrap()
}

fn them() -> Tenant {
    Tenant::parse("them").unwrap()
}

fn plan() -> Plan {
    Plan {
        timetable: Timetable::Cron {
            pattern: "0 3 * * *".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
        },
        what: Scheduled::Task(r#"{"module":"m"}"#.to_owned()),
        catch_up: CatchUp::One,
        overlap: Overlap::Cancel,
        paused: false,
    }
}

async fn put(storage: &dyn Storage, tenant: &Tenant, text: &str, next: Option<i64>) -> PutSchedule {
    let next = next.map(at);
    let (name, plan) = (name(text), plan());
    let put = storage.put_schedule(tenant, &name, &plan, next, at(1));
    put.await.unwrap()
}

async fn find(storage: &dyn Storage, tenant: &Tenant, text: &str) -> Option<Schedule> {
    storage.find_schedule(tenant, &name(text)).await.unwrap()
}

pub(crate) async fn what_was_said_of_a_schedule_is_kept<B: Backend>(backend: B) -> B {
    let tenant = Tenant::default();
    let before = {
        let storage = backend.storage();
        assert_eq!(
            put(storage, &tenant, "a", Some(9)).await,
            PutSchedule::Created
        );
        let every = Plan {
            timetable: Timetable::Every(Duration::from_secs(60)),
            paused: true,
            catch_up: CatchUp::All,
            overlap: Overlap::Skip,
            ..plan()
        };
        let b = name("b");
        let put = storage.put_schedule(&tenant, &b, &every, None, at(2));
        assert_eq!(put.await.unwrap(), PutSchedule::Created);
        let kept = find(storage, &tenant, "b").await.unwrap();
        assert_eq!((kept.plan, kept.next_at, kept.last), (every, None, None));
        find(storage, &tenant, "a").await.unwrap()
    };
    assert_eq!((&before.plan, before.next_at), (&plan(), Some(at(9))));
    assert_eq!((before.created_at, before.updated_at), (at(1), at(1)));
    let backend = backend.reopened().await;
    let storage = backend.storage();
    assert_eq!(find(storage, &tenant, "a").await.as_ref(), Some(&before));
    let (a, plan) = (name("a"), plan());
    let again = storage.put_schedule(&tenant, &a, &plan, Some(at(12)), at(3));
    assert_eq!(again.await.unwrap(), PutSchedule::Replaced);
    let after = find(storage, &tenant, "a").await.unwrap();
    assert_eq!((after.created_at, after.updated_at), (at(1), at(3)));
    assert_eq!(after.next_at, Some(at(12)));
    assert!(after.revision > before.revision);
    backend
}

pub(crate) async fn schedules_are_their_tenants<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let us = Tenant::default();
    for text in ["b", "a", "c"] {
        put(storage, &us, text, Some(5)).await;
    }
    put(storage, &them(), "b", Some(6)).await;
    let listed = async |tenant: &Tenant, after: Option<&str>, limit| {
        let after = after.map(name);
        let listed = storage.list_schedules(tenant, after.as_ref(), limit);
        let listed = listed.await.unwrap();
        let names = listed.iter().map(|it| it.name.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(listed(&us, None, 2).await, ["a", "b"]);
    assert_eq!(listed(&us, Some("b"), 2).await, ["c"]);
    assert_eq!(listed(&them(), None, 9).await, ["b"]);
    assert!(!storage.remove_schedule(&them(), &name("a")).await.unwrap());
    assert!(storage.remove_schedule(&us, &name("b")).await.unwrap());
    assert_eq!(find(storage, &us, "b").await, None);
    assert!(find(storage, &them(), "b").await.is_some());
    backend
}

pub(crate) async fn an_instant_is_recorded_once<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let us = Tenant::default();
    put(storage, &us, "early", Some(4)).await;
    put(storage, &them(), "earlier", Some(3)).await;
    put(storage, &us, "late", Some(50)).await;
    put(storage, &us, "never", None).await;
    let due = async |now, limit| {
        let due = storage.due_schedules(at(now), limit).await.unwrap();
        let names = due.iter().map(|it| it.name.as_str().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(due(2, 9).await, [""; 0]);
    assert_eq!(due(4, 9).await, ["earlier", "early"]);
    assert_eq!(due(4, 1).await, ["earlier"]);

    let early = find(storage, &us, "early").await.unwrap();
    let task = TaskId(uuid::Uuid::from_u128(7));
    let workflow = WorkflowId(uuid::Uuid::from_u128(8));
    for outcome in [
        Fired::Refused("no".to_owned()),
        Fired::Skipped(Work::Task(task)),
        Fired::Submitted(Work::Workflow(workflow)),
    ] {
        let seen = find(storage, &us, "early").await.unwrap();
        let next = seen.next_at.unwrap().plus(Duration::from_millis(1));
        let firing = Firing { at: at(4), outcome };
        let record = || storage.fired(&seen, Some(firing.clone()), Some(next));
        assert!(record().await.unwrap());
        assert!(!record().await.unwrap());
        let after = find(storage, &us, "early").await.unwrap();
        assert_eq!((after.last, after.next_at), (Some(firing), Some(next)));
    }
    // Where nothing came of an instant, what came of the one before is still the last.
    let seen = find(storage, &us, "early").await.unwrap();
    assert!(storage.fired(&seen, None, None).await.unwrap());
    let after = find(storage, &us, "early").await.unwrap();
    assert_eq!((&after.last, after.next_at), (&seen.last, None));
    // Who saw it before it was put anew records nothing.
    put(storage, &us, "early", Some(4)).await;
    assert!(!storage.fired(&early, None, Some(at(70))).await.unwrap());
    assert_eq!(due(4, 9).await, ["earlier", "early"]);
    backend
}

pub(crate) async fn a_tenant_has_so_many_schedules_at_most<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let us = Tenant::default();
    for number in 0..SCHEDULES_MAX {
        put(storage, &us, &format!("s{number}"), None).await;
    }
    assert_eq!(
        put(storage, &us, "one-more", None).await,
        PutSchedule::TooMany
    );
    assert_eq!(put(storage, &us, "s7", None).await, PutSchedule::Replaced);
    assert_eq!(
        put(storage, &them(), "first", None).await,
        PutSchedule::Created
    );
    backend
}

pub(crate) async fn schedules_go_with_their_tenant<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let rules = TenantRules::default();
    storage.put_tenant(&them(), &rules, at(0)).await.unwrap();
    put(storage, &them(), "a", Some(5)).await;
    storage.remove_tenant(&them(), at(2)).await.unwrap();
    assert_eq!(find(storage, &them(), "a").await, None);
    backend
}
