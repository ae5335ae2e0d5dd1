//! What an instruction makes of a late trigger (`updateAfterMisfire`).

use super::{Instruction, Kind, Position, Progress, Trigger};
use crate::calendar::Calendar;
use crate::time::Timestamp;

impl Trigger {
    /// Where a trigger stands after it was found late at `now`.
    ///
    /// How late it is is not looked at: Quartz calls this when the next fire time is older than its threshold and the
    /// instruction is not to ignore that.
    #[must_use]
    pub fn after_misfire(
        &self,
        instruction: Instruction,
        position: &Position,
        calendar: Option<&Calendar>,
        now: Timestamp,
    ) -> Position {
        let progress = position.progress;
        let instruction = instruction.resolved(self.trigger_type(), self.repeat(&progress));
        match instruction {
            Instruction::Ignore | Instruction::Smart => *position,
            // "Now" is now whatever the calendar and the end say.
            Instruction::FireNow | Instruction::FireOnceNow => Position { next: Some(now), ..*position },
            Instruction::DoNothing | Instruction::NextExisting => {
                Position { next: self.after_now(&progress, calendar, now), ..*position }
            }
            Instruction::NextRemaining => {
                let next = self.after_now(&progress, calendar, now);
                let missed = next.map_or(0, |next| self.missed(position, next));
                let triggered = progress.triggered.saturating_add(missed);
                Position { next, progress: Progress { triggered, ..progress }, ..*position }
            }
            Instruction::NowExisting => self.begin_anew(position, now, progress.triggered),
            Instruction::NowRemaining => {
                let gone = progress.triggered.saturating_add(self.missed(position, now));
                self.begin_anew(position, now, gone)
            }
        }
    }

    fn after_now(
        &self,
        progress: &Progress,
        calendar: Option<&Calendar>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        self.included(progress, self.fire_time_after(progress, now), calendar)
    }

    /// How many intervals lie between the next fire time and `until`.
    fn missed(&self, position: &Position, until: Timestamp) -> u64 {
        match (&self.kind, position.next) {
            (Kind::Simple { interval, .. }, Some(next)) => {
                let elapsed = until.as_micros().saturating_sub(next.as_micros());
                elapsed.checked_div(*interval).and_then(|steps| u64::try_from(steps).ok()).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Starts again at `now`, with the repeats that are left when `gone` fires have been.
    fn begin_anew(&self, position: &Position, now: Timestamp, gone: u64) -> Position {
        let mut progress = position.progress;
        if let Some(repeat) = self.repeat(&progress).filter(|&repeat| repeat > 0) {
            let gone = u32::try_from(gone).unwrap_or(u32::MAX);
            progress.repeat = Some(repeat.saturating_sub(gone));
            progress.triggered = 0;
        }
        if self.end.is_some_and(|end| end < now) {
            return Position { next: None, progress, ..*position };
        }
        progress.start = Some(now);
        Position { next: Some(now), progress, ..*position }
    }
}
