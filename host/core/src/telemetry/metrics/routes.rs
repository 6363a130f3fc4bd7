//! What is counted by route.

use prometheus_client::metrics::counter::Counter;

use super::Metrics;

/// The counters of one HTTP route, by status class.
#[derive(Clone, Debug)]
pub struct RouteCounters([Counter; 5]);

/// The classes of HTTP status that are counted.
const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Metrics {
    /// The counters of a route, named by its pattern.
    pub fn route(&self, pattern: &'static str) -> RouteCounters {
        RouteCounters(STATUS_CLASSES.map(|class| {
            self.requests
                .get_or_create_owned(&[("route", pattern), ("status", class)])
        }))
    }
}

impl RouteCounters {
    /// Counts one answer of HTTP status `status`.
    pub fn count(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, STATUS_CLASSES.len()) - 1;
        self.0[class].inc();
    }
}
