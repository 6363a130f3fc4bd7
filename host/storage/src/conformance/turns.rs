//! Whose turn it is when tasks of several tenants and of bounded modules wait.

use std::time::Duration;

use super::fixture::*;
use super::{Backend, Storage};
use crate::settings::ClaimRules;
use cofferdam_domain::attempt::FailureKind;
use cofferdam_domain::caller::Tenant;
use cofferdam_domain::caller::tenant::TenantRules;
use cofferdam_domain::claim::{Claim, Next};
use cofferdam_domain::task::{ClaimOrder, NewTask, Priority, TaskId};

const RULES: ClaimRules = ClaimRules {
    running_per_module_max: 0,
    running_per_tenant_max: 0,
    ageing: Duration::ZERO,
    preferred_grace: Duration::from_secs(5),
};

fn of_tenant(number: u128, tenant: &str) -> NewTask {
    NewTask {
        tenant: Tenant::parse(tenant).unwrap(),
        ..new_task(number)
    }
}

fn of_module(number: u128, module: &str) -> NewTask {
    let mut task = new_task(number);
    task.spec.module = name(module);
    task
}

async fn claims(storage: &dyn Storage, slots: u32) -> Vec<Claim> {
    let claims = storage.claim(ME, slots, ClaimOrder::Priority, at(100));
    claims.await.unwrap()
}

fn ids(claims: &[Claim]) -> Vec<TaskId> {
    claims.iter().map(|claim| claim.task_id).collect()
}

/// Has the operator say that of a tenant.
async fn say(storage: &dyn Storage, name: &str, weight: u32, running_max: Option<u32>) {
    let rules = TenantRules {
        weight,
        running_max,
        ..TenantRules::default()
    };
    let name = Tenant::parse(name).unwrap();
    storage.put_tenant(&name, &rules, at(0)).await.unwrap();
}

/// How many of them have numbers in that range.
fn within(claims: &[Claim], numbers: std::ops::Range<u128>) -> usize {
    let ids = claims.iter().map(|claim| claim.task_id.0.as_u128());
    ids.filter(|number| numbers.contains(number)).count()
}

pub(crate) async fn a_tenant_with_many_tasks_does_not_delay_another<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    let many = (1000..3000).map(|number| {
        let mut task = of_tenant(number, "a");
        task.spec.priority = Priority::Critical;
        task
    });
    insert_all(storage, many.collect()).await;
    assert_eq!(claims(storage, 50).await.len(), 50);
    insert_all(storage, vec![of_tenant(1, "b")]).await;
    assert_eq!(within(&claims(storage, 1).await, 1..2), 1);
    assert_eq!(claims(storage, 50).await.len(), 50);
    insert_all(storage, (2..=6).map(|n| of_tenant(n, "b")).collect()).await;
    assert_eq!(within(&claims(storage, 4).await, 2..7), 2);
    // Inside a tenant by priority and age, and what one leaves is the other's.
    assert_eq!(within(&claims(storage, 20).await, 4..7), 3);
    let rest = claims(storage, 20).await;
    assert_eq!(within(&rest, 1000..3000), 20);
    backend
}

pub(crate) async fn tenants_share_by_weight<B: Backend>(backend: B) -> B {
    let storage = backend.storage();
    say(storage, "heavy", 3, None).await;
    let tasks = (1..=400).flat_map(|n| [of_tenant(n, "heavy"), of_tenant(1000 + n, "light")]);
    insert_all(storage, tasks.collect()).await;
    let mut heavy = 0;
    for slots in [1, 2, 1, 7, 1, 40, 28, 20] {
        let some = claims(storage, slots).await;
        assert_eq!(some.len(), usize::try_from(slots).unwrap());
        heavy += within(&some, 1..401);
    }
    assert_eq!(heavy, 75);
    backend
}

pub(crate) async fn a_module_runs_no_more_than_its_bound<B: Backend>(backend: B) -> B {
    let rules = ClaimRules {
        running_per_module_max: 2,
        ..RULES
    };
    let backend = backend.reopened_with(rules).await;
    let storage = backend.storage();
    let tasks = (1..=300).flat_map(|n| [of_module(n, "echo"), of_module(1000 + n, "other")]);
    insert_all(storage, tasks.collect()).await;
    let first = claims(storage, 9).await;
    assert_eq!(ids(&first), [1, 1001, 2, 1002].map(id));
    assert!(first.iter().all(|claim| claim.holds_place));
    assert_eq!(claims(storage, 9).await.len(), 0);
    // What is due has no room, and whoever makes some tells it.
    assert_eq!(storage.next_run_at(ME).await.unwrap(), None);
    let mut urgent = of_module(500, "echo");
    urgent.spec.priority = Priority::Critical;
    insert(storage, urgent).await;
    finish_one(storage, completed(&first[0], at(101))).await;
    assert_eq!(storage.next_run_at(ME).await.unwrap(), Some(at(0)));
    assert_eq!(ids(&claims(storage, 9).await), [id(500)]);
    // A claim that is given back leaves its place, and so does an attempt that is tried again.
    let end = failed(&first[1], at(102), FailureKind::Lost, Next::GiveBack);
    finish_one(storage, end).await;
    let again = failed(
        &first[3],
        at(102),
        FailureKind::Trap,
        Next::RetryAt(at(900)),
    );
    finish_one(storage, again).await;
    assert_eq!(ids(&claims(storage, 9).await), [1001, 1003].map(id));
    // So does one whose host is lost.
    storage.rescue(OTHER, at(500), 99, at(500)).await.unwrap();
    assert_eq!(claims(storage, 9).await.len(), 4);
    backend
}

pub(crate) async fn a_bound_holds_for_what_waited_before_it<B: Backend>(backend: B) -> B {
    insert_all(backend.storage(), (1..=9).map(new_task).collect()).await;
    let rules = ClaimRules {
        running_per_module_max: 2,
        ..RULES
    };
    let backend = backend.reopened_with(rules).await;
    assert_eq!(ids(&claims(backend.storage(), 9).await), [1, 2].map(id));
    // And no longer than it is there.
    let backend = backend.reopened_with(RULES).await;
    assert_eq!(claims(backend.storage(), 9).await.len(), 7);
    backend
}

pub(crate) async fn a_tenant_runs_no_more_than_its_bound<B: Backend>(backend: B) -> B {
    let rules = ClaimRules {
        running_per_tenant_max: 3,
        ..RULES
    };
    let backend = backend.reopened_with(rules).await;
    let storage = backend.storage();
    say(storage, "small", 1, Some(1)).await;
    let tasks = (1..=300).flat_map(|n| {
        [
            new_task(n),
            of_tenant(1000 + n, "small"),
            of_tenant(2000 + n, "other"),
        ]
    });
    insert_all(storage, tasks.collect()).await;
    let first = claims(storage, 99).await;
    let sizes = [1..301, 1001..1301, 2001..2301].map(|numbers| within(&first, numbers));
    assert_eq!(sizes, [3, 1, 3]);
    assert_eq!(claims(storage, 9).await.len(), 0);
    let small = first
        .iter()
        .find(|claim| claim.task_id == id(1001))
        .unwrap();
    finish_one(storage, completed(small, at(101))).await;
    assert_eq!(ids(&claims(storage, 9).await), [id(1002)]);
    backend
}

pub(crate) async fn a_low_task_is_not_starved<B: Backend>(backend: B) -> B {
    let rules = ClaimRules {
        ageing: Duration::from_secs(60),
        ..RULES
    };
    let backend = backend.reopened_with(rules).await;
    let storage = backend.storage();
    insert_all(
        storage,
        (1..=3).map(|n| with_priority(n, Priority::Low)).collect(),
    )
    .await;
    // High tasks come faster than they are claimed.
    let mut next = 1000;
    let mut low = Vec::new();
    for second in 1..=90 {
        let high = (0..3).map(|n| {
            let mut task = with_priority(next + n, Priority::High);
            task.run_at = at(second);
            task
        });
        insert_all(storage, high.collect()).await;
        next += 3;
        let claimed = storage.claim(ME, 2, ClaimOrder::Priority, at(second)).await;
        for claim in claimed.unwrap() {
            if claim.spec.priority == Priority::Low {
                assert!(claim.ahead);
                low.push((claim.task_id, second));
            }
        }
    }
    let order: Vec<TaskId> = low.iter().map(|(id, _)| *id).collect();
    assert_eq!(order, [1, 2, 3].map(id));
    assert!(
        low.iter().all(|(_, second)| (60..90).contains(second)),
        "{low:?}"
    );
    // At a quarter of two slots a second, none comes sooner than four seconds after another.
    assert!(low[2].1 - low[0].1 >= 8, "{low:?}");
    backend
}
