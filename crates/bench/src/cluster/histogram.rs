//! How often which span was seen: buckets of which each is at most one sixty-fourth wide, in constant memory, counted by
//! one atomic addition.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Each power of two has so many buckets, as a power of two.
const FINE: u32 = 6;
/// Spans above 2^40 µs, twelve days, are counted as that.
const LARGEST: u64 = (1 << 40) - 1;

/// Counts spans in microseconds.
#[derive(Debug)]
pub(crate) struct Histogram(Vec<AtomicU64>);

impl Default for Histogram {
    fn default() -> Self {
        Self((0..=bucket(LARGEST)).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Histogram {
    pub(crate) fn count(&self, micros: u64) {
        if let Some(count) = self.0.get(bucket(micros.min(LARGEST))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been counted so far.
    pub(crate) fn so_far(&self) -> Counts {
        let counts = self.0.iter().enumerate().map(|(at, count)| (at, count.load(Ordering::Relaxed)));
        Counts(counts.filter(|(_, count)| *count > 0).collect())
    }
}

/// Buckets that hold anything, in order, with their counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts(Vec<(usize, u64)>);

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// What has been counted since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |at: usize| {
            let found = earlier.0.binary_search_by_key(&at, |(at, _)| *at);
            found.ok().and_then(|index| earlier.0.get(index)).map_or(0, |(_, count)| *count)
        };
        let left = self.0.iter().map(|(at, count)| (*at, count.saturating_sub(before(*at))));
        Self(left.filter(|(_, count)| *count > 0).collect())
    }

    /// What both have counted.
    pub(crate) fn with(&self, other: &Self) -> Self {
        let mut sum = std::collections::BTreeMap::new();
        for (at, count) in self.0.iter().chain(&other.0) {
            *sum.entry(*at).or_insert(0) += count;
        }
        Self(sum.into_iter().collect())
    }

    /// The span in milliseconds below or at which `per_mille` of a thousand are, by nearest rank, rounded up to the end of
    /// its bucket; not a number if nothing was counted.
    pub(crate) fn at(&self, per_mille: u64) -> f64 {
        let rank = (self.total() * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (at, count) in &self.0 {
            seen += count;
            if seen >= rank {
                return std::time::Duration::from_micros(end(*at)).as_secs_f64() * 1e3;
            }
        }
        f64::NAN
    }
}

/// The bucket of a span.
fn bucket(micros: u64) -> usize {
    let shift = micros.checked_ilog2().unwrap_or(0).saturating_sub(FINE);
    let at = (u64::from(shift) << FINE) + (micros >> shift);
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// The largest span of a bucket.
fn end(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(0);
    let shift = (bucket >> FINE).saturating_sub(1);
    let first = bucket - (shift << FINE);
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_narrow_and_ends_at_its_largest_span() {
        for micros in (0..40).flat_map(|power| [1 << power, (1 << power) + 1, (3 << power) / 2]) {
            let end = end(bucket(micros));
            assert!(
                end >= micros && end - micros <= micros / 64,
                "{micros} is in the bucket that ends at {end}"
            );
            assert_eq!(bucket(end), bucket(micros));
            assert_eq!(bucket(end + 1), bucket(micros) + 1);
        }
    }

    #[test]
    fn ranks_are_of_the_counts_since() {
        let histogram = Histogram::default();
        histogram.count(60_000_000);
        let before = histogram.so_far();
        (1..=100).for_each(|ms| histogram.count(ms * 1000));
        let window = histogram.so_far().since(&before);
        assert_eq!(window.total(), 100);
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted / 50.0;
        assert!(near(window.at(500), 50.0), "{}", window.at(500));
        assert!(near(window.at(990), 99.0) && near(window.at(1000), 100.0));
        assert!(Counts::default().at(500).is_nan());
        assert_eq!(window.with(&before), histogram.so_far());
    }
}
