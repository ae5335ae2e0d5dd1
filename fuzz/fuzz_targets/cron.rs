//! Any text as a cron expression of both dialects: it is read or refused, and what was read answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use punctual_core::schedule::{Cron, Dialect};
use punctual_core::{Schedule, Timestamp, Zone};

fuzz_target!(|text: &str| {
    let Ok(zone) = Zone::get("Europe/Berlin") else { return };
    for dialect in [Dialect::Quartz, Dialect::Unix] {
        match Cron::new(dialect, text, zone.clone()) {
            Ok(cron) => {
                // What is stored is read again as the same.
                let again = Cron::new(dialect, cron.expression(), zone.clone());
                assert_eq!(again.as_ref().map(Cron::expression), Ok(cron.expression()));
                let schedule = Schedule::Cron(cron);
                // 2026-03-28T12:00:00Z, before a change of the clocks.
                let after = Timestamp::from_secs(1_774_699_200);
                let mut before = after;
                for at in schedule.next_n(after, 20) {
                    assert!(at > before, "{schedule}: {at} after {before}");
                    before = at;
                }
            }
            Err(error) => {
                assert!(error.column() >= 1 && !error.hint().is_empty());
            }
        }
    }
});
