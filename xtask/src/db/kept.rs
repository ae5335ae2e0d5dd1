//! The servers that `up` started: a file in the build folder says where they are.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::process::How;
use super::{Server, Urls, urls_of, urls_to_json};
use crate::shell::{self, Result};

/// What a keeper answers when it has restarted a server.
pub(super) const DONE: &str = "done";

/// What a keeper can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// To end its servers, and itself.
    End,
    /// To restart a server, which is to be away for so many seconds in between.
    Restart(Server, How, u64),
    /// To take a backup of a server's data.
    Keep(Server),
    /// To put that backup in the place of the data.
    PutBack(Server),
}

impl Word {
    pub(super) fn of(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split(' ').collect();
        match *words {
            ["end"] => Some(Self::End),
            ["restart", name, how, away] => {
                let how =
                    [How::Orderly, How::AtOnce, How::Hard].into_iter().find(|known| known.word() == how)?;
                Some(Self::Restart(Server::named(name)?, how, away.parse().ok()?))
            }
            ["keep", name] => Some(Self::Keep(Server::named(name)?)),
            ["put-back", name] => Some(Self::PutBack(Server::named(name)?)),
            _ => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::End => "end".to_owned(),
            Self::Restart(server, how, away) => format!("restart {} {} {away}", server.name(), how.word()),
            Self::Keep(server) => format!("keep {}", server.name()),
            Self::PutBack(server) => format!("put-back {}", server.name()),
        }
    }
}

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
        // It closes when all is gone.
        self.tell(Word::End)?;
        fs::remove_file(file()?)?;
        println!("down");
        Ok(())
    }

    /// Restarts a server, and waits until it is ready.
    pub(super) fn restart(&self, server: Server, how: How, away: u64) -> Result<()> {
        match self.tell(Word::Restart(server, how, away))? {
            answer if answer == DONE => Ok(()),
            why => Err(why.into()),
        }
    }

    /// Tells the keeper something, and waits for its answer.
    fn tell(&self, word: Word) -> Result<String> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.write_all(word.text().as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_understands_what_it_is_told() {
        for word in [
            Word::End,
            Word::Restart(Server::Postgres, How::Orderly, 0),
            Word::Restart(Server::Postgres, How::AtOnce, 0),
            Word::Restart(Server::Mysql, How::Hard, 8),
            Word::Keep(Server::Postgres),
            Word::PutBack(Server::Mysql),
        ] {
            assert_eq!(Word::of(&word.text()), Some(word));
        }
        for text in [
            "",
            "restart",
            "restart oracle hard 0",
            "restart mysql gently 0",
            "restart mysql hard",
            "keep",
            "put-back oracle",
            "end now",
        ] {
            assert_eq!(Word::of(text), None, "{text}");
        }
    }
}
