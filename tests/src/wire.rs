//! What a client and a database say to each other, as far as it takes to know when a commit is asked for, and when it was
//! answered.

use std::collections::BTreeSet;

/// A protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// PostgreSQL's, version 3.
    Postgres,
    /// That of MySQL and MariaDB.
    Mysql,
}

/// What the server made of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Committed,
    /// It was refused.
    Refused,
}

/// One connection, heard from in between. Bytes may come in any pieces.
#[derive(Debug)]
pub struct Talk {
    speech: Speech,
    client: Vec<u8>,
    server: Vec<u8>,
    /// Whether the first message of the client, which has no type, is still to come.
    opening: bool,
    /// How many answers of one byte are to come, to questions about encryption.
    bare_answers: usize,
    /// Whether no transaction is open, so that a statement is a transaction by itself.
    idle: bool,
    /// Prepared statements that write, by name, and whether the one that is bound does.
    writes: BTreeSet<Vec<u8>>,
    bound: bool,
    written: bool,
    refused: bool,
}

/// The request codes of PostgreSQL's questions about encryption.
const ASKS_FOR_ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];

/// A statement in a packet of its own, in MySQL's protocol.
const COM_QUERY: u8 = 3;

impl Talk {
    /// A connection that has just been opened.
    pub const fn new(speech: Speech) -> Self {
        Self {
            speech,
            client: Vec::new(),
            server: Vec::new(),
            opening: true,
            bare_answers: 0,
            idle: true,
            writes: BTreeSet::new(),
            bound: false,
            written: false,
            refused: false,
        }
    }

    /// Hears the client. Answers whether these bytes end with, or hold, the request of a commit.
    pub fn client(&mut self, bytes: &[u8]) -> bool {
        self.client.extend_from_slice(bytes);
        let mut commits = false;
        loop {
            let taken = match self.speech {
                Speech::Postgres => self.postgres_message(),
                Speech::Mysql => packet(&mut self.client).map(|(number, body)| {
                    let text = body.split_first().filter(|(kind, _)| number == 0 && **kind == COM_QUERY);
                    text.is_some_and(|(_, text)| ends_transaction(text))
                }),
            };
            match taken {
                None => return commits,
                Some(commit) => commits |= commit,
            }
        }
    }

    /// Hears the server. Answers how the last request was answered, if these bytes end that.
    pub fn server(&mut self, bytes: &[u8]) -> Option<Answer> {
        self.server.extend_from_slice(bytes);
        let mut answered = None;
        match self.speech {
            Speech::Postgres => {
                while let Some((kind, body)) = self.answer() {
                    match kind {
                        b'E' => self.refused = true,
                        b'Z' => {
                            self.idle = body.first() == Some(&b'I');
                            let refused = std::mem::take(&mut self.refused);
                            answered = Some(if refused { Answer::Refused } else { Answer::Committed });
                        }
                        _ => {}
                    }
                }
            }
            Speech::Mysql => {
                while let Some((_, body)) = packet(&mut self.server) {
                    let refused = body.first() == Some(&0xff);
                    answered = Some(if refused { Answer::Refused } else { Answer::Committed });
                }
            }
        }
        answered
    }

    /// Takes one message of a PostgreSQL client, if it is there as a whole. Answers whether it asks for a commit.
    fn postgres_message(&mut self) -> Option<bool> {
        if self.opening {
            let length = usize::try_from(number(self.client.get(..4)?)).ok()?;
            let body = self.client.get(4..length.max(8))?;
            if ASKS_FOR_ENCRYPTION.contains(&number(&body[..4])) {
                self.bare_answers += 1;
            } else {
                self.opening = false;
            }
            self.client.drain(..length.max(8));
            return Some(false);
        }
        let (kind, body) = message(&mut self.client)?;
        let mut texts = body.split(|byte| *byte == 0);
        let first = texts.next().unwrap_or_default();
        let second = texts.next().unwrap_or_default();
        match kind {
            b'Q' => return Some(ends_transaction(first) || (self.idle && writes(first))),
            b'P' if writes(second) => drop(self.writes.insert(first.to_vec())),
            b'P' => drop(self.writes.remove(first)),
            b'B' => self.bound = self.writes.contains(second),
            b'E' => self.written |= self.bound,
            b'S' => return Some(std::mem::take(&mut self.written) && self.idle),
            _ => {}
        }
        Some(false)
    }

    /// Takes one message of a PostgreSQL server, if it is there as a whole.
    fn answer(&mut self) -> Option<(u8, Vec<u8>)> {
        while self.bare_answers > 0 {
            self.server.first()?;
            self.server.remove(0);
            self.bare_answers -= 1;
        }
        message(&mut self.server)
    }
}

/// A number of four bytes, the highest first.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Takes a message of PostgreSQL with its type: a length of four bytes, itself included, follows the type.
fn message(buffer: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let end = 1 + usize::try_from(number(buffer.get(1..5)?)).ok()?.max(4);
    let body = buffer.get(5..end)?.to_vec();
    let kind = buffer[0];
    buffer.drain(..end);
    Some((kind, body))
}

/// Takes a packet of MySQL: a length of three bytes, the lowest first, and a number of the packet come before it.
fn packet(buffer: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let head = buffer.get(..4)?;
    let end = 4 + head[..3].iter().rev().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (number, body) = (head[3], buffer.get(4..end)?.to_vec());
    buffer.drain(..end);
    Some((number, body))
}

/// The words of a statement, in capitals.
fn words(text: &[u8]) -> impl Iterator<Item = String> {
    let words = text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    words.filter(|word| !word.is_empty()).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase())
}

/// Whether a statement is a commit, and nothing else.
fn ends_transaction(text: &[u8]) -> bool {
    let words: Vec<String> = words(text).take(3).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    matches!(*words, ["COMMIT" | "END"] | ["COMMIT" | "END", "WORK" | "TRANSACTION"])
}

/// Whether a statement writes; one that only locks rows does not.
fn writes(text: &[u8]) -> bool {
    let mut before = [String::new(), String::new()];
    for word in words(text) {
        let locks = matches!((before[0].as_str(), before[1].as_str()), (_, "FOR") | ("NO", "KEY"));
        if matches!(word.as_str(), "INSERT" | "DELETE") || (word == "UPDATE" && !locks) {
            return true;
        }
        before.rotate_left(1);
        before[1] = word;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    /// A connection whose opening is over: the question about encryption was denied.
    fn postgres() -> Talk {
        let mut talk = Talk::new(Speech::Postgres);
        let asks = [8_u32.to_be_bytes(), ASKS_FOR_ENCRYPTION[0].to_be_bytes()].concat();
        assert!(!talk.client(&asks));
        assert_eq!(talk.server(b"N"), None);
        let opening = [&14_u32.to_be_bytes()[..], &196_608_u32.to_be_bytes(), b"user\0\0"].concat();
        assert!(!talk.client(&opening));
        assert_eq!(talk.server(&said(b'R', &[0; 4])), None);
        assert_eq!(talk.server(&said(b'Z', b"I")), Some(Answer::Committed));
        talk
    }

    #[test]
    fn a_commit_of_postgres_is_seen_whole_and_in_pieces() {
        for text in ["COMMIT", "commit;", " COMMIT WORK", "END"] {
            let query = said(b'Q', &[text.as_bytes(), b"\0"].concat());
            assert!(postgres().client(&query), "{text}");
            let mut talk = postgres();
            let (last, rest) = query.split_last().unwrap();
            assert!(rest.iter().all(|byte| !talk.client(&[*byte])), "{text}: it is not there yet");
            assert!(talk.client(&[*last]), "{text}");
        }
        for text in ["ROLLBACK", "COMMIT PREPARED 'x'", "SELECT 1", "SAVEPOINT s"] {
            assert!(!postgres().client(&said(b'Q', &[text.as_bytes(), b"\0"].concat())), "{text}");
        }
    }

    /// A prepared statement, run.
    fn run(talk: &mut Talk, text: &str) -> bool {
        let prepare = said(b'P', &[b"s1\0", text.as_bytes(), b"\0\0\0"].concat());
        assert!(!talk.client(&prepare));
        let run = [said(b'B', b"\0s1\0\0\0\0\0\0\0"), said(b'E', b"\0\0\0\0\0"), said(b'S', b"")].concat();
        talk.client(&run)
    }

    #[test]
    fn a_statement_that_writes_alone_is_a_commit() {
        assert!(run(&mut postgres(), "WITH t AS (SELECT 1) UPDATE x SET y = 1"));
        assert!(!run(&mut postgres(), "SELECT updated FROM x FOR NO KEY UPDATE"));
        assert!(!run(&mut postgres(), "SELECT 1 FOR UPDATE"));
        let mut talk = postgres();
        assert_eq!(talk.server(&said(b'Z', b"T")), Some(Answer::Committed), "a transaction has begun");
        assert!(!run(&mut talk, "INSERT INTO x VALUES (1)"));
    }

    #[test]
    fn an_answer_of_postgres_is_over_when_the_server_is_ready() {
        let mut talk = postgres();
        assert_eq!(talk.server(&said(b'C', b"COMMIT\0")), None);
        let ready = said(b'Z', b"I");
        assert_eq!(talk.server(&ready[..3]), None);
        assert_eq!(talk.server(&ready[3..]), Some(Answer::Committed));
        assert_eq!(talk.server(&[said(b'E', b"\0"), ready.clone()].concat()), Some(Answer::Refused));
        assert_eq!(talk.server(&ready), Some(Answer::Committed));
    }

    fn packed(number: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&length[..3], &[number], body].concat()
    }

    #[test]
    fn a_commit_of_mysql_is_seen_whole_and_in_pieces() {
        let query = packed(0, b"\x03COMMIT");
        let mut talk = Talk::new(Speech::Mysql);
        assert!(!talk.client(&packed(1, b"\x03COMMIT")), "a packet of the greeting may begin like that");
        assert!(!talk.client(&packed(0, b"\x03START TRANSACTION")));
        assert!(!talk.client(&packed(0, b"\x17\x03COMMIT")));
        assert!(talk.client(&query));
        let (last, rest) = query.split_last().unwrap();
        assert!(!talk.client(rest));
        assert!(talk.client(&[*last]));
    }

    #[test]
    fn an_answer_of_mysql_is_one_packet() {
        let mut talk = Talk::new(Speech::Mysql);
        let good = packed(1, &[0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(talk.server(&good[..5]), None);
        assert_eq!(talk.server(&good[5..]), Some(Answer::Committed));
        assert_eq!(talk.server(&packed(1, b"\xff\x00\x00")), Some(Answer::Refused));
    }

    #[test]
    fn nonsense_is_not_a_commit() {
        for speech in [Speech::Postgres, Speech::Mysql] {
            let mut talk = Talk::new(speech);
            assert!(!talk.client(&[0; 64]));
            assert!(!talk.client(&[255; 64]));
            let _ = talk.server(&[255; 64]);
        }
    }
}
