//! Figures out of times.

use serde::Serialize;
use std::time::Duration;

/// Quantiles of a sample, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    /// The sample's size.
    pub(crate) count: usize,
    /// The median.
    pub(crate) p50: f64,
    /// 95 of 100 are no longer.
    pub(crate) p95: f64,
    /// 99 of 100 are no longer.
    pub(crate) p99: f64,
    /// The longest.
    pub(crate) max: f64,
}

impl Quantiles {
    /// Of a sample; all zero if it is empty.
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut sorted: Vec<f64> = times.into_iter().map(ms).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent| nearest_rank(&sorted, percent);
        Self { count: sorted.len(), p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }
}

/// What tries of the same thing took, in milliseconds: machines have slower moments and faster ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// How many there were.
    pub(crate) count: usize,
    /// The shortest.
    pub(crate) best: f64,
    /// The median; of an even number, the mean of the two in the middle.
    pub(crate) median: f64,
    /// The longest.
    pub(crate) worst: f64,
}

impl Spread {
    /// Of a sample in milliseconds; all zero if it is empty.
    pub(crate) fn of(times: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = times.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        let median = (at(last / 2) + at(last.div_ceil(2))) / 2.0;
        Self { count: sorted.len(), best: at(0), median, worst: at(last) }
    }
}

/// The smallest value that `percent` of the values do not exceed.
fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Milliseconds, to the microsecond.
pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// `ours / floor` to two digits; none without a floor.
pub(crate) fn ratio(ours: f64, floor: f64) -> Option<f64> {
    (floor > 0.0).then(|| (ours / floor * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_nearest_rank() {
        let q = Quantiles::of((1..=100).rev().map(Duration::from_millis));
        assert_eq!((q.count, q.p50, q.p95, q.p99, q.max), (100, 50.0, 95.0, 99.0, 100.0));
        let q = Quantiles::of([3, 1, 2].map(Duration::from_millis));
        assert_eq!((q.p50, q.p95, q.p99, q.max), (2.0, 3.0, 3.0, 3.0));
        let q = Quantiles::of([Duration::from_micros(1500)]);
        assert_eq!((q.p50, q.max), (1.5, 1.5));
        assert_eq!(Quantiles::of([]).p99, 0.0);
    }

    #[test]
    fn spreads() {
        let spread = Spread::of([3.0, 1.0, 2.0, 9.0]);
        assert_eq!(spread, Spread { count: 4, best: 1.0, median: 2.5, worst: 9.0 });
        assert_eq!(Spread::of([5.0, 1.0, 3.0]).median, 3.0);
        assert_eq!(Spread::of([]).best, 0.0);
    }

    #[test]
    fn ratios() {
        assert_eq!(ratio(3.0, 2.0), Some(1.5));
        assert_eq!(ratio(1.0, 0.0), None);
    }
}
