//! What a process does about migrations when it starts.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use super::OPERATION;
use crate::error::Error;

/// What a store does about its schema when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrateMode {
    /// Brings the schema up to date. Any number of processes may do so at once.
    #[default]
    Auto,
    /// Waits until somebody else has brought the schema up to date.
    Wait,
    /// Refuses a schema that this binary cannot work with, and changes nothing.
    Validate,
    /// Does not look at the schema's version at all.
    Off,
}

impl MigrateMode {
    /// The variable of the environment that `punctual` and the stores' builders read, if nothing else was said.
    pub const VARIABLE: &'static str = "PUNCTUAL_MIGRATE";

    /// The mode that was asked for, else the one that the environment names, else [`MigrateMode::Auto`].
    ///
    /// # Errors
    /// `Invalid` if the environment names none.
    pub fn chosen(asked: Option<Self>, variable: Option<OsString>) -> Result<Self, Error> {
        match (asked, variable) {
            (Some(mode), _) => Ok(mode),
            (None, None) => Ok(Self::default()),
            (None, Some(text)) => text.to_string_lossy().parse().map_err(|error: Error| {
                Error::invalid(OPERATION, format!("variable {}: {}", Self::VARIABLE, error.message()))
            }),
        }
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Wait => "wait",
            Self::Validate => "validate",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for MigrateMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MigrateMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Auto, Self::Wait, Self::Validate, Self::Off]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| {
                Error::invalid(OPERATION, format!("{text:?} is none of auto, wait, validate and off"))
            })
    }
}
