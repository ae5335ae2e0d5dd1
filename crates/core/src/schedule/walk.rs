//! What can be answered about any schedule by stepping from instant to instant.
//!
//! Schedules with a closed form do better and do not come here.

use crate::time::Timestamp;

/// The latest instant in `(after, until]`, with a number of steps that grows with the logarithm of the window, not
/// with the instants in it: "is there an instant in `(t, until]`?" turns from yes to no once as `t` grows.
pub(crate) fn last_within(
    next_after: impl Fn(Timestamp) -> Option<Timestamp>,
    after: Timestamp,
    until: Timestamp,
) -> Option<Timestamp> {
    let within = |t: Timestamp| next_after(t).filter(|&next| next <= until);
    let mut best = within(after)?;

    // The answer is mostly close to the end, so look there first, in windows that double. Nothing lies after `bare`.
    let mut bare = until;
    let mut width = 1_000_000_i64;
    loop {
        let low = Timestamp::from_micros(until.as_micros().saturating_sub(width));
        if low <= best {
            break;
        }
        if let Some(found) = within(low) {
            best = found;
            break;
        }
        bare = low;
        width = width.saturating_mul(2);
    }

    // Mostly `best` is the last one already; otherwise halve what is left.
    while let Some(further) = within(best) {
        best = further;
        let middle = midpoint(best, bare);
        match within(middle) {
            Some(found) => best = found,
            None => bare = middle,
        }
    }
    Some(best)
}

/// Half way, rounded down: rounding up would try `high` again for ever.
fn midpoint(low: Timestamp, high: Timestamp) -> Timestamp {
    let (low, high) = (low.as_micros(), high.as_micros());
    Timestamp::from_micros(low.saturating_add_unsigned(high.abs_diff(low) / 2))
}

/// The number of instants in `(after, until]`, or `None` if there are more than `cap`, which bounds the steps.
pub(crate) fn count_within(
    next_after: impl Fn(Timestamp) -> Option<Timestamp>,
    after: Timestamp,
    until: Timestamp,
    cap: u64,
) -> Option<u64> {
    let mut count = 0;
    let mut at = after;
    while let Some(next) = next_after(at).filter(|&next| next <= until) {
        if count == cap {
            return None;
        }
        count += 1;
        at = next;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_last_of_millions_is_found_in_few_steps() {
        let steps = Cell::new(0);
        // One instant each second up to 1000 s, then none for a long time.
        let next_after = |t: Timestamp| {
            steps.set(steps.get() + 1);
            let next = t.as_micros().div_euclid(1_000_000) + 1;
            (next <= 1_000_000_000).then(|| Timestamp::from_secs(next))
        };
        let end = Timestamp::from_secs(1_000_000_000);
        assert_eq!(last_within(next_after, Timestamp::EPOCH, Timestamp::MAX), Some(end));
        assert_eq!(last_within(next_after, Timestamp::EPOCH, end), Some(end));
        assert!(steps.get() < 200, "{}", steps.get());
    }

    #[test]
    fn the_cap_ends_the_count() {
        let next_after = |t: Timestamp| Some(Timestamp::from_micros(t.as_micros() + 1));
        let count =
            |until, cap| count_within(next_after, Timestamp::EPOCH, Timestamp::from_micros(until), cap);
        assert_eq!(count(7, 7), Some(7));
        assert_eq!(count(8, 7), None);
        assert_eq!(count(0, 0), Some(0));
    }
}
