//! The text of a schedule file, and how an error points into it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::trouble::{Exit, Trouble, nearest};

/// A file's text with its name.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    /// Where the files lie that it names.
    pub(crate) folder: PathBuf,
}

impl Source {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Self { name: path.display().to_string(), text, folder }
    }

    /// An error at a range of the text, with the line and a mark under the range.
    pub(crate) fn trouble(&self, at: Range<usize>, message: &str) -> Trouble {
        let (line, column) = self.position(at.start);
        let content = self.text.lines().nth(line - 1).unwrap_or_default();
        let until_end = content.chars().count().saturating_sub(column - 1);
        let marked = self.text.get(at).map_or(1, |text| text.chars().take_while(|c| *c != '\n').count());
        let marks = "^".repeat(marked.min(until_end).max(1));
        // The mark stays under its text also where that was moved by tabs or wide letters before it.
        let before: String =
            content.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let gutter = line.to_string().len();
        let excerpt = vec![format!("  {line} | {content}"), format!("  {:gutter$} | {before}{marks}", "")];
        let (message, hint) = part(message);
        let trouble =
            Trouble::new(Exit::File, format!("{}:{line}:{column}: {message}", self.name)).excerpt(excerpt);
        match hint {
            Some(hint) => trouble.hint(hint),
            None => trouble,
        }
    }

    /// What the TOML reader found, in our words.
    pub(crate) fn toml(&self, error: &toml::de::Error) -> Trouble {
        let at = error.span().unwrap_or(0..0);
        let message = error.message();
        if let Some((key, known)) = unknown_key(message) {
            let table = self.table_of(at.start);
            let hint = match nearest(key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            return self.trouble(at, &format!("unknown key `{key}` {table}")).hint(hint);
        }
        let (line, _) = self.position(at.start);
        let content = self.text.lines().nth(line - 1).unwrap_or_default();
        let key = content.split_once('=').map(|(key, _)| key.trim()).filter(|key| {
            !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"'))
        });
        let message = match key {
            Some(key) if !message.contains(&format!("`{key}`")) => format!("`{key}`: {}", one_line(message)),
            _ => one_line(message),
        };
        let hint = if message.contains("expected a TOML datetime") {
            "write it without quotes, like 2026-12-24T18:00:00+01:00"
        } else if message.contains("is not MM-DD") {
            "a day of the year is a month and a day, like \"12-24\""
        } else if message.contains("expected a string") {
            "write it in quotes; durations are like \"90s\" or \"5m\""
        } else if message.contains("expected one of") || message.contains("; ") {
            // The message says it.
            return self.trouble(at, &message.replacen(", expected one of", "; use one of", 1));
        } else if message.contains("duplicate key") {
            "keep one of the two"
        } else {
            "docs/command.md describes the format"
        };
        self.trouble(at, &message).hint(hint)
    }

    /// The line and column, both from 1, of a byte.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// The header of the table that a byte lies in, for people.
    fn table_of(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let header = before.lines().rev().map(str::trim).find(|line| line.starts_with('['));
        match header.and_then(|line| line.split_once(']')) {
            Some((header, _)) => format!("in {}]", header.trim_end()),
            None => "at the top of the file".to_owned(),
        }
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

/// Messages say what is wrong, then, after the first semicolon, what to do.
fn part(message: &str) -> (&str, Option<&str>) {
    match message.split_once("; ") {
        Some((message, hint)) => (message, Some(hint)),
        None => (message, None),
    }
}

/// Reads serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((key, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_points_at_its_line_and_column() {
        let source = Source::new(Path::new("a.toml"), "one = 1\n\ttwö = \"zwei\"\n".to_owned());
        let at = source.text.find("\"zwei\"").unwrap();
        let text = source.trouble(at..at + 6, "wrong; right it").text();
        assert_eq!(
            text,
            "error: a.toml:2:8: wrong\n  2 | \ttwö = \"zwei\"\n    | \t      ^^^^^^\nhint: right it\n"
        );
    }

    #[test]
    fn an_error_at_the_end_of_the_text_is_shown_too() {
        let source = Source::new(Path::new("a.toml"), "x = ".to_owned());
        assert!(source.trouble(4..4, "nothing").text().starts_with("error: a.toml:1:5: nothing\n"));
        assert!(source.trouble(400..500, "nothing").text().contains("nothing"));
    }
}
