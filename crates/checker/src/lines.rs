//! JSON lines of processes that may be killed while they write.

use std::io::BufRead;

use serde::de::{DeserializeOwned, IgnoredAny};

/// A source that cannot be read as what it was handed in for.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}, line {line}: {reason}")]
pub struct InputError {
    /// The name that the source was handed in under.
    pub source_name: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// How much of a source there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Lines that were understood.
    pub(crate) lines: u64,
    /// Whether the last line had been torn off, as a killed process leaves it.
    pub(crate) torn: bool,
}

/// Hands each line of `reader` to `take`.
///
/// A last line without its line feed that is no JSON was cut off by the death of its writer and is left out. Any other
/// line that cannot be understood is an error: something in the middle of a history is not known.
pub(crate) fn each<T: DeserializeOwned>(
    mut reader: impl BufRead,
    source_name: &str,
    mut take: impl FnMut(T),
) -> Result<Extent, InputError> {
    let mut extent = Extent::default();
    let mut line = 0;
    let mut bytes = Vec::new();
    let wrong = |line, reason: String| InputError { source_name: source_name.to_owned(), line, reason };
    loop {
        bytes.clear();
        line += 1;
        let read = reader.read_until(b'\n', &mut bytes).map_err(|error| wrong(line, error.to_string()))?;
        if read == 0 {
            return Ok(extent);
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => {
                take(value);
                extent.lines += 1;
            }
            Err(_) if bytes.last() != Some(&b'\n') && !is_json(&bytes) => extent.torn = true,
            Err(error) => return Err(wrong(line, error.to_string())),
        }
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Vec<u8>, Extent), InputError> {
        let mut values = Vec::new();
        let extent = each(text.as_bytes(), "a.jsonl", |value| values.push(value))?;
        Ok((values, extent))
    }

    #[test]
    fn only_the_last_line_may_be_torn() {
        assert_eq!(read("1\n2\n").unwrap(), (vec![1, 2], Extent { lines: 2, torn: false }));
        assert_eq!(read("1\n\n2").unwrap(), (vec![1, 2], Extent { lines: 2, torn: false }));
        assert_eq!(read("1\n[").unwrap(), (vec![1], Extent { lines: 1, torn: true }));
        let error = read("1\n[\n2\n").unwrap_err();
        assert_eq!((error.source_name.as_str(), error.line), ("a.jsonl", 2));
        assert!(read("1\n[\n").is_err(), "a finished line was not torn");
    }

    #[test]
    fn a_last_line_of_another_kind_is_not_torn() {
        assert!(read("1\n\"text\"").is_err());
    }
}
