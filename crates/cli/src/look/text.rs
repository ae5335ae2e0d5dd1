//! Times and spans as people read them, and lines that stay lines.

use std::time::Duration;

use chrono::{SecondsFormat, Timelike};
use punctual_core::Timestamp;

/// A time of day in UTC, to the millisecond.
pub(crate) fn clock(at: Timestamp) -> String {
    at.to_chrono().format_clock()
}

/// Writes a time of day; chrono's own formatting needs a feature that nothing else does.
trait FormatClock {
    fn format_clock(&self) -> String;
}

impl<T: Timelike> FormatClock for T {
    fn format_clock(&self) -> String {
        let millis = self.nanosecond() / 1_000_000;
        format!("{:02}:{:02}:{:02}.{millis:03}", self.hour(), self.minute(), self.second())
    }
}

/// An instant, without a fraction where it has none.
pub(crate) fn instant(at: Timestamp) -> String {
    at.to_chrono().to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// How much later than `due` something happened; with a minus if it was early.
pub(crate) fn lateness(due: Timestamp, at: Timestamp) -> String {
    if at < due { format!("-{}", span(due.since(at))) } else { format!("+{}", span(at.since(due))) }
}

/// A span in two significant units.
pub(crate) fn span(span: Duration) -> String {
    let (micros, seconds) = (span.as_micros(), span.as_secs());
    match seconds {
        0 if micros < 1_000 => format!("{micros} µs"),
        0 if micros < 10_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        0 => format!("{} ms", micros / 1_000),
        1..60 => format!("{seconds}.{:02} s", micros / 10_000 % 100),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// An instant seen from `now`: `in 5m 00s`, `2h 03m ago`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now {
        // What is less than a second away is of no interest to the millisecond.
        let left = at.since(now);
        let left = if left >= Duration::from_secs(1) { Duration::from_secs(left.as_secs()) } else { left };
        format!("in {}", coarse(left))
    } else {
        format!("{} ago", coarse(now.since(at)))
    }
}

fn coarse(time: Duration) -> String {
    if time < Duration::from_secs(60) { format!("{}s", time.as_secs()) } else { span(time) }
}

/// A text without line breaks and control characters, cut to what fits a line.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let words: Vec<&str> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|c| !c.is_control()).collect();
    cut(&line, LONGEST)
}

/// A text of at most `longest` characters.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units() {
        for (micros, expected) in [
            (0, "0 µs"),
            (2_340, "2.3 ms"),
            (123_456, "123 ms"),
            (1_234_567, "1.23 s"),
            (61_000_000, "1m 01s"),
            (3_661_000_000, "1h 01m"),
            (90_000_000_000, "1d 1h"),
        ] {
            assert_eq!(span(Duration::from_micros(micros)), expected);
        }
        assert!(!span(Duration::MAX).is_empty());
    }

    #[test]
    fn instants_are_seen_from_now() {
        let now = Timestamp::from_secs(1_000);
        assert_eq!(relative(Timestamp::from_secs(1_090), now), "in 1m 30s");
        assert_eq!(relative(Timestamp::from_secs(990), now), "10s ago");
        assert_eq!(lateness(now, now.plus(Duration::from_millis(5))), "+5.0 ms");
        assert_eq!(clock(Timestamp::from_micros(3_723_004_000)), "01:02:03.004");
        assert!(!relative(Timestamp::MAX, Timestamp::MIN).is_empty());
    }
}
