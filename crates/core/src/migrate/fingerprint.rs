//! The shape of a schema as sorted lines, so that two of them can be compared and shown.

use std::collections::BTreeSet;
use std::fmt;

/// What tables, columns and indexes there are: one line each, such as `column job.kind text not null` or
/// `index job_key on job (group_name, name) unique`. The words are the database's own; only equality counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    lines: BTreeSet<Box<str>>,
}

impl Fingerprint {
    /// Of lines in any order. Empty ones and those that begin with `#` are left out.
    pub fn of<'l>(lines: impl IntoIterator<Item = &'l str>) -> Self {
        let lines =
            lines.into_iter().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { lines: lines.map(Into::into).collect() }
    }

    /// Its lines, in order.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| &**line)
    }

    /// How `found` differs from this one.
    pub fn drift(&self, found: &Self) -> Drift {
        let only = |one: &Self, other: &Self| one.lines.difference(&other.lines).cloned().collect();
        Drift { missing: only(self, found), extra: only(found, self) }
    }
}

/// How a schema differs from the expected one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// What should be there and is not, or is otherwise.
    pub missing: Vec<Box<str>>,
    /// What is there and should not be: other tables, columns or indexes in the same schema do no harm by themselves.
    pub extra: Vec<Box<str>>,
}

impl Drift {
    /// Whether everything that this binary needs is there.
    pub fn is_harmless(&self) -> bool {
        self.missing.is_empty()
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.missing {
            writeln!(f, "- {line}")?;
        }
        for line in &self.extra {
            writeln!(f, "+ {line}")?;
        }
        Ok(())
    }
}
