//! Follows files that other processes append lines to.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::failed::Failed;

/// A file that is read from where the last reading ended.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    at: u64,
    /// The beginning of a line whose end was not there yet.
    rest: Vec<u8>,
}

impl Tail {
    /// Follows a file from its beginning; it need not be there yet.
    pub(crate) const fn of(path: PathBuf) -> Self {
        Self { path, at: 0, rest: Vec::new() }
    }

    /// Hands each line that has become complete to `take`.
    pub(crate) fn each(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Failed> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
            Err(why) => return Err(Failed::at(self.path.display())(why)),
        };
        let read = file.seek(SeekFrom::Start(self.at)).and_then(|_| file.read_to_end(&mut self.rest));
        self.at += u64::try_from(read.map_err(Failed::at(self.path.display()))?).unwrap_or(0);
        let complete = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let rest = self.rest.split_off(complete);
        self.rest.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(&mut take);
        self.rest = rest;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_is_handed_over_once_and_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let mut tail = Tail::of(path.clone());
        let read = |tail: &mut Tail| {
            let mut lines = Vec::new();
            tail.each(|line| lines.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
            lines
        };
        assert!(read(&mut tail).is_empty(), "no file yet");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(read(&mut tail), ["one"]);
        file.write_all(b"o\nthree\n").unwrap();
        assert_eq!(read(&mut tail), ["two", "three"]);
        assert!(read(&mut tail).is_empty());
    }
}
