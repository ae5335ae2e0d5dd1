//! The servers that `up` started: a file in the build folder says where they are.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Urls, urls_of, urls_to_json};
use crate::shell::{self, Result};

/// What ends a keeper.
pub(super) const END: &[u8] = b"end";

/// Servers that stay until they are told to end.
#[derive(Debug)]
pub(super) struct Kept {
    /// Where their keeper listens.
    pub(super) socket: PathBuf,
    pub(super) urls: Urls,
}

fn file() -> Result<PathBuf> {
    Ok(shell::target_directory()?.join("db").join("state.json"))
}

/// The servers that are up, if any.
pub(super) fn read() -> Result<Option<Kept>> {
    let file = file()?;
    let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
    let value: Value = serde_json::from_str(&text)?;
    let kept =
        Kept { socket: value["socket"].as_str().unwrap_or_default().into(), urls: urls_of(&value["urls"]) };
    if UnixStream::connect(&kept.socket).is_ok() {
        return Ok(Some(kept));
    }
    // Its keeper is gone, and so are the servers.
    fs::remove_file(file)?;
    Ok(None)
}

pub(super) fn write(kept: &Kept) -> Result<()> {
    let file = file()?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let text = json!({"socket": kept.socket, "urls": urls_to_json(&kept.urls)}).to_string();
    // It has passwords.
    let mut open = fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(text.as_bytes())?;
    Ok(())
}

impl Kept {
    /// Ends the servers, and waits until they are gone.
    pub(super) fn end(self) -> Result<()> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.write_all(END)?;
        stream.shutdown(Shutdown::Write)?;
        // It closes when all is gone.
        stream.read_to_end(&mut Vec::new())?;
        fs::remove_file(file()?)?;
        println!("down");
        Ok(())
    }
}
