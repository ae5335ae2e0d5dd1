//! `--journal FILE`: everything that happens in the node, one JSON object a line, for whoever judges the run afterwards.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use punctual_core::event::{Listener, Stamped};

use crate::trouble::{Exit, Trouble};

/// A file that events are appended to.
///
/// Each event is one write of one line, made before the node goes on: what a node began is in its journal even if it is
/// killed at the next instruction. The write goes to the page cache of the machine and costs some microseconds.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    name: String,
    failed: AtomicBool,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        let file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| {
            Trouble::new(Exit::Error, format!("--journal {}: cannot be opened: {error}", path.display()))
                .hint("name a file in a directory that exists and may be written to")
        })?;
        Ok(Self { file, name: path.display().to_string(), failed: AtomicBool::new(false) })
    }
}

impl Listener for Journal {
    fn hear(&self, event: &Stamped) {
        let written = serde_json::to_vec(event).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            (&self.file).write_all(&line)
        });
        if let Err(error) = written
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            eprintln!("warning: --journal {}: {error}; the journal is incomplete from here on", self.name);
        }
    }
}
