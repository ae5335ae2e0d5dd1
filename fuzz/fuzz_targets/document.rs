//! Any text as a stored document: a row may have been written by another version, or by hand.
#![no_main]

use libfuzzer_sys::fuzz_target;
use punctual_core::Timestamp;
use punctual_core::calendar::Calendar;
use punctual_core::schedule::Schedule;
use punctual_core::trigger::TriggerSpec;

/// 2026-03-28T12:00:00Z, before a change of the clocks.
const AFTER: Timestamp = Timestamp::from_secs(1_774_699_200);

fuzz_target!(|text: &str| {
    if let Ok(schedule) = serde_json::from_str::<Schedule>(text) {
        check(&schedule);
    }
    if let Ok(spec) = serde_json::from_str::<TriggerSpec>(text) {
        let good = spec.check().is_ok();
        if let Some(next) = spec.next_after(AFTER) {
            assert!(next > AFTER);
            assert!(!good || spec.end.is_none_or(|end| next <= end));
        }
        check(&spec.schedule);
    }
    if let Ok(calendar) = serde_json::from_str::<Calendar>(text) {
        if let Some(next) = calendar.next_included(AFTER) {
            assert!(next >= AFTER && calendar.includes(next));
        }
        let again = serde_json::to_string(&calendar).ok();
        let again = again.and_then(|text| serde_json::from_str::<Calendar>(&text).ok());
        assert_eq!(again.as_ref(), Some(&calendar));
    }
});

/// Strictly increasing, and the same after a round trip through the store.
fn check(schedule: &Schedule) {
    let mut before = AFTER;
    for at in schedule.next_n(AFTER, 10) {
        assert!(at > before, "{schedule}: {at} after {before}");
        before = at;
    }
    let again = serde_json::to_string(schedule).ok();
    let again = again.and_then(|text| serde_json::from_str::<Schedule>(&text).ok());
    assert_eq!(again.as_ref(), Some(schedule));
}
