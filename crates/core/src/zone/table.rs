//! One zone's offsets as a flat table, read once.
//!
//! After the year 2500 the table repeats with the 400 years of the Gregorian calendar, so every instant has an answer.
//! It knows numbers only: instants and wall times are seconds since 1970-01-01T00:00:00.

use jiff::tz::TimeZone;

/// The end of a table: 2500-01-01T00:00:00Z. The 400 years before it hold only rules that go on for ever.
pub(super) const END: i64 = 16_725_225_600;
/// 400 Gregorian years in seconds: a whole number of weeks, after which every rule falls on the same days again.
const CYCLE: i64 = 146_097 * 86_400;
/// No offset is this large, so that `local - DAY` always lies before the instant.
pub(super) const DAY: i64 = 86_400;
/// Spans are found by the upper bits of the instant: about 194 days are one slot.
const SLOT_BITS: u32 = 24;

/// All changes of one zone's offset. Instants and wall times are in seconds since 1970-01-01T00:00:00.
pub(crate) struct Table {
    /// When each span begins; the first began for ever ago.
    starts: Box<[i64]>,
    offsets: Box<[i32]>,
    /// For each slot since 1970 the span that holds its beginning.
    slots: Box<[u16]>,
}

/// [`Reading`](super::Reading) in whole seconds.
pub(super) enum Resolved {
    Once(i64),
    Skipped { gap_end: i64, shifted: i64 },
    Twice { first: i64, second: i64 },
}

impl Table {
    pub(super) fn new(zone: &TimeZone) -> Self {
        let mut starts = vec![i64::MIN];
        let mut offset = zone.to_offset(jiff::Timestamp::MIN).seconds();
        let mut offsets = vec![offset];
        for change in zone.following(jiff::Timestamp::MIN) {
            let start = change.timestamp().as_second();
            if start >= END {
                break;
            }
            // Some changes concern only the abbreviation.
            if change.offset().seconds() != offset {
                offset = change.offset().seconds();
                starts.push(start);
                offsets.push(offset);
            }
        }
        let mut span = 0;
        let slots = (0..=END >> SLOT_BITS)
            .map(|slot| {
                while starts.get(span + 1).is_some_and(|&start| start <= slot << SLOT_BITS) {
                    span += 1;
                }
                u16::try_from(span).expect("a zone changes a few times a year")
            })
            .collect();
        Self { starts: starts.into(), offsets: offsets.into(), slots }
    }

    /// The index of the span that holds an instant. Not folded by the cycle: instants after the table are in its
    /// last span.
    #[inline]
    pub(crate) fn span_at(&self, seconds: i64) -> usize {
        if self.starts.len() == 1 {
            return 0;
        }
        let slot = usize::try_from(seconds >> SLOT_BITS).ok().and_then(|slot| self.slots.get(slot));
        if let Some(&span) = slot {
            let mut span = usize::from(span);
            while self.starts.get(span + 1).is_some_and(|&start| start <= seconds) {
                span += 1;
            }
            span
        } else {
            self.starts.partition_point(|&start| start <= seconds).saturating_sub(1)
        }
    }

    /// Seconds east of Greenwich in a span.
    #[inline]
    pub(crate) fn offset(&self, span: usize) -> i64 {
        i64::from(self.offsets[span])
    }

    /// When a span begins; `i64::MIN` for the first.
    #[inline]
    pub(crate) fn start(&self, span: usize) -> i64 {
        self.starts[span]
    }

    /// When a span ends and the offset after it; `None` for the last.
    #[inline]
    pub(crate) fn end(&self, span: usize) -> Option<(i64, i64)> {
        Some((*self.starts.get(span + 1)?, self.offset(span + 1)))
    }

    /// The number of spans.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn offset_at(&self, seconds: i64) -> i32 {
        self.offsets[self.span_at(seconds - cycles(seconds))]
    }

    pub(super) fn resolve(&self, local: i64) -> Resolved {
        let folded = cycles(local);
        let wall = local - folded;
        let mut span = self.span_at(wall.saturating_sub(DAY));
        loop {
            let offset = self.offset(span);
            let at = local - offset;
            let Some((end, next_offset)) = self.end(span) else { return Resolved::Once(at) };
            if wall < end + offset {
                return if wall >= end + next_offset {
                    Resolved::Twice { first: at, second: local - next_offset }
                } else {
                    Resolved::Once(at)
                };
            }
            if wall < end + next_offset {
                return Resolved::Skipped { gap_end: end + folded, shifted: at };
            }
            span += 1;
        }
    }
}

/// What to take off an instant or wall time to get into the part of the table that repeats.
fn cycles(seconds: i64) -> i64 {
    // A day early, so that no conversion at the seam needs a span after the last.
    let beyond = seconds - (END - DAY);
    if beyond < 0 { 0 } else { (beyond / CYCLE + 1) * CYCLE }
}
