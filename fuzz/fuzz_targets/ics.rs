//! Any text as an iCalendar file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use punctual_core::Zone;
use punctual_core::calendar::Calendar;

fuzz_target!(|text: &str| match Calendar::from_ics(text, 2040, Zone::utc()) {
    Ok(calendar) => assert!(calendar.is_daywise()),
    Err(error) => assert!(error.message().contains("line") || error.message().contains("longer"), "{error}"),
});
