//! Measuring: several things in turn, so that what disturbs the machine disturbs all of them, and medians.

use std::time::{Duration, Instant};

/// A sample is not shorter than this, so that reading the clock costs nothing beside it.
const SAMPLE: Duration = Duration::from_millis(1);

/// Nanoseconds of one call of each, as the medians of `runs` samples taken in turn.
pub(crate) fn in_turn(runs: usize, calls: &mut [Box<dyn FnMut() + '_>]) -> Vec<f64> {
    let repeats: Vec<u32> = calls.iter_mut().map(|call| enough(call)).collect();
    let mut samples = vec![Vec::with_capacity(runs); calls.len()];
    for _ in 0..runs {
        for ((call, &repeat), samples) in calls.iter_mut().zip(&repeats).zip(&mut samples) {
            samples.push(timed(call, repeat).as_secs_f64() * 1e9 / f64::from(repeat));
        }
    }
    samples.into_iter().map(median).collect()
}

/// How many calls fill a sample; it warms them up as well.
fn enough(call: &mut Box<dyn FnMut() + '_>) -> u32 {
    let mut repeat = 1;
    while repeat < 1 << 24 && timed(call, repeat) < SAMPLE {
        repeat *= 2;
    }
    repeat
}

#[expect(clippy::disallowed_methods, reason = "it times code and decides nothing")]
fn timed(call: &mut Box<dyn FnMut() + '_>, repeat: u32) -> Duration {
    let begin = Instant::now();
    for _ in 0..repeat {
        call();
    }
    begin.elapsed()
}

/// The middle one; not a number if there is none.
pub(crate) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = |at: usize| numbers.get(at).copied().unwrap_or(f64::NAN);
    match numbers.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => middle(length / 2),
        length => f64::midpoint(middle(length / 2 - 1), middle(length / 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn what_takes_longer_is_measured_longer() {
        let count = |upto: u32| {
            _ = std::hint::black_box((0..upto).map(std::hint::black_box).fold(0, u32::wrapping_add))
        };
        let times = in_turn(3, &mut [Box::new(move || count(10)), Box::new(move || count(100_000))]);
        assert!(times[0] < times[1], "{times:?}");
    }
}
