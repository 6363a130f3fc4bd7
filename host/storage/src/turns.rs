//! Whose turn it is: which tasks a claim takes, where several lines of them wait. One rule for every
//! database; how candidates are found along an index is each backend's own.
//!
//! The tasks of a tenant wait in lanes: one for each module whose attempts are bounded, and one for all
//! other modules; and those for tasks that ask something of workers (a class) apart from the others.
//! Tenants take turns by their weights, so that one with a million tasks does not delay another's first;
//! inside a tenant the configured order decides. A lane or tenant that has as many attempts under way as
//! it may is passed over as a whole, however many tasks wait in it. Every so many turns of a tenant go to
//! a task of low priority that has waited for long.
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
/// Lanes that are looked at together; the next look begins behind them.
pub(crate) const LANES_MAX: usize = 256;
/// Looks of one claim that finds nothing to claim.
pub(crate) const LOOKS_MAX: usize = 8;
/// The class of a lane is above so many bits of its number, which are for the module's name.
const NAME_BITS: u32 = 32;
const NAME_MASK: i64 = (1 << NAME_BITS) - 1;
/// Of so many turns of a tenant one is for a task that has waited for long.
const AGED_EVERY: u32 = 8;
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
    /// How long its tasks wait for another worker before this one may take them.
    pub(crate) wait_ms: i64,
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
    /// Candidates have a `run_at` up to this.
    pub(crate) until: i64,
    /// Those that have waited for long have one up to this.
    pub(crate) aged_until: i64,
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
    /// What its tasks ask of workers.
    pub(crate) fn class(&self) -> i64 {
        self.number >> NAME_BITS
    }

    /// The bounded module of its tasks, if that is one.
    fn module(&self) -> Option<i64> {
        module_of(self.number)
    }

    /// Whether a task of it may be claimed, if there is room.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.next_run_at().is_some_and(|at| at <= now.as_millis())
    }

    /// When the first of its tasks may be claimed.
    pub(crate) fn next_run_at(&self) -> Option<i64> {
        let first = self.heads.iter().flatten().min();
        first.map(|at| at.saturating_add(self.wait_ms))
    }

    /// Whether something has waited for long behind tasks of a higher priority.
    pub(crate) fn is_ageing(&self, rules: &ClaimRules, now: Timestamp) -> bool {
        let Some(aged) = self.aged_until(rules, now) else {
            return false;
        };
        let first_due = self
            .heads
            .iter()
            .position(|head| head.is_some_and(|at| at <= self.until(now)));
        first_due.is_some_and(|first| {
            let below = self.heads.iter().skip(first + 1).flatten();
            below.copied().any(|at| at <= aged)
        })
    }

    /// Its tasks with a `run_at` up to this may be claimed.
    fn until(&self, now: Timestamp) -> i64 {
        now.as_millis().saturating_sub(self.wait_ms)
    }

    fn aged_until(&self, rules: &ClaimRules, now: Timestamp) -> Option<i64> {
        let aged = aged_before(rules, now)?;
        Some(aged.saturating_sub(self.wait_ms))
    }

    /// Whether its attempts are counted against a bound.
    pub(crate) fn is_bounded(&self, rules: &ClaimRules) -> bool {
        self.lane_max(rules).is_some() || self.tenant_max(rules).is_some()
    }

    fn lane_max(&self, rules: &ClaimRules) -> Option<u32> {
        let max = rules.running_per_module_max;
        (self.module().is_some() && max > 0).then_some(max)
    }

    fn tenant_max(&self, rules: &ClaimRules) -> Option<u32> {
        let max = rules.running_per_tenant_max;
        self.running_max.or((max > 0).then_some(max))
    }

    fn room(&self, rules: &ClaimRules, running: &Running) -> Room {
        let left = |max: Option<u32>, taken: u32| max.map_or(u32::MAX, |max| max - max.min(taken));
        let of_tenant = running.iter().filter(|((name, _), _)| *name == self.tenant);
        let of_module = running
            .iter()
            .filter(|((name, lane), _)| *name == self.tenant && module_of(*lane) == self.module());
        Room {
            lane: left(
                self.lane_max(rules),
                of_module.map(|(_, taken)| *taken).sum(),
            ),
            tenant: left(
                self.tenant_max(rules),
                of_tenant.map(|(_, taken)| *taken).sum(),
            ),
        }
    }
}

/// Tasks with a `run_at` up to this have waited for long; none if age does not count.
fn aged_before(rules: &ClaimRules, now: Timestamp) -> Option<i64> {
    let counts = !rules.ageing.is_zero();
    counts.then(|| now.minus(rules.ageing).as_millis())
}

/// The lane of a task of that class and of the module whose name has this number.
pub(crate) fn lane_of(rules: &ClaimRules, name: i64, class: i64) -> i64 {
    let of_module = match rules.running_per_module_max {
        0 => COMMON_LANE,
        _ => name & NAME_MASK,
    };
    class << NAME_BITS | of_module
}

/// The bounded module of a lane's tasks, if that is one.
fn module_of(lane: i64) -> Option<i64> {
    Some(lane & NAME_MASK).filter(|module| *module != COMMON_LANE)
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
            aged: if by_age {
                most.min(most / AGED_EVERY + 1)
            } else {
                0
            },
            is_counted: lane.is_bounded(rules),
            until: lane.until(now),
            aged_until: lane.aged_until(rules, now).unwrap_or(i64::MIN),
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
        let mut room: Vec<u32> = wanted.iter().map(|wanted| wanted.room.lane).collect();
        let mut chosen = Vec::new();
        while chosen.len() < usize::try_from(slots).unwrap_or(usize::MAX) {
            let waiting = lines.iter_mut().filter(|line| !line.is_done);
            // Of those that have had equally little who comes anew, then the first by name.
            let next = waiting.min_by_key(|line| (line.standing.had, !line.comes_anew));
            let Some(line) = next else {
                break;
            };
            let for_age = (line.standing.turns + 1).is_multiple_of(u64::from(AGED_EVERY));
            let Some((seq, place, is_aged)) = line.next(for_age, &mut room) else {
                line.is_done = true;
                continue;
            };
            line.standing.turns += 1;
            line.standing.had += STRIDE / u64::from(wanted[place].weight);
            chosen.push(Chosen {
                seq,
                ahead: is_aged,
                is_counted: wanted[place].is_counted,
            });
        }
        self.note(&lines);
        chosen
    }

    /// Notes that a tenant took tasks while nobody else waited.
    pub(crate) fn took_alone(&mut self, tenant: &str) {
        let reached = self.reached;
        let standing = self.standings.entry(tenant.to_owned()).or_default();
        standing.had = standing.had.max(reached);
    }

    /// The line of each tenant, by name.
    fn lines<'a>(
        &self,
        wanted: &'a [Wanted],
        found: &[Vec<Candidate>],
        order: ClaimOrder,
    ) -> Vec<Line<'a>> {
        let mut lines: BTreeMap<&str, Line<'a>> = BTreeMap::new();
        for (lane, found) in wanted.iter().zip(found) {
            // Lanes of one module share its room, whatever their tasks ask of workers.
            let shares = |other: &Wanted| {
                other.tenant == lane.tenant && module_of(other.lane) == module_of(lane.lane)
            };
            let place = wanted.iter().position(shares).unwrap_or(0);
            let line = lines.entry(&lane.tenant).or_insert_with(|| {
                let known = self.standings.get(&lane.tenant).copied();
                let mut standing = known.unwrap_or_default();
                standing.had = standing.had.max(self.reached);
                Line::new(&lane.tenant, standing, known.is_none(), lane.room.tenant)
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
