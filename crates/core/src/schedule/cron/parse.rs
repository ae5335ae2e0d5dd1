//! From text to fields: the two dialects and the names, but not the inside of a field.

use super::day::{ALL_DAYS, ALL_WEEKDAYS, Days};
use super::error::CronError;
use super::field::{self, Grammar, Set, Token};
use super::{Cron, Dialect, special};

/// What a wall time must match. Bit n stands for value n; Sunday is weekday 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) seconds: u64,
    pub(super) minutes: u64,
    pub(super) hours: u32,
    pub(super) days: Days,
    pub(super) months: u32,
    /// Bit n stands for the year 1970 + n.
    years: [u64; 6],
}

/// An expression that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) text: String,
    pub(super) fields: Fields,
    /// Whether the second, minute or hour field is `*` or has a step.
    pub(super) repeating: bool,
}

impl Fields {
    pub(super) fn fires_each_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    pub(super) fn has_year(&self, year: u32) -> bool {
        let index = year.wrapping_sub(field::FIRST_YEAR);
        self.years.get(word(index)).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    /// The first matching year from `year` on.
    pub(super) fn next_year(&self, year: u32) -> Option<u32> {
        let index = year.saturating_sub(field::FIRST_YEAR);
        let mut mask = u64::MAX << (index % 64);
        for (bits, base) in self.years.iter().zip((0..).step_by(64)).skip(word(index)) {
            if bits & mask != 0 {
                return Some(field::FIRST_YEAR + base + (bits & mask).trailing_zeros());
            }
            mask = u64::MAX;
        }
        None
    }
}

fn word(index: u32) -> usize {
    usize::try_from(index / 64).unwrap_or(usize::MAX)
}

/// Reads an expression completely, or says where it cannot.
pub(super) fn parse(dialect: Dialect, text: &str) -> Result<Parsed, CronError> {
    check_characters(text)?;
    let upper = text.to_ascii_uppercase();
    let tokens = tokens(&upper);
    let Some(first) = tokens.first() else {
        return Err(CronError::new(1, "the expression is empty", field_names(dialect)));
    };
    match dialect {
        Dialect::Unix if first.text.starts_with('@') => return named(&tokens),
        Dialect::Quartz if first.text.starts_with('@') => {
            let hint = "names belong to the Unix dialect, or write `0 0 0 * * ?` for @daily";
            return Err(CronError::new(first.column, "the Quartz dialect has no names", hint));
        }
        Dialect::Quartz | Dialect::Unix => {}
    }
    let (fields, repeating) = match dialect {
        Dialect::Quartz => quartz(&tokens, upper.len())?,
        Dialect::Unix => unix(&tokens, upper.len())?,
    };
    let mut text = String::with_capacity(upper.len());
    for token in &tokens {
        text.push_str(if text.is_empty() { "" } else { " " });
        text.push_str(token.text);
    }
    Ok(Parsed { text, fields, repeating })
}

/// After this a byte is a character is a column.
fn check_characters(text: &str) -> Result<(), CronError> {
    for (index, (offset, letter)) in text.char_indices().enumerate() {
        let column = index + 1;
        if offset >= Cron::MAX_LENGTH {
            let message = format!("the expression is longer than {} bytes", Cron::MAX_LENGTH);
            return Err(CronError::new(column, message, "split it into several triggers"));
        }
        if letter != ' ' && letter != '\t' && !letter.is_ascii_graphic() {
            let hint = if letter.is_whitespace() {
                "part the fields by blanks or tabs"
            } else {
                "use digits, letters and `* , - / ? #`"
            };
            let letter = letter.escape_default();
            return Err(CronError::new(column, format!("`{letter}` has no meaning here"), hint));
        }
    }
    Ok(())
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(8);
    let mut column = 1;
    for part in text.split([' ', '\t']) {
        if !part.is_empty() {
            tokens.push(Token { text: part, column });
        }
        column += part.len() + 1;
    }
    tokens
}

fn quartz(tokens: &[Token<'_>], length: usize) -> Result<(Fields, bool), CronError> {
    check_count(Dialect::Quartz, tokens, length)?;
    let seconds = Set::read(tokens[0], &field::SECOND, Grammar::Quartz)?;
    let minutes = Set::read(tokens[1], &field::MINUTE, Grammar::Quartz)?;
    let hours = Set::read(tokens[2], &field::HOUR, Grammar::Quartz)?;
    let day_of_month = special::day_of_month(tokens[3])?;
    let months = Set::read(tokens[4], &field::MONTH, Grammar::Quartz)?;
    let day_of_week = special::day_of_week(tokens[5])?;
    let years = match tokens.get(6) {
        Some(&token) => Set::read(token, &field::YEAR, Grammar::Quartz)?,
        None => Set::all(&field::YEAR),
    };
    let days = match (day_of_month, day_of_week) {
        (Some(days), None) | (None, Some(days)) => days,
        (Some(_), Some(_)) => {
            let hint = "put `?` in the one that does not matter";
            let message = "day of month and day of week are both given";
            return Err(CronError::new(tokens[5].column, message, hint));
        }
        (None, None) => {
            let message = "day of month and day of week are both `?`";
            return Err(CronError::new(tokens[5].column, message, "put `*` in one of them for every day"));
        }
    };
    let repeating = seconds.open || minutes.open || hours.open;
    Ok((fields(seconds, minutes, hours, days, months, years), repeating))
}

fn unix(tokens: &[Token<'_>], length: usize) -> Result<(Fields, bool), CronError> {
    check_count(Dialect::Unix, tokens, length)?;
    let minutes = Set::read(tokens[0], &field::MINUTE, Grammar::Unix)?;
    let hours = Set::read(tokens[1], &field::HOUR, Grammar::Unix)?;
    let month_days = Set::read(tokens[2], &field::DAY_OF_MONTH, Grammar::Unix)?.low();
    let months = Set::read(tokens[3], &field::MONTH, Grammar::Unix)?;
    let weekdays = Set::read(tokens[4], &field::UNIX_DAY_OF_WEEK, Grammar::Unix)?.low();
    // Vixie's rule goes by the first character: `*/2` counts as a star, and then both fields must match.
    let days = if tokens[2].text.starts_with('*') || tokens[4].text.starts_with('*') {
        Days::Both { month_days, weekdays }
    } else {
        Days::Either { month_days, weekdays }
    };
    let repeating = minutes.open || hours.open;
    let years = Set::all(&field::YEAR);
    Ok((fields(Set::only(0), minutes, hours, days, months, years), repeating))
}

fn fields(seconds: Set, minutes: Set, hours: Set, days: Days, months: Set, years: Set) -> Fields {
    Fields {
        seconds: seconds.bits[0],
        minutes: minutes.bits[0],
        hours: hours.low(),
        days,
        months: months.low(),
        years: years.bits,
    }
}

fn check_count(dialect: Dialect, tokens: &[Token<'_>], length: usize) -> Result<(), CronError> {
    let (least, most) = match dialect {
        Dialect::Quartz => (6, 7),
        Dialect::Unix => (5, 5),
    };
    let count = tokens.len();
    if let Some(token) = tokens.get(most) {
        return Err(CronError::new(
            token.column,
            format!("{count} fields are too many"),
            field_names(dialect),
        ));
    }
    if count < least {
        return Err(CronError::new(length + 1, format!("{count} fields are too few"), field_names(dialect)));
    }
    Ok(())
}

fn field_names(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Quartz => {
            "the Quartz dialect has second, minute, hour, day of month, month, day of week and perhaps year"
        }
        Dialect::Unix => "the Unix dialect has minute, hour, day of month, month and day of week",
    }
}

fn named(tokens: &[Token<'_>]) -> Result<Parsed, CronError> {
    let name = tokens[0];
    if let Some(token) = tokens.get(1) {
        return Err(CronError::new(token.column, "something follows the name", "a name stands alone"));
    }
    let every_day = Days::Both { month_days: ALL_DAYS, weekdays: ALL_WEEKDAYS };
    let first_day = Days::Both { month_days: 1 << 1, weekdays: ALL_WEEKDAYS };
    let sunday = Days::Both { month_days: ALL_DAYS, weekdays: 1 };
    let (hours, days, months) = match name.text {
        "@HOURLY" => (Set::all(&field::HOUR), every_day, Set::all(&field::MONTH)),
        "@DAILY" | "@MIDNIGHT" => (Set::only(0), every_day, Set::all(&field::MONTH)),
        "@WEEKLY" => (Set::only(0), sunday, Set::all(&field::MONTH)),
        "@MONTHLY" => (Set::only(0), first_day, Set::all(&field::MONTH)),
        "@YEARLY" | "@ANNUALLY" => (Set::only(0), first_day, Set::only(1)),
        other => {
            let hint = match other {
                "@REBOOT" => "a cluster has no reboot; enqueue the job when the program starts",
                _ if other.starts_with("@EVERY") => "use an interval schedule",
                _ => "use @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually",
            };
            let message = format!("`{}` is not a name", other.to_ascii_lowercase());
            return Err(CronError::new(name.column, message, hint));
        }
    };
    let repeating = hours.open;
    let fields = fields(Set::only(0), Set::only(0), hours, days, months, Set::all(&field::YEAR));
    Ok(Parsed { text: name.text.to_ascii_lowercase(), fields, repeating })
}
