//! A wire between a client and a server that can be slow, silent, cut, and lose the answer of a commit.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use punctual::core::Clock;
use punctual::runtime::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::wire::{Answer, Speech, Talk};

/// How the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything gets through.
    Open,
    /// Everything gets through later by so much.
    Slow(Duration),
    /// Nothing gets through, and nobody is told. What was sent meanwhile arrives when it is over.
    Silent,
    /// Nothing that the server says gets through.
    Mute,
    /// Whoever connects is sent away.
    Closed,
}

/// What all connections of a wire have in common.
#[derive(Debug)]
struct State {
    mode: watch::Sender<Mode>,
    /// Grows each time that all connections are cut.
    cuts: watch::Sender<u64>,
    /// How many answers are still to be lost, and how many were.
    to_lose: AtomicU64,
    lost: AtomicU64,
}

/// A wire to one server, at an address of its own; it is gone with this value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

impl Proxy {
    /// Lays a wire to `server`.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn to(server: SocketAddr, speech: Speech) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            mode: watch::Sender::new(Mode::Open),
            cuts: watch::Sender::new(0),
            to_lose: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *shared.mode.borrow() == Mode::Closed {
                    continue;
                }
                let (cuts, mode) = (shared.cuts.subscribe(), shared.mode.subscribe());
                let wire = Wire { state: Arc::clone(&shared), cuts, mode };
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        // Whoever is at an end notices that by itself.
                        let _ = wire.carry(client, server, Talk::new(speech)).await;
                    }
                });
            }
        });
        Ok(Self { address, state, listening })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the wire so.
    pub fn be(&self, mode: Mode) {
        self.state.mode.send_replace(mode);
    }

    /// Cuts all connections.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Loses the answer of the next commit, which is carried out, and cuts its connection.
    pub fn lose_an_answer(&self) {
        self.state.to_lose.fetch_add(1, Ordering::SeqCst);
    }

    /// Loses no further answers. Answers how many were still to be lost.
    pub fn lose_no_more(&self) -> u64 {
        self.state.to_lose.swap(0, Ordering::SeqCst)
    }

    /// How many answers of commits that were carried out were lost.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::SeqCst)
    }
}

/// One connection.
struct Wire {
    state: Arc<State>,
    cuts: watch::Receiver<u64>,
    mode: watch::Receiver<Mode>,
}

impl Wire {
    async fn carry(mut self, mut client: TcpStream, mut server: TcpStream, mut talk: Talk) -> io::Result<()> {
        for end in [&client, &server] {
            end.set_nodelay(true)?;
        }
        let (mut asked, mut said) = (vec![0; 16 << 10], vec![0; 16 << 10]);
        // Whether the answer that comes next is to be lost.
        let mut loses = false;
        loop {
            let mode = *self.mode.borrow_and_update();
            let hears = mode != Mode::Silent;
            let speaks = hears && mode != Mode::Mute;
            tokio::select! {
                _ = self.cuts.changed() => return Ok(()),
                _ = self.mode.changed() => {}
                read = client.read(&mut asked), if hears && !loses => {
                    let bytes = &asked[..read?];
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    delay(mode).await;
                    loses = talk.client(bytes) && self.is_to_lose();
                    server.write_all(bytes).await?;
                }
                read = server.read(&mut said), if speaks || loses => {
                    let bytes = &said[..read?];
                    if bytes.is_empty() {
                        return Ok(());
                    }
                    let answer = talk.server(bytes);
                    if loses {
                        let Some(answer) = answer else { continue };
                        // Only what was committed is an unknown commit; both are at an end here.
                        self.state.lost.fetch_add(u64::from(answer == Answer::Committed), Ordering::SeqCst);
                        return Ok(());
                    }
                    delay(mode).await;
                    client.write_all(bytes).await?;
                }
            }
        }
    }

    fn is_to_lose(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        self.state.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

async fn delay(mode: Mode) {
    if let Mode::Slow(span) = mode {
        SystemClock.sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server of PostgreSQL's speech that answers each query well, and a wire to it.
    async fn server() -> (Proxy, tokio::sync::mpsc::UnboundedReceiver<usize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, hears) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let heard = heard.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 256];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        let _ = heard.send(read);
                        stream.write_all(b"C\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I").await.unwrap();
                    }
                });
            }
        });
        (Proxy::to(address, Speech::Postgres).await.unwrap(), hears)
    }

    const OPENING: &[u8] = b"\0\0\0\x08\0\x03\0\0";
    const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
    const ANSWER: usize = 18;

    async fn open(proxy: &Proxy) -> TcpStream {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        client.write_all(OPENING).await.unwrap();
        client.read_exact(&mut [0; ANSWER]).await.unwrap();
        client
    }

    #[tokio::test]
    async fn the_answer_of_a_commit_is_lost_after_the_commit() {
        let (proxy, mut hears) = server().await;
        let mut client = open(&proxy).await;
        client.write_all(COMMIT).await.unwrap();
        client.read_exact(&mut [0; ANSWER]).await.unwrap();
        assert_eq!(proxy.lost(), 0);
        proxy.lose_an_answer();
        client.write_all(COMMIT).await.unwrap();
        assert_eq!(client.read(&mut [0; ANSWER]).await.unwrap(), 0, "broken off without a word");
        assert_eq!(proxy.lost(), 1);
        for length in [OPENING.len(), COMMIT.len(), COMMIT.len()] {
            assert_eq!(hears.recv().await, Some(length), "the server has heard all of it");
        }
    }

    #[tokio::test]
    async fn what_was_said_in_silence_arrives_when_it_is_over() {
        let (proxy, mut hears) = server().await;
        let mut client = open(&proxy).await;
        assert_eq!(hears.recv().await, Some(OPENING.len()));
        proxy.be(Mode::Silent);
        client.write_all(COMMIT).await.unwrap();
        proxy.be(Mode::Open);
        assert_eq!(hears.recv().await, Some(COMMIT.len()));
        client.read_exact(&mut [0; ANSWER]).await.unwrap();
        proxy.cut();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
