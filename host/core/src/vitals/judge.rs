//! Which rules fire. It computes from arguments alone.
//!
//! A rule fires as soon as its figure reaches its threshold. It ends once the figure was a tenth below that
//! for a while, so that one that goes to and fro is one alert and not many.

use std::time::Duration;

use cofferdam_domain::alert::{Alert, AlertState, Rule};
use cofferdam_domain::time::Timestamp;

/// How long a figure must be low before its rule ends.
const CALM: Duration = Duration::from_secs(10);
/// How far below the threshold it must be: one part in this many.
const MARGIN: u64 = 10;

/// How every rule stands.
#[derive(Debug)]
pub(super) struct Judge([Standing; Rule::ALL.len()]);

#[derive(Clone, Copy, Debug)]
struct Standing {
    alert: Alert,
    /// Since when the figure of a rule that fires is low.
    calm_since: Option<Timestamp>,
}

/// The figures of one look, and the thresholds.
pub(super) type Figures = [Figure; Rule::ALL.len()];

/// The figure of one rule.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figure {
    /// None if it could not be read: then nothing changes.
    pub(super) value: Option<u64>,
    /// From which figure on the rule fires; 0 if it never does.
    pub(super) threshold: u64,
}

impl Judge {
    /// All is well.
    pub(super) fn new(now: Timestamp) -> Judge {
        Judge(Rule::ALL.map(|rule| Standing {
            alert: Alert {
                rule,
                state: AlertState::Ok,
                since: now,
                value: 0,
                threshold: 0,
            },
            calm_since: None,
        }))
    }

    /// Judges the figures, which are in the order of [`Rule::ALL`]; tells the rules that began to fire or
    /// ended.
    pub(super) fn look(&mut self, now: Timestamp, figures: &Figures) -> Vec<Alert> {
        let looked = self.0.iter_mut().zip(figures);
        looked
            .filter_map(|(standing, figure)| standing.look(now, *figure))
            .collect()
    }

    /// How they stand, in the order of [`Rule::ALL`].
    pub(super) fn all(&self) -> [Alert; Rule::ALL.len()] {
        self.0.map(|standing| standing.alert)
    }
}

impl Standing {
    fn look(&mut self, now: Timestamp, figure: Figure) -> Option<Alert> {
        self.alert.threshold = figure.threshold;
        let next = self.next(now, figure);
        let before = self.alert.state;
        if next == before {
            return None;
        }
        self.alert.state = next;
        self.alert.since = now;
        self.calm_since = None;
        let is_told = AlertState::Firing == next || AlertState::Firing == before;
        is_told.then_some(self.alert)
    }

    fn next(&mut self, now: Timestamp, figure: Figure) -> AlertState {
        let Figure {
            value: Some(value),
            threshold,
        } = figure
        else {
            return self.alert.state;
        };
        self.alert.value = value;
        if threshold == 0 {
            return AlertState::Off;
        }
        if value >= threshold {
            self.calm_since = None;
            return AlertState::Firing;
        }
        match self.alert.state {
            AlertState::Off | AlertState::Ok => AlertState::Ok,
            AlertState::Firing if value > threshold - threshold.div_ceil(MARGIN) => {
                self.calm_since = None;
                AlertState::Firing
            }
            AlertState::Firing => {
                let since = *self.calm_since.get_or_insert(now);
                match now.since(since) >= CALM {
                    true => AlertState::Ok,
                    false => AlertState::Firing,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    /// What the rule of the backlog says to these figures at these seconds, and since when.
    fn judged(threshold: u64, moments: &[(i64, Option<u64>)]) -> Vec<(AlertState, i64, bool)> {
        let mut judge = Judge::new(at(0));
        let place = Rule::ALL
            .iter()
            .position(|it| *it == Rule::Backlog)
            .unwrap();
        let looks = moments.iter().map(|(second, value)| {
            let mut figures = Figures::default();
            figures[place] = Figure {
                value: *value,
                threshold,
            };
            let told = judge.look(at(*second), &figures);
            let alert = judge.all()[place];
            assert_eq!(alert.rule, Rule::Backlog);
            (
                alert.state,
                alert.since.as_millis() / 1000,
                !told.is_empty(),
            )
        });
        looks.collect()
    }

    #[test]
    fn a_rule_fires_at_its_threshold_and_ends_after_a_calm_while() {
        let moments = [
            (1, Some(49)),
            (2, Some(50)),
            // Near the threshold it goes on, and what is unknown changes nothing.
            (3, Some(46)),
            (20, Some(46)),
            (21, None),
            (22, Some(45)),
            (31, Some(45)),
            // Once more, and the calm begins anew.
            (32, Some(80)),
            (33, Some(0)),
            (42, Some(0)),
            (43, Some(0)),
        ];
        let (ok, firing) = (AlertState::Ok, AlertState::Firing);
        let expected = [
            (ok, 0, false),
            (firing, 2, true),
            (firing, 2, false),
            (firing, 2, false),
            (firing, 2, false),
            (firing, 2, false),
            (firing, 2, false),
            (firing, 2, false),
            (firing, 2, false),
            (firing, 2, false),
            (ok, 43, true),
        ];
        assert_eq!(judged(50, &moments), expected);
    }

    #[test]
    fn a_threshold_of_one_ends_at_nothing() {
        let moments = [(1, Some(1)), (2, Some(0)), (12, Some(0))];
        let states = judged(1, &moments).into_iter().map(|(state, ..)| state);
        let (ok, firing) = (AlertState::Ok, AlertState::Firing);
        assert_eq!(states.collect::<Vec<_>>(), [firing, firing, ok]);
    }

    #[test]
    fn one_that_is_switched_off_never_fires_and_is_not_told() {
        let found = judged(0, &[(1, Some(u64::MAX)), (2, Some(0))]);
        assert_eq!(found, [(AlertState::Off, 1, false); 2]);
    }
}
