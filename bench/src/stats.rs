//! Medians, spreads and quantiles, without knowledge of what is measured.

/// One figure, measured once in each round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a round's figure.
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The rounds' ratios to another figure taken in the same rounds.
    pub(crate) fn over(&self, other: &Samples) -> Samples {
        Samples(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    /// In another unit.
    pub(crate) fn times(&self, factor: f64) -> Samples {
        Samples(self.0.iter().map(|value| value * factor).collect())
    }

    /// The median; not a number if nothing was measured.
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.sorted(), 0.5)
    }

    /// `median (min–max)`, or the one figure there is.
    pub(crate) fn text(&self) -> String {
        let sorted = self.sorted();
        match sorted.as_slice() {
            [] => "–".to_owned(),
            [only] => figure(*only),
            [min, .., max] => format!(
                "{} ({}–{})",
                figure(self.median()),
                figure(*min),
                figure(*max)
            ),
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// The value below which the given share of a sorted list lies; the mean of the two middle values
/// where the median falls between them.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

/// Formats with three significant digits, which is more precise than the measurements.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size.is_nan() => "–".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&sorted, 0.5), 2.5);
        assert_eq!(quantile(&sorted, 1.0), 4.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_ratio_pairs_the_rounds() {
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        for (a, b) in [(10.0, 5.0), (30.0, 10.0), (8.0, 2.0)] {
            ours.add(a);
            theirs.add(b);
        }
        assert_eq!(ours.over(&theirs).text(), "3.00 (2.00–4.00)");
    }
}
