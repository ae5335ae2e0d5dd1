//! The day fields of the Quartz dialect: `?`, `L`, `W` and `#`, which stand alone in their field.

use super::day::{ALL_DAYS, ALL_WEEKDAYS, Anchor, Days};
use super::error::CronError;
use super::field::{self, Cursor, Grammar, Set, Token};

/// The largest `n` of `L-n`: in a month of 31 days that is the first.
const LARGEST_OFFSET: u32 = 30;

/// Reads the day-of-month field; `None` is `?`.
pub(super) fn day_of_month(token: Token<'_>) -> Result<Option<Days>, CronError> {
    let mut cursor = Cursor::new(token);
    if cursor.eat("?") {
        return end(&cursor, None);
    }
    if cursor.eat("L") {
        let offset = if cursor.eat("-") { offset(&mut cursor)? } else { 0 };
        let days =
            if cursor.eat("W") { Days::Nearest(Anchor::FromEnd(offset)) } else { Days::FromEnd { offset } };
        return end(&cursor, Some(days));
    }
    if let Some(day) = cursor.number()
        && cursor.eat("W")
    {
        let day = in_range(token, day, 1..=31, "a day of month")?;
        return end(&cursor, Some(Days::Nearest(Anchor::Day(day))));
    }
    let month_days = Set::read(token, &field::DAY_OF_MONTH, Grammar::Quartz)?.low();
    Ok(Some(Days::Both { month_days, weekdays: ALL_WEEKDAYS }))
}

/// Reads the day-of-week field; `None` is `?`.
pub(super) fn day_of_week(token: Token<'_>) -> Result<Option<Days>, CronError> {
    let mut cursor = Cursor::new(token);
    if cursor.eat("?") {
        return end(&cursor, None);
    }
    if token.text == "L" {
        return Ok(Some(Days::Both { month_days: ALL_DAYS, weekdays: 1 << 6 }));
    }
    // The weekday before `L` or `#`; anything else in front of them is left to the list's error.
    if let Some(position) = token.text.find(['L', '#'])
        && let Some(name) = token.text.get(..position)
        && !name.contains(',')
    {
        let mut before = Cursor::new(Token { text: name, column: token.column });
        let weekday = before.value(&field::DAY_OF_WEEK, Grammar::Quartz)?.number - 1;
        if before.peek().is_some() {
            return Err(before.unexpected(&field::DAY_OF_WEEK, Grammar::Quartz));
        }
        cursor.eat(name);
        if cursor.eat("L") {
            return end(&cursor, Some(Days::LastWeekday { weekday }));
        }
        cursor.skip();
        let column = cursor.column();
        let count = Token { text: cursor.rest(), column };
        let n = cursor.number().unwrap_or_default();
        let n = in_range(count, n, 1..=5, "the number of a weekday in a month")?;
        return end(&cursor, Some(Days::NthWeekday { weekday, n }));
    }
    let weekdays = Set::read(token, &field::DAY_OF_WEEK, Grammar::Quartz)?.low();
    Ok(Some(Days::Both { month_days: ALL_DAYS, weekdays }))
}

fn offset(cursor: &mut Cursor<'_>) -> Result<u32, CronError> {
    let start = Token { text: cursor.rest(), column: cursor.column() };
    let Some(offset) = cursor.number() else {
        let hint = format!("use L-1 to L-{LARGEST_OFFSET}");
        return Err(CronError::new(start.column, "a number must follow `L-`", hint));
    };
    in_range(start, offset, 0..=LARGEST_OFFSET, "a number of days before the last")
}

fn in_range(
    token: Token<'_>,
    value: u32,
    range: std::ops::RangeInclusive<u32>,
    name: &str,
) -> Result<u32, CronError> {
    if range.contains(&value) {
        return Ok(value);
    }
    let digits: String = token.text.chars().take_while(char::is_ascii_digit).collect();
    let message = format!("`{digits}` is not {name}");
    Err(CronError::new(token.column, message, format!("use {} to {}", range.start(), range.end())))
}

/// Nothing may follow these forms.
fn end(cursor: &Cursor<'_>, days: Option<Days>) -> Result<Option<Days>, CronError> {
    match cursor.peek() {
        None => Ok(days),
        Some(byte) => {
            let message = format!("`{}` does not belong here", char::from(byte));
            let hint = "`?`, `L`, `L-n`, `LW`, `L-nW`, `nW`, `nL` and `n#k` stand alone in their field";
            Err(CronError::new(cursor.column(), message, hint))
        }
    }
}
