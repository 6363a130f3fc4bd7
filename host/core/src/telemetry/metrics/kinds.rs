//! What is counted by failure kind.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Word;
use cofferdam_domain::attempt::FailureKind;

/// The kind label of a success.
pub(super) const NO_FAILURE: &str = "none";

/// One counter for success and one for each kind of failure.
#[derive(Debug)]
pub(super) struct ByKind([Counter; FailureKind::ALL.len() + 1]);

impl ByKind {
    pub(super) fn of(family: &Family<Word, Counter>) -> ByKind {
        ByKind(std::array::from_fn(|place| {
            let kind = match place.checked_sub(1) {
                None => NO_FAILURE,
                Some(place) => FailureKind::ALL[place].as_str(),
            };
            family.get_or_create_owned(&[("kind", kind)])
        }))
    }

    pub(super) fn count(&self, failure: Option<FailureKind>) {
        let place = failure.map_or(0, |kind| kind as usize + 1);
        self.0[place].inc();
    }

    /// Successes, and failures in the order of [`FailureKind::ALL`].
    pub(super) fn read(&self) -> (u64, [u64; FailureKind::ALL.len()]) {
        let failed = std::array::from_fn(|kind| self.0[kind + 1].get());
        (self.0[0].get(), failed)
    }
}
