//! Expressions of the `cron` crate as ours.

use super::{Cron, CronError};
use crate::zone::Zone;

/// The same expression in UTC; [`Cron::in_zone`] names another zone.
///
/// That crate takes a day of the month and a day of the week at once and means both of them, for which the Quartz
/// dialect has no form: such an expression is an error.
impl TryFrom<&cron::Schedule> for Cron {
    type Error = CronError;

    fn try_from(schedule: &cron::Schedule) -> Result<Self, CronError> {
        Self::quartz(&spelled(schedule.source()), Zone::utc())
    }
}

/// The text in the Quartz dialect: a day field that takes every day is `?`, names have three letters.
fn spelled(source: &str) -> String {
    let named = match source.trim().to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 0 1 1 *",
        "@monthly" => "0 0 0 1 * *",
        "@weekly" => "0 0 0 * * 1",
        "@daily" | "@midnight" => "0 0 0 * * *",
        "@hourly" => "0 0 * * * *",
        _ => source,
    };
    let mut fields: Vec<String> = named.split_whitespace().map(short).collect();
    if let [_, _, _, day, _, weekday, ..] = &mut fields[..] {
        let every = |field: &str| field == "*" || field == "?";
        match (every(day), every(weekday)) {
            (true, true) => ("*".clone_into(day), "?".clone_into(weekday)),
            (false, true) => ((), "?".clone_into(weekday)),
            (true, false) => ("?".clone_into(day), ()),
            (false, false) => ((), ()),
        };
    }
    fields.join(" ")
}

/// `Monday` and `thurs` as `MON` and `THU`.
fn short(field: &str) -> String {
    let mut letters = 0;
    let kept = field.chars().filter(|letter| {
        letters = if letter.is_ascii_alphabetic() { letters + 1 } else { 0 };
        letters <= 3
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_the_other_crate_are_ours() {
        for (theirs, ours) in [
            ("0 30 9 * * Mon-Fri", "0 30 9 ? * MON-FRI"),
            ("0 30 9 * January Monday", "0 30 9 ? JAN MON"),
            ("0 0 12 1,15 * * 2027/2", "0 0 12 1,15 * ? 2027/2"),
            ("0 0 12 ? * ?", "0 0 12 * * ?"),
            ("@weekly", "0 0 0 ? * 1"),
            ("@hourly", "0 0 * * * ?"),
        ] {
            let cron = Cron::try_from(&theirs.parse::<cron::Schedule>().unwrap()).unwrap();
            assert_eq!(cron.expression(), ours);
        }
        let both = "0 0 12 13 * Fri".parse::<cron::Schedule>().unwrap();
        assert!(Cron::try_from(&both).is_err());
    }
}
