//! How a command ends if it does not succeed: one line that says what is wrong, one that says what to do, and an exit
//! code that a script can branch on.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use punctual::{Error, ErrorKind};

/// The exit codes beside 0, as `--help` and `docs/command.md` list them. Code 2 (usage) is clap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Anything that has no code of its own.
    Error = 1,
    /// An argument that cannot be right.
    Usage = 2,
    /// A schedule file that cannot be read or understood.
    File = 3,
    /// A database that cannot be used: missing, busy, read-only, not one of Punctual's, or newer than this binary.
    Store = 4,
    /// Nothing has the key that was asked for.
    NotFound = 5,
}

/// What went wrong, for people.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    exit: Exit,
    message: String,
    excerpt: Vec<String>,
    hint: Option<String>,
}

impl Trouble {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), excerpt: Vec::new(), hint: None }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn excerpt(mut self, lines: Vec<String>) -> Self {
        self.excerpt = lines;
        self
    }

    /// The same with another exit code.
    #[must_use]
    pub(crate) fn exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// The same with something said before.
    #[must_use]
    pub(crate) fn about(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// The message, for tests.
    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Everything but the exit code, as it is printed.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for line in &self.excerpt {
            text.push_str(line);
            text.push('\n');
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }

    /// Prints it and gives the code to exit with.
    pub(crate) fn report(&self) -> ExitCode {
        // There is nobody left to tell if the standard error is closed.
        let _ = std::io::stderr().write_all(self.text().as_bytes());
        self.code()
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self.exit {
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::File => 3,
            Exit::Store => 4,
            Exit::NotFound => 5,
        })
    }
}

impl fmt::Display for Trouble {
    /// The message and what to do about it, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Unsupported | ErrorKind::Corrupt => Exit::Store,
            ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Error,
        };
        // What to do comes after the first semicolon. The cause says something new where the store or its data is at
        // fault, unless it is an error of ours, which the message repeats with the place.
        let (message, hint) = match error.message().split_once("; ") {
            Some((message, hint)) => (message, Some(hint)),
            None => (error.message(), None),
        };
        let told =
            matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::AlreadyExists);
        let cause = std::error::Error::source(&error).filter(|cause| !told && !cause.is::<Error>());
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        let trouble = Self::new(exit, format!("{message}{cause}"));
        match hint {
            Some(hint) => trouble.hint(hint),
            None => trouble,
        }
    }
}

/// The text of `names` that somebody probably meant, if one is near enough.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (1 + wanted.chars().count() / 4).min(2);
    let near =
        names.into_iter().map(|name| (edits(&wanted.to_lowercase(), &name.to_lowercase()), name)).min()?;
    (near.0 <= limit).then_some(near.1)
}

/// How many letters must be put in, taken out, changed, or swapped with their neighbour (optimal string alignment).
fn edits(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) =
        (one.chars().take(100).collect(), other.chars().take(100).collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut cost = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                cost = cost.min(rows[i - 1][j - 1] + 1);
            }
            row.push(cost);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = ["timeout", "tolerance", "triggers"];
        assert_eq!(nearest("tiemout", names), Some("timeout"));
        assert_eq!(nearest("Trigers", names), Some("triggers"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("", []), None);
    }

    #[test]
    fn an_error_is_one_line_and_a_hint() {
        let trouble = Trouble::new(Exit::File, "a.toml:1:1: wrong").hint("right it");
        assert_eq!(trouble.text(), "error: a.toml:1:1: wrong\nhint: right it\n");
    }
}
