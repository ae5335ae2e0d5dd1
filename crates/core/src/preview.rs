//! What a trigger will do next, for people: its instants with the changes of the clocks and with what is left out.

use std::time::Duration;

use chrono::NaiveDateTime;

use crate::calendar::{Calendar, WhenExcluded};
use crate::error::Result;
use crate::instants::Instants;
use crate::schedule::{Gap, Schedule};
use crate::time::Timestamp;
use crate::trigger::TriggerSpec;
use crate::zone::{Reading, Zone};

/// A line of a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The instant.
    pub at: Timestamp,
    /// The wall time in the schedule's zone; in UTC if it has none.
    pub local: NaiveDateTime,
    /// Seconds east of Greenwich.
    pub offset: i32,
    /// What becomes of it.
    pub fate: Fate,
    /// What the clocks do there.
    pub marks: Vec<Mark>,
}

/// What becomes of an instant of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It fires.
    Fires,
    /// It fires in place of one or more instants of excluded days.
    Moved,
    /// The calendar leaves it out.
    Excluded,
}

/// Something to know about an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mark {
    /// It is at the end of a gap, and stands for wall times that do not exist.
    GapEnd,
    /// Its wall time comes twice; this is the first time.
    OverlapFirst,
    /// Its wall time comes twice; this is the second time.
    OverlapSecond,
    /// The offset is another one than at the line before (at the question, for the first line).
    OffsetChange {
        /// Seconds that the clocks were put forward by; negative if they were put back.
        by: i32,
    },
    /// Between the line before and this one there were wall times that do not exist, at which it would have fired.
    GapSkipped,
}

/// The most lines that are left out in one preview: a calendar that excludes nearly everything is cut there.
const MOST_EXCLUDED: usize = 1_000;

/// The next `n` instants that fire strictly after `after`, and between them those that the calendar leaves out.
///
/// # Errors
/// `Unsupported` if a custom schedule is not known here; `Invalid` if the calendar cannot move instants.
pub fn preview(
    spec: &TriggerSpec,
    calendar: Option<(&Calendar, WhenExcluded)>,
    after: Timestamp,
    n: usize,
) -> Result<Vec<Preview>> {
    let mut instants = Instants::of(spec)?;
    if let Some((calendar, when_excluded)) = calendar {
        instants = instants.through(calendar, when_excluded)?;
    }
    let zone = spec.schedule.zone().cloned().unwrap_or_else(Zone::utc);
    let mut lines = Vec::new();
    let mut excluded = 0;
    let mut before = after;
    for _ in 0..n {
        let next = instants.next_after(before);
        if let Some((calendar, _)) = calendar {
            let end = next.unwrap_or(Timestamp::MAX);
            let mut left_out = before;
            while let Some(at) = spec.next_after(left_out).filter(|&at| at < end) {
                left_out = at;
                if excluded == MOST_EXCLUDED {
                    break;
                }
                if !calendar.includes(at) {
                    excluded += 1;
                    lines.push(line(spec, &zone, at, before, Fate::Excluded));
                }
            }
        }
        let Some(next) = next else { break };
        let moves = calendar.is_some_and(|(_, when_excluded)| when_excluded != WhenExcluded::Skip);
        let own = !moves || spec.next_after(next.minus(Duration::from_micros(1))) == Some(next);
        lines.push(line(spec, &zone, next, before, if own { Fate::Fires } else { Fate::Moved }));
        before = next;
    }
    Ok(lines)
}

fn line(spec: &TriggerSpec, zone: &Zone, at: Timestamp, before: Timestamp, fate: Fate) -> Preview {
    let (local, offset) = (zone.to_local(at), zone.offset_at(at));
    let mut marks = Vec::new();
    match zone.resolve(local) {
        Reading::Twice { first, .. } if first == at => marks.push(Mark::OverlapFirst),
        Reading::Twice { .. } => marks.push(Mark::OverlapSecond),
        // At the end of a gap for the gap's sake: the schedule has no such time of day on other days.
        _ if ends_gap(zone, at) && !fires_by_itself(spec, at) => marks.push(Mark::GapEnd),
        _ => {}
    }
    let by = offset - zone.offset_at(before);
    if by != 0 {
        marks.push(Mark::OffsetChange { by });
    }
    if by > 0 && skips_gap(spec, zone, before, at) {
        marks.push(Mark::GapSkipped);
    }
    marks.sort_unstable();
    Preview { at, local, offset, fate, marks }
}

/// Whether the clocks were put forward to show what they show at `at`.
fn ends_gap(zone: &Zone, at: Timestamp) -> bool {
    let just_before = at.minus(Duration::from_micros(1));
    zone.offset_at(at) > zone.offset_at(just_before)
}

/// Whether the wall time at `at` is one of the schedule's own.
fn fires_by_itself(spec: &TriggerSpec, at: Timestamp) -> bool {
    match &spec.schedule {
        Schedule::Cron(cron) => cron.matches(at),
        Schedule::CalendarInterval(steps) => {
            let time = |t| steps.zone().to_local(t).time();
            time(at) == time(steps.start())
        }
        Schedule::Daily(daily) => {
            let since = daily.zone().to_local(at).time() - daily.window().0.time();
            since.num_seconds() % i64::from(daily.interval()) == 0
        }
        Schedule::Once(_) | Schedule::Every(_) | Schedule::Custom(_) => true,
    }
}

/// Whether a cron expression lost a wall time in the gap between two instants.
fn skips_gap(spec: &TriggerSpec, zone: &Zone, before: Timestamp, at: Timestamp) -> bool {
    let Schedule::Cron(cron) = &spec.schedule else { return false };
    let Some(change) = zone.next_change(before).filter(|&change| change <= at) else { return false };
    let face = |t: Timestamp| t.as_micros().div_euclid(1_000_000) + i64::from(zone.offset_at(t));
    let (from, until) = (face(change.minus(Duration::from_micros(1))) + 1, face(change));
    cron.dst().gap == Gap::Skip && cron.shows_within(from, until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{CalendarInterval, CalendarUnit, Cron, Dst, Overlap, Weekdays};

    fn at(text: &str) -> Timestamp {
        Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
    }

    fn berlin() -> Zone {
        Zone::get("Europe/Berlin").unwrap()
    }

    fn shown(spec: &TriggerSpec, after: &str, n: usize) -> Vec<(String, Vec<Mark>)> {
        let lines = preview(spec, None, at(after), n).unwrap().into_iter();
        lines.map(|line| (line.local.format("%d %H:%M").to_string(), line.marks)).collect()
    }

    fn cron(expression: &str, gap: Gap) -> TriggerSpec {
        let cron = Cron::quartz(expression, berlin()).unwrap();
        TriggerSpec::new(cron.with_dst(Dst { gap, overlap: Overlap::Both }).into())
    }

    #[test]
    fn changes_of_the_clocks_are_marked() {
        let forward = Mark::OffsetChange { by: 3600 };
        let at_end = shown(&cron("0 30 2 * * ?", Gap::AtEndOfGap), "2026-03-28T00:00:00Z", 3);
        assert_eq!(at_end[0], ("28 02:30".to_owned(), vec![]));
        assert_eq!(at_end[1], ("29 03:00".to_owned(), vec![Mark::GapEnd, forward]));
        assert_eq!(at_end[2], ("30 02:30".to_owned(), vec![]));
        let skipped = shown(&cron("7 30 2 * * ?", Gap::Skip), "2026-03-28T12:00:00Z", 1);
        assert_eq!(skipped, [("30 02:30".to_owned(), vec![forward, Mark::GapSkipped])]);
        let plain = shown(&cron("0 0 3 * * ?", Gap::AtEndOfGap), "2026-03-28T12:00:00Z", 1);
        assert_eq!(plain, [("29 03:00".to_owned(), vec![forward])]);
        let twice = shown(&cron("0 30 2 * * ?", Gap::Skip), "2026-10-24T12:00:00Z", 2);
        assert_eq!(twice[0], ("25 02:30".to_owned(), vec![Mark::OverlapFirst]));
        let back = Mark::OffsetChange { by: -3600 };
        assert_eq!(twice[1], ("25 02:30".to_owned(), vec![Mark::OverlapSecond, back]));

        let start = at("2026-03-01T02:00:00Z");
        let daily = CalendarInterval::new(1, CalendarUnit::Day, start, berlin()).unwrap();
        let own = shown(&TriggerSpec::new(daily.into()), "2026-03-28T12:00:00Z", 1);
        assert_eq!(own, [("29 03:00".to_owned(), vec![forward])]);
    }

    #[test]
    fn what_a_calendar_does_is_shown() {
        let weekends = Calendar::weekly(Weekdays::WEEKEND, berlin());
        let spec = cron("0 0 9 1 * ?", Gap::Skip);
        let fates = |when| {
            let lines = preview(&spec, Some((&weekends, when)), at("2026-07-15T00:00:00Z"), 2).unwrap();
            let day = |line: &Preview| (line.local.format("%m-%d").to_string(), line.fate);
            lines.iter().map(day).collect::<Vec<_>>()
        };
        let line = |day: &str, fate| (day.to_owned(), fate);
        let first = line("08-01", Fate::Excluded);
        let skipped = [first.clone(), line("09-01", Fate::Fires), line("10-01", Fate::Fires)];
        assert_eq!(fates(WhenExcluded::Skip), skipped);
        let moved = [first, line("08-03", Fate::Moved), line("09-01", Fate::Fires)];
        assert_eq!(fates(WhenExcluded::After), moved);
        let never = Calendar::weekly(Weekdays::ALL, berlin());
        let spec = cron("0 * * * * ?", Gap::Skip);
        let lines =
            preview(&spec, Some((&never, WhenExcluded::Skip)), at("2026-07-15T00:00:00Z"), 5).unwrap();
        assert!(lines.len() == MOST_EXCLUDED && lines.iter().all(|line| line.fate == Fate::Excluded));
    }
}
