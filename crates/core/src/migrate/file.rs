//! Migration files: cut at their headers, and nowhere else.

use super::OPERATION;
use crate::error::{Error, Result};
use crate::protocol::define::stable_hash;

/// One migration file, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1, without gaps.
    pub version: i64,
    /// Its name, without number and ending.
    pub name: Box<str>,
    /// The hash of its text, blind to line endings and trailing blanks.
    pub checksum: i64,
    /// The lowest schema version that a binary must know to read the result.
    pub min_reader: i64,
    /// The lowest schema version that a binary must know to write the result.
    pub min_writer: i64,
    /// Takes away what older binaries need: it is only run when every node that is up is at least of this version.
    pub contracts: Option<Box<str>>,
    /// Its steps cannot run inside a transaction (such as an index that is built while others write).
    pub online: bool,
    /// Its statements, in order.
    pub steps: Vec<MigrationStep>,
}

/// One statement of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStep {
    /// Its name within the file.
    pub name: Box<str>,
    /// The statement.
    pub sql: Box<str>,
    /// A query that tells whether the statement was run, for statements that cannot be taken back.
    pub probe: Option<Box<str>>,
    /// A statement that removes what an interrupted run of this step may have left, so that it can be run again.
    pub cleanup: Option<Box<str>>,
}

/// Parses migration files given as pairs of name and text, in the order of their numbers.
///
/// # Errors
/// `Internal`, naming the file: they are part of the binary.
pub fn parse(files: &[(&str, &str)]) -> Result<Vec<Migration>> {
    let mut migrations = Vec::with_capacity(files.len());
    for (version, (file, text)) in (1..).zip(files) {
        let wrong = |why: String| Error::internal(OPERATION, format!("file {file}: {why}"));
        migrations.push(parse_file(version, file, text).map_err(wrong)?);
    }
    Ok(migrations)
}

fn parse_file(version: i64, file: &str, text: &str) -> Result<Migration, String> {
    let name = file.strip_suffix(".sql").and_then(|stem| stem.split_once('_'));
    let name = match name {
        Some((number, name)) if number.len() == 4 && number.parse() == Ok(version) && !name.is_empty() => {
            name
        }
        _ => return Err(format!("its name is not {version:04}_name.sql")),
    };
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().map(str::trim_end).collect();
    let mut migration = Migration {
        version,
        name: name.into(),
        checksum: stable_hash(lines.join("\n").trim_end().as_bytes()),
        min_reader: version,
        min_writer: version,
        contracts: None,
        online: false,
        steps: Vec::new(),
    };
    let mut step: Option<StepLines<'_>> = None;
    for line in lines {
        if let Some(name) = header(line, "step") {
            migration.steps.extend(step.take().map(StepLines::finished).transpose()?);
            if name.is_empty() || migration.steps.iter().any(|earlier| *earlier.name == *name) {
                return Err(format!("the step name {name:?} is empty or used twice"));
            }
            step = Some(StepLines::new(name));
        } else if let Some(step) = &mut step {
            step.line(line)?;
        } else {
            head(&mut migration, line)?;
        }
    }
    migration.steps.extend(step.map(StepLines::finished).transpose()?);
    let unprobed = migration.steps.iter().find(|step| migration.online && step.probe.is_none());
    match unprobed {
        Some(step) => Err(format!("step {} is online and has no probe", step.name)),
        None => Ok(migration),
    }
}

/// What stands behind `-- word:`.
fn header<'t>(line: &'t str, word: &str) -> Option<&'t str> {
    Some(line.strip_prefix("-- ")?.strip_prefix(word)?.strip_prefix(':')?.trim())
}

/// A line before the first step.
fn head(migration: &mut Migration, line: &str) -> Result<(), String> {
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a version"));
    if let Some(version) = header(line, "min-reader") {
        migration.min_reader = number(version)?;
    } else if let Some(version) = header(line, "min-writer") {
        migration.min_writer = number(version)?;
    } else if let Some(binary) = header(line, "contracts") {
        migration.contracts = Some(binary.into());
    } else if header(line, "online").is_some() {
        migration.online = true;
    } else if !line.is_empty() && !line.starts_with("--") {
        return Err(format!("{line:?} is before the first step"));
    }
    Ok(())
}

/// The lines of a step, as far as they were read.
struct StepLines<'t> {
    name: &'t str,
    parts: [Option<Vec<&'t str>>; 3],
    current: usize,
}

/// The places of [`StepLines::parts`].
const PARTS: [&str; 3] = ["statement", "probe", "cleanup"];

impl<'t> StepLines<'t> {
    const fn new(name: &'t str) -> Self {
        Self { name, parts: [Some(Vec::new()), None, None], current: 0 }
    }

    fn line(&mut self, line: &'t str) -> Result<(), String> {
        let begun = (1..).zip(&PARTS[1..]).find(|(_, word)| header(line, word).is_some());
        if let Some((place, word)) = begun {
            if self.parts[place].is_some() {
                return Err(format!("step {} has two of {word}", self.name));
            }
            (self.current, self.parts[place]) = (place, Some(Vec::new()));
        } else if let Some(lines) = &mut self.parts[self.current] {
            lines.push(line);
        }
        Ok(())
    }

    fn finished(self) -> Result<MigrationStep, String> {
        let Self { name, parts, .. } = self;
        let text = |lines: Vec<&str>| lines.join("\n").trim().trim_end_matches(';').to_owned();
        let [sql, probe, cleanup] = parts.map(|lines| lines.map(text));
        let empty = |sql: &String| sql.lines().all(|line| line.is_empty() || line.starts_with("--"));
        match sql.filter(|sql| !empty(sql)) {
            None => Err(format!("step {name} has no statement")),
            Some(sql) => {
                let boxed = |text: Option<String>| text.map(String::into_boxed_str);
                Ok(MigrationStep {
                    name: name.into(),
                    sql: sql.into(),
                    probe: boxed(probe),
                    cleanup: boxed(cleanup),
                })
            }
        }
    }
}
