//! Whose turn it is: which tasks a claim takes, where several lines of them wait. One rule for every
//! database; how candidates are found along an index is each backend's own.
//!
//! The tasks of a tenant wait in lanes: one for each module whose attempts are bounded, and one for all
//! other modules. Tenants take turns by their weights, so that one with a million tasks does not delay
//! another's first; inside a tenant the configured order decides. A lane or tenant that has as many
//! attempts under way as it may is passed over as a whole, however many tasks wait in it. Every so
//! many turns of a tenant go to a task of low priority that has waited for long.
//!
//! What each tenant has had is known to this host alone: hosts that are each fair are so together.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use self::line::Line;
use crate::settings::ClaimRules;
use cofferdam_domain::task::{ClaimOrder, Priority};
use cofferdam_domain::time::Timestamp;

/// The lane of every module whose attempts are not bounded.
pub(crate) const COMMON_LANE: i64 = 0;
/// Lanes that one claim looks at; the next one begins behind them.
pub(crate) const LANES_MAX: usize = 256;
/// Of so many turns of a tenant one is for a task that has waited for long.
const AGED_EVERY: u64 = 8;
/// What a turn costs a tenant of weight 1.
const STRIDE: u64 = 1_000_000;

/// A lane in which tasks wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) tenant: String,
    pub(crate) number: i64,
    pub(crate) weight: u32,
    /// How many attempts of the tenant may be under way, if the operator said so for it.
    pub(crate) running_max: Option<u32>,
    /// The earliest `run_at` of each priority.
    pub(crate) heads: [Option<i64>; Priority::ALL.len()],
}

/// Bounded attempts that are under way, by tenant and lane.
pub(crate) type Running = HashMap<(String, i64), u32>;

/// How many more attempts may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    lane: u32,
    tenant: u32,
}

/// What is wanted of one lane.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) tenant: String,
    pub(crate) lane: i64,
    /// So many candidates, the first in order.
    pub(crate) most: u32,
    /// So many of the oldest below the highest priority, if they have waited for long.
    pub(crate) aged: u32,
    /// Whether attempts are counted against a bound.
    pub(crate) is_counted: bool,
    weight: u32,
    room: Room,
}

/// A task that may be claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: i64,
    pub(crate) rank: u8,
    pub(crate) run_at: i64,
    /// Whether it was found for its age.
    pub(crate) is_aged: bool,
}

/// A task to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) seq: i64,
    /// See [`Claim::ahead`](cofferdam_domain::claim::Claim::ahead).
    pub(crate) ahead: bool,
    pub(crate) is_counted: bool,
}

impl Lane {
    /// Whether a task of it may be claimed, if there is room.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next_run_at().is_some_and(|at| at <= now.as_millis())
    }

    /// The earliest `run_at` of its tasks.
    pub(crate) fn next_run_at(&self) -> Option<i64> {
        self.heads.iter().flatten().min().copied()
    }

    /// Whether something has waited for long behind tasks of a higher priority.
    pub(crate) fn is_ageing(&self, rules: &ClaimRules, now: Timestamp) -> bool {
        let Some(aged) = aged_before(rules, now) else {
            return false;
        };
        let first_due = self
            .heads
            .iter()
            .position(|head| head.is_some_and(|at| at <= now.as_millis()));
        first_due.is_some_and(|first| {
            let below = self.heads.iter().skip(first + 1).flatten();
            below.copied().any(|at| at <= aged)
        })
    }

    /// Whether its attempts are counted against a bound.
    pub(crate) fn is_bounded(&self, rules: &ClaimRules) -> bool {
        self.lane_max(rules).is_some() || self.tenant_max(rules).is_some()
    }

    fn lane_max(&self, rules: &ClaimRules) -> Option<u32> {
        let max = rules.running_per_module_max;
        (self.number != COMMON_LANE && max > 0).then_some(max)
    }

    fn tenant_max(&self, rules: &ClaimRules) -> Option<u32> {
        let max = rules.running_per_tenant_max;
        self.running_max.or((max > 0).then_some(max))
    }

    fn room(&self, rules: &ClaimRules, running: &Running) -> Room {
        let left = |max: Option<u32>, taken: u32| max.map_or(u32::MAX, |max| max - max.min(taken));
        let of_tenant = running.iter().filter(|((name, _), _)| *name == self.tenant);
        let key = (self.tenant.clone(), self.number);
        Room {
            lane: left(
                self.lane_max(rules),
                running.get(&key).copied().unwrap_or(0),
            ),
            tenant: left(
                self.tenant_max(rules),
                of_tenant.map(|(_, taken)| *taken).sum(),
            ),
        }
    }
}

/// Tasks with a `run_at` up to this have waited for long; none if age does not count.
pub(crate) fn aged_before(rules: &ClaimRules, now: Timestamp) -> Option<i64> {
    let counts = !rules.ageing.is_zero();
    counts.then(|| now.minus(rules.ageing).as_millis())
}

/// The lane of a task of the module whose name has this number.
pub(crate) fn lane_of(rules: &ClaimRules, name: i64) -> i64 {
    match rules.running_per_module_max {
        0 => COMMON_LANE,
        _ => name,
    }
}

/// When the next task of these lanes may be claimed. What has no room is called when it has some.
pub(crate) fn next_run_at(lanes: &[Lane], rules: &ClaimRules, running: &Running) -> Option<i64> {
    let has_room = |lane: &&Lane| {
        let room = lane.room(rules, running);
        room.lane > 0 && room.tenant > 0
    };
    let lanes = lanes.iter().filter(has_room);
    lanes.filter_map(Lane::next_run_at).min()
}

/// What is to be looked for in these lanes, for so many slots.
pub(crate) fn wanted(
    lanes: &[Lane],
    rules: &ClaimRules,
    running: &Running,
    (slots, order): (u32, ClaimOrder),
    now: Timestamp,
) -> Vec<Wanted> {
    let due = lanes.iter().filter(|lane| lane.is_due(now));
    let wanted = due.map(|lane| {
        let room = lane.room(rules, running);
        let most = slots.min(room.lane).min(room.tenant);
        let by_age = order == ClaimOrder::Priority && lane.is_ageing(rules, now);
        Wanted {
            tenant: lane.tenant.clone(),
            lane: lane.number,
            most,
            aged: if by_age { most.min(most / 8 + 1) } else { 0 },
            is_counted: lane.is_bounded(rules),
            weight: lane.weight.max(1),
            room,
        }
    });
    wanted.filter(|wanted| wanted.most > 0).collect()
}

/// What each tenant has had so far.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    standings: BTreeMap<String, Standing>,
    /// A tenant that comes, or comes again, has had this much.
    reached: u64,
}

/// What one tenant has had.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// The sum of its turns, each the cheaper the greater its weight.
    had: u64,
    turns: u64,
}

impl Turns {
    /// Chooses up to `slots` of the tasks that were `found` in the lanes of `wanted`, in turns.
    pub(crate) fn choose(
        &mut self,
        wanted: &[Wanted],
        found: &[Vec<Candidate>],
        (slots, order): (u32, ClaimOrder),
    ) -> Vec<Chosen> {
        let mut lines = self.lines(wanted, found, order);
        let several = lines.len() > 1;
        let mut room: Vec<u32> = wanted.iter().map(|wanted| wanted.room.lane).collect();
        let mut chosen = Vec::new();
        while chosen.len() < usize::try_from(slots).unwrap_or(usize::MAX) {
            let waiting = lines.iter_mut().filter(|line| !line.is_done);
            // Of those that have had equally little the first by name.
            let Some(line) = waiting.min_by_key(|line| line.standing.had) else {
                break;
            };
            let for_age = (line.standing.turns + 1).is_multiple_of(AGED_EVERY);
            let Some((seq, place, is_aged)) = line.next(for_age, &mut room) else {
                line.is_done = true;
                continue;
            };
            line.standing.turns += 1;
            line.standing.had += STRIDE / u64::from(wanted[place].weight);
            chosen.push(Chosen {
                seq,
                ahead: several || is_aged,
                is_counted: wanted[place].is_counted,
            });
        }
        self.note(&lines);
        chosen
    }

    /// The line of each tenant, by name.
    fn lines<'a>(
        &self,
        wanted: &'a [Wanted],
        found: &[Vec<Candidate>],
        order: ClaimOrder,
    ) -> Vec<Line<'a>> {
        let mut lines: BTreeMap<&str, Line<'a>> = BTreeMap::new();
        for (place, (lane, found)) in wanted.iter().zip(found).enumerate() {
            let line = lines.entry(&lane.tenant).or_insert_with(|| {
                let mut standing = self
                    .standings
                    .get(&lane.tenant)
                    .copied()
                    .unwrap_or_default();
                standing.had = standing.had.max(self.reached);
                Line::new(&lane.tenant, standing, lane.room.tenant)
            });
            line.extend(found, place, order);
        }
        let mut lines: Vec<Line<'a>> = lines.into_values().collect();
        lines.iter_mut().for_each(Line::sort);
        lines
    }

    fn note(&mut self, lines: &[Line<'_>]) {
        let had = |line: &Line<'_>| line.standing.had;
        let waiting = lines.iter().filter(|line| !line.is_done).map(had).min();
        let reached = waiting.or(lines.iter().map(had).max()).unwrap_or(0);
        self.reached = self.reached.max(reached);
        // Whoever is not there now and has had no more than it would be given keeps nothing.
        let reached = self.reached;
        self.standings.retain(|_, standing| standing.had > reached);
        for line in lines {
            self.standings.insert(line.tenant.to_owned(), line.standing);
        }
    }
}
