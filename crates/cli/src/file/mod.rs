//! Schedule files: TOML text becomes a set of definitions, or errors that say where and what to do.

mod calendar;
mod plan;
mod raw;
mod source;
mod trigger;
mod value;
mod when;
mod work;

use std::path::Path;

use punctual_core::protocol::define::SetDefinition;

pub(crate) use self::raw::Node as NodeTable;
use self::source::Source;
use crate::trouble::{Exit, Trouble};

/// The largest file, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// What a file says.
#[derive(Debug)]
pub(crate) struct Schedules {
    /// The definitions.
    pub(crate) set: SetDefinition,
    /// Whether the revision was in the file, or is the time of its last change.
    pub(crate) revision_given: bool,
    /// How the node runs.
    pub(crate) node: NodeTable,
}

/// Reads a file. Every mistake in it is reported, as far as the first ones do not hide the others.
pub(crate) fn load(path: &Path) -> Result<Schedules, Vec<Trouble>> {
    let cannot = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "check the path; docs/examples/cron.toml is one to begin with",
            std::io::ErrorKind::PermissionDenied => "make it readable for this user",
            _ => "check the path",
        };
        vec![Trouble::new(Exit::File, format!("{}: cannot be read: {error}", path.display())).hint(hint)]
    };
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if metadata.len() > MAX_BYTES {
        let message =
            format!("{}: {} bytes are more than the limit of 16 MiB", path.display(), metadata.len());
        return Err(vec![
            Trouble::new(Exit::File, message).hint("split it into several files, each a set of its own"),
        ]);
    }
    let text = match std::fs::read(path).map(String::from_utf8).map_err(cannot)? {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line =
                error.as_bytes().get(..valid).unwrap_or_default().iter().filter(|b| **b == b'\n').count() + 1;
            let message = format!("{}:{line}: the file is not UTF-8 text", path.display());
            return Err(vec![Trouble::new(Exit::File, message).hint("save it with the encoding UTF-8")]);
        }
    };
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let modified = modified.and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    read(&Source::new(path, text), &stem, modified)
}

fn read(source: &Source, stem: &str, modified: i64) -> Result<Schedules, Vec<Trouble>> {
    let file: raw::File = toml::from_str(&source.text).map_err(|error| vec![source.toml(&error)])?;
    plan::plan(source, file, stem, modified)
}

#[cfg(test)]
mod tests;
