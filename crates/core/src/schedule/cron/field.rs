//! The inside of a field: lists, ranges, steps and names.

use super::error::CronError;

/// The first year that can match.
pub(super) const FIRST_YEAR: u32 = 1970;
/// The last year that can match.
pub(super) const LAST_YEAR: u32 = 2299;

/// What a field may hold.
#[derive(Debug)]
pub(super) struct Spec {
    /// As in "32 is not …".
    name: &'static str,
    /// The least and the greatest value in text.
    min: u32,
    max: u32,
    /// How many values there are before they wrap round; one less than `max - min + 1` where Sunday is 0 and 7.
    values: u32,
    /// Bit = value - `base`.
    base: u32,
    /// The longest step.
    step: u32,
    /// Names of the values from `min` on.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

pub(super) const SECOND: Spec =
    Spec { name: "a second", min: 0, max: 59, values: 60, base: 0, step: 59, names: &[] };
pub(super) const MINUTE: Spec = Spec { name: "a minute", ..SECOND };
pub(super) const HOUR: Spec =
    Spec { name: "an hour", min: 0, max: 23, values: 24, base: 0, step: 23, names: &[] };
pub(super) const DAY_OF_MONTH: Spec =
    Spec { name: "a day of month", min: 1, max: 31, values: 31, base: 0, step: 31, names: &[] };
pub(super) const MONTH: Spec =
    Spec { name: "a month", min: 1, max: 12, values: 12, base: 0, step: 12, names: &MONTHS };
pub(super) const DAY_OF_WEEK: Spec =
    Spec { name: "a day of week", min: 1, max: 7, values: 7, base: 1, step: 7, names: &WEEKDAYS };
pub(super) const UNIX_DAY_OF_WEEK: Spec =
    Spec { name: "a day of week", min: 0, max: 7, values: 7, base: 0, step: 7, names: &WEEKDAYS };
pub(super) const YEAR: Spec = Spec {
    name: "a year",
    min: FIRST_YEAR,
    max: LAST_YEAR,
    values: LAST_YEAR - FIRST_YEAR + 1,
    base: FIRST_YEAR,
    step: LAST_YEAR - FIRST_YEAR,
    names: &[],
};

/// Which forms a field may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// `/n` and `a/n` are forms; a name goes with neither a number nor a step.
    Quartz,
    /// Neither `/n` nor `a/n`; names are numbers.
    Unix,
}

/// A field's text in upper case and the column of its first character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) column: usize,
}

/// The values of a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    pub(super) bits: [u64; 6],
    /// Whether `*` or a step is in it.
    pub(super) open: bool,
}

impl Set {
    pub(super) fn only(value: u32) -> Self {
        Self { bits: [1 << value, 0, 0, 0, 0, 0], open: false }
    }

    pub(super) fn all(spec: &Spec) -> Self {
        let mut set = Self { bits: [0; 6], open: true };
        set.fill(spec.min - spec.base, spec.last() - spec.base);
        set
    }

    /// The values below 32.
    pub(super) fn low(&self) -> u32 {
        u32::try_from(self.bits[0] & u64::from(u32::MAX)).unwrap_or_default()
    }

    /// Adds every `step`-th value from `from` to `to`, round the end if `to` is less.
    fn insert(&mut self, spec: &Spec, from: u32, to: u32, step: u32) {
        if step == 1 && from <= to && to <= spec.last() {
            return self.fill(from - spec.base, to - spec.base);
        }
        let to = if to < from { to + spec.values } else { to };
        for value in (from..=to).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let bit = (value - spec.min) % spec.values + spec.min - spec.base;
            self.fill(bit, bit);
        }
    }

    /// Sets the bits from `from` to `to`.
    fn fill(&mut self, from: u32, to: u32) {
        for (word, base) in self.bits.iter_mut().zip((0_u32..).step_by(64)) {
            let (low, high) = (from.max(base), to.min(base + 63));
            if low <= high {
                *word |= u64::MAX >> (63 - (high - low)) << (low - base);
            }
        }
    }

    /// Reads a field without `?`, `L`, `W` and `#`.
    pub(super) fn read(token: Token<'_>, spec: &Spec, grammar: Grammar) -> Result<Self, CronError> {
        let mut cursor = Cursor::new(token);
        let mut set = Self { bits: [0; 6], open: false };
        loop {
            set.read_item(&mut cursor, spec, grammar)?;
            match cursor.peek() {
                None => return Ok(set),
                Some(b',') => cursor.skip(),
                Some(_) => return Err(cursor.unexpected(spec, grammar)),
            }
        }
    }

    fn read_item(&mut self, cursor: &mut Cursor<'_>, spec: &Spec, grammar: Grammar) -> Result<(), CronError> {
        if cursor.peek() == Some(b'*') || (cursor.peek() == Some(b'/') && grammar == Grammar::Quartz) {
            if cursor.peek() == Some(b'*') {
                cursor.skip();
            }
            let step = cursor.step(spec)?.unwrap_or(1);
            self.open = true;
            self.insert(spec, spec.min, spec.last(), step);
            return Ok(());
        }

        let start = cursor.column();
        let from = cursor.value(spec, grammar)?;
        let mut to = None;
        if cursor.peek() == Some(b'-') {
            cursor.skip();
            let column = cursor.column();
            let end = cursor.value(spec, grammar)?;
            if grammar == Grammar::Quartz && from.named != end.named {
                let message = "a range of a name and a number";
                return Err(CronError::new(column, message, "write both as names or both as numbers"));
            }
            if end.number < from.number && spec.base == FIRST_YEAR {
                let message = format!("the range ends in {}, before it begins", end.number);
                return Err(CronError::new(
                    column,
                    message,
                    "years do not wrap round; put the earlier first",
                ));
            }
            to = Some(end.number);
        }

        let slash = cursor.column();
        let Some(step) = cursor.step(spec)? else {
            self.insert(spec, from.number, to.unwrap_or(from.number), 1);
            return Ok(());
        };
        match grammar {
            Grammar::Quartz if from.named => {
                let hint = format!("write numbers, as in {}-{}/{step}", from.number, to.unwrap_or(spec.max));
                Err(CronError::new(slash, "a step does not go with names", hint))
            }
            Grammar::Unix if to.is_none() => {
                let hint = format!("write the range, as in {}-{}/{step}", from.number, spec.max);
                Err(CronError::new(start, "a step needs a range or `*` in the Unix dialect", hint))
            }
            Grammar::Quartz | Grammar::Unix => {
                self.open = true;
                self.insert(spec, from.number, to.unwrap_or(spec.max), step);
                Ok(())
            }
        }
    }
}

/// A value in text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) number: u32,
    pub(super) named: bool,
}

/// A place in a field's text.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    token: Token<'a>,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(token: Token<'a>) -> Self {
        Self { token, at: 0 }
    }

    pub(super) fn column(&self) -> usize {
        self.token.column + self.at
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.token.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    /// Goes past `text` if it comes next.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    pub(super) fn rest(&self) -> &'a str {
        self.token.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|&byte| wanted(byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// A number, if digits come next; `u32::MAX` stands for any that is larger.
    pub(super) fn number(&mut self) -> Option<u32> {
        let digits = self.take(|byte| byte.is_ascii_digit());
        (!digits.is_empty()).then(|| digits.parse().unwrap_or(u32::MAX))
    }

    /// A number or name of a field.
    pub(super) fn value(&mut self, spec: &Spec, grammar: Grammar) -> Result<Value, CronError> {
        let start = self.clone();
        if let Some(number) = self.number() {
            if (spec.min..=spec.max).contains(&number) {
                return Ok(Value { number, named: false });
            }
            let digits = &start.rest()[..self.at - start.at];
            let message = format!("{digits} is not {}", spec.name);
            return Err(CronError::new(start.column(), message, spec.hint()));
        }
        let word = self.take(|byte| byte.is_ascii_alphabetic());
        if word.is_empty() {
            return Err(start.unexpected(spec, grammar));
        }
        if let Some(number) = spec.named(word) {
            return Ok(Value { number, named: true });
        }
        let hint = match word.get(..3).filter(|prefix| spec.named(prefix).is_some()) {
            Some(prefix) => format!("did you mean `{prefix}`?"),
            None => spec.hint(),
        };
        Err(CronError::new(start.column(), format!("`{word}` is not {}", spec.name), hint))
    }

    /// The `n` of `/n`, if a slash comes next.
    fn step(&mut self, spec: &Spec) -> Result<Option<u32>, CronError> {
        if !self.eat("/") {
            return Ok(None);
        }
        let column = self.column();
        let hint = format!("use 1 to {}", spec.step);
        match self.number() {
            Some(step) if (1..=spec.step).contains(&step) => Ok(Some(step)),
            Some(0) => Err(CronError::new(column, "a step of 0 leads nowhere", hint)),
            Some(_) => Err(CronError::new(column, "the step is longer than the field", hint)),
            None => Err(CronError::new(column, "a number must follow `/`", hint)),
        }
    }

    /// The error for a character that no rule reads.
    pub(super) fn unexpected(&self, spec: &Spec, grammar: Grammar) -> CronError {
        let Some(byte) = self.peek() else {
            return CronError::new(self.column(), format!("{} is missing", spec.name), spec.hint());
        };
        let message = match byte {
            b',' => format!("{} is missing before `,`", spec.name),
            _ => format!("`{}` does not belong here", char::from(byte)),
        };
        let day_field = spec.name.starts_with("a day");
        let hint = match (byte, grammar) {
            (b'?' | b'L' | b'W' | b'#', Grammar::Unix) => "that is a form of the Quartz dialect".to_owned(),
            (b'?', _) if day_field => "`?` stands alone in a day field".to_owned(),
            (b'L' | b'W' | b'#', _) if day_field => {
                "`L`, `L-n`, `LW`, `L-nW`, `nW` in day of month and `nL`, `n#k` in day of week stand alone"
                    .to_owned()
            }
            (b'?' | b'L' | b'W' | b'#', _) => "that belongs to the day fields".to_owned(),
            _ => spec.hint(),
        };
        CronError::new(self.column(), message, hint)
    }
}

impl Spec {
    /// The greatest value that is not another spelling of the least.
    const fn last(&self) -> u32 {
        self.min + self.values - 1
    }

    fn named(&self, word: &str) -> Option<u32> {
        let index = self.names.iter().position(|name| *name == word)?;
        Some(self.min + u32::try_from(index).ok()?)
    }

    pub(super) fn hint(&self) -> String {
        match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!("use {} to {} or {first} to {last}", self.min, self.max),
            _ => format!("use {} to {}", self.min, self.max),
        }
    }
}
