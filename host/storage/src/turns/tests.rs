//! Whose turn it is, without a database.

use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn lane(tenant: &str, weight: u32) -> Lane {
    Lane {
        tenant: tenant.to_owned(),
        weight,
        heads: [None, None, Some(0), None],
        ..Lane::default()
    }
}

/// `tasks` candidates from `first` on.
fn tasks(first: i64, tasks: i64) -> Vec<Candidate> {
    let candidate = |seq| Candidate {
        seq,
        rank: 2,
        run_at: seq,
        is_aged: false,
    };
    (first..first + tasks).map(candidate).collect()
}

fn claim(turns: &mut Turns, lanes: &[Lane], found: &[Vec<Candidate>], slots: u32) -> Vec<i64> {
    let how = (slots, ClaimOrder::Priority);
    let wanted = wanted(lanes, &ClaimRules::default(), &Running::new(), how, NOW);
    let chosen = turns.choose(&wanted, found, how);
    chosen.iter().map(|chosen| chosen.seq).collect()
}

#[test]
fn tenants_take_turns_by_weight_also_over_claims_of_one_slot() {
    let lanes = [lane("a", 1), lane("b", 3)];
    let mut turns = Turns::default();
    let together = claim(&mut turns, &lanes, &[tasks(0, 100), tasks(1000, 100)], 40);
    assert_eq!(together.iter().filter(|seq| **seq < 1000).count(), 10);
    let mut of_a = 0;
    for _ in 0..40 {
        let one = claim(&mut turns, &lanes, &[tasks(0, 1), tasks(1000, 1)], 1);
        of_a += usize::from(one[0] < 1000);
    }
    assert_eq!(of_a, 10);
}

#[test]
fn lanes_of_one_module_share_its_room_whatever_their_tasks_ask_of_workers() {
    let rules = ClaimRules {
        running_per_module_max: 10,
        ..ClaimRules::default()
    };
    let of_class = |class| Lane {
        number: lane_of(&rules, 7, class),
        ..lane("a", 1)
    };
    let other = Lane {
        number: lane_of(&rules, 8, 2),
        ..lane("a", 1)
    };
    let lanes = [of_class(0), of_class(2), of_class(3), other];
    assert_eq!(
        [0, 2, 3, 2],
        [0, 1, 2, 3].map(|place: usize| lanes[place].class())
    );
    let running = Running::from([
        (("a".to_owned(), lane_of(&rules, 7, 0)), 2),
        (("a".to_owned(), lane_of(&rules, 7, 9)), 3),
        (("b".to_owned(), lane_of(&rules, 7, 0)), 4),
    ]);
    let how = (100, ClaimOrder::Priority);
    let wanted = wanted(&lanes, &rules, &running, how, NOW);
    let found = [tasks(0, 9), tasks(100, 9), tasks(200, 9), tasks(300, 99)];
    let chosen = Turns::default().choose(&wanted, &found, how);
    let of_seven = chosen.iter().filter(|chosen| chosen.seq < 300).count();
    assert_eq!((of_seven, chosen.len()), (5, 15));
}

#[test]
fn a_lane_that_waits_for_another_worker_is_due_later() {
    let waits = Lane {
        wait_ms: 5000,
        heads: [None, None, Some(NOW.as_millis()), Some(0)],
        ..lane("a", 1)
    };
    assert_eq!(waits.next_run_at(), Some(5000));
    assert!(!waits.is_due(Timestamp::from_millis(4999)) && waits.is_due(NOW));
    let how = (9, ClaimOrder::Priority);
    let wanted = wanted(&[waits], &ClaimRules::default(), &Running::new(), how, NOW);
    assert_eq!(wanted[0].until, NOW.as_millis() - 5000);
    assert!(wanted[0].aged_until < wanted[0].until);
}

#[test]
fn who_was_away_gets_nothing_for_that_and_who_comes_waits_for_nobody() {
    let mut turns = Turns::default();
    let alone = claim(&mut turns, &[lane("a", 1)], &[tasks(0, 500)], 400);
    assert_eq!(alone.len(), 400);
    let both = [lane("a", 1), lane("b", 1)];
    let shared = claim(&mut turns, &both, &[tasks(0, 500), tasks(1000, 500)], 100);
    assert_eq!(shared.iter().filter(|seq| **seq >= 1000).count(), 50);
    assert!(shared[..2].contains(&1000), "{shared:?}");
    // What one leaves the other takes.
    let rest = claim(&mut turns, &both, &[tasks(0, 500), tasks(1000, 3)], 100);
    assert_eq!(rest.len(), 100);
}

#[test]
fn only_what_has_waited_for_long_behind_others_ages() {
    let rules = ClaimRules {
        ageing: Duration::from_secs(60),
        ..ClaimRules::default()
    };
    let old = Some(NOW.as_millis() - 60_000);
    let young = Some(NOW.as_millis() - 59_999);
    let of = |heads| Lane {
        heads,
        ..lane("a", 1)
    };
    assert!(of([None, young, None, old]).is_ageing(&rules, NOW));
    assert!(!of([None, young, None, young]).is_ageing(&rules, NOW));
    assert!(!of([None, None, None, old]).is_ageing(&rules, NOW));
    let later = Some(NOW.as_millis() + 1);
    assert!(!of([None, later, None, old]).is_ageing(&rules, NOW));
    let never = ClaimRules {
        ageing: Duration::ZERO,
        ..rules
    };
    assert!(!of([None, young, None, old]).is_ageing(&never, NOW));
}

#[test]
fn every_eighth_turn_is_for_age() {
    let lanes = [Lane {
        heads: [None, Some(999_999), None, Some(0)],
        ..lane("a", 1)
    }];
    let mut found = tasks(0, 100);
    let aged = tasks(1000, 20).into_iter();
    found.extend(aged.map(|candidate| Candidate {
        is_aged: true,
        ..candidate
    }));
    let mut turns = Turns::default();
    let mut aged = Vec::new();
    for slots in [5, 3, 8, 1, 7] {
        let some = claim(&mut turns, &lanes, std::slice::from_ref(&found), slots);
        aged.push(some.iter().filter(|seq| **seq >= 1000).count());
    }
    assert_eq!(aged, [0, 1, 1, 0, 1]);
}

#[test]
fn a_bound_is_of_a_lane_or_of_a_tenant() {
    let rules = ClaimRules {
        running_per_module_max: 3,
        running_per_tenant_max: 5,
        ..ClaimRules::default()
    };
    let numbered = |number| Lane {
        number,
        ..lane("a", 1)
    };
    let lanes = [numbered(7), numbered(8), numbered(9)];
    let running = Running::from([(("a".to_owned(), 7), 2), (("b".to_owned(), 8), 9)]);
    let how = (9, ClaimOrder::Fifo);
    let wanted = wanted(&lanes, &rules, &running, how, NOW);
    let most: Vec<u32> = wanted.iter().map(|wanted| wanted.most).collect();
    assert_eq!(most, [1, 3, 3]);
    let found = [tasks(0, 9), tasks(100, 9), tasks(200, 9)];
    let chosen = Turns::default().choose(&wanted, &found, how);
    let chosen: Vec<i64> = chosen.iter().map(|chosen| chosen.seq).collect();
    // Five may run and two do.
    assert_eq!(chosen, [0, 100, 101]);
    let full = Running::from([(("a".to_owned(), 7), 5)]);
    assert_eq!(next_run_at(&lanes, &rules, &full), None);
    assert_eq!(next_run_at(&lanes, &rules, &running), Some(0));
}
