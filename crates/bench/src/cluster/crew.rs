//! The processes of a benchmark's nodes, as the driver has them.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

use super::Result;
use super::kernel;
use super::node::{Order, Seat};
use super::tally::Snapshot;

/// What a node says when it is a member.
pub(crate) const READY: &str = "ready";

/// Running nodes. They are killed if this is dropped before they have been told to end.
#[derive(Debug)]
pub(crate) struct Crew(Vec<Process>);

#[derive(Debug)]
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Crew {
    /// Starts nodes, all at once, and waits until each is a member.
    pub(crate) fn start(seat: &Seat, count: u32) -> Result<Self> {
        let names = (1..=count).map(|n| Seat { name: format!("node-{n}"), ..seat.clone() });
        let mut crew = Self(names.map(|seat| Process::start(&seat)).collect::<Result<_>>()?);
        crew.0.iter_mut().try_for_each(Process::ready)?;
        Ok(crew)
    }

    /// Starts one more, and waits until it is a member.
    pub(crate) fn add(&mut self, seat: &Seat) -> Result<()> {
        self.0.push(Process::start(seat)?);
        self.0.last_mut().map_or(Ok(()), Process::ready)
    }

    /// Kills one with a signal that it cannot catch, and forgets it.
    pub(crate) fn kill(&mut self, at: usize) -> Result<()> {
        let child = &mut self.0.get_mut(at).ok_or("there is no such node")?.child;
        child.kill()?;
        child.wait()?;
        self.0.remove(at);
        Ok(())
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.0.iter().map(|process| process.child.id()).collect()
    }

    /// Seconds of processor that all nodes have used.
    pub(crate) fn cpu(&self) -> f64 {
        self.pids().into_iter().filter_map(kernel::cpu).sum()
    }

    /// Whether all nodes are still there.
    pub(crate) fn check(&mut self) -> Result<()> {
        for process in &mut self.0 {
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("a node ended by itself: {status}; its own words are above").into());
            }
        }
        Ok(())
    }

    /// What each node has counted so far.
    pub(crate) fn count(&mut self) -> Result<Vec<Snapshot>> {
        for process in &mut self.0 {
            process.tell(&Order::Count)?;
        }
        self.0.iter_mut().map(Process::hear).collect()
    }

    /// Has the first node do something that takes its time, and answers what it has counted then.
    pub(crate) fn first(&mut self, order: &Order) -> Result<Snapshot> {
        let first = self.0.first_mut().ok_or("there is no node")?;
        first.tell(order)?;
        first.hear()
    }

    /// Lets all nodes shut down gracefully, and answers what each has counted in all.
    pub(crate) fn end(mut self) -> Result<Vec<Snapshot>> {
        for process in &mut self.0 {
            process.stdin.take();
        }
        self.0.iter_mut().map(Process::end).collect()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for process in &mut self.0 {
            if matches!(process.child.try_wait(), Ok(None)) {
                let _ = process.child.kill();
                let _ = process.child.wait();
            }
        }
    }
}

impl Process {
    fn start(seat: &Seat) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["node", &serde_json::to_string(seat)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("a node has no output")?;
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Waits until it is a member.
    fn ready(&mut self) -> Result<()> {
        let said: String = self.hear()?;
        if said == READY { Ok(()) } else { Err(format!("a node said {said:?} before it was ready").into()) }
    }

    fn tell(&mut self, order: &Order) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("the node was told to end")?;
        writeln!(stdin, "{}", serde_json::to_string(order)?)?;
        Ok(stdin.flush()?)
    }

    fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let line = self.lines.next().ok_or("a node ended by itself; its own words are above")??;
        Ok(serde_json::from_str(&line)?)
    }

    fn end(&mut self) -> Result<Snapshot> {
        let last = self.hear()?;
        let status = self.child.wait()?;
        if status.success() { Ok(last) } else { Err(format!("a node ended badly: {status}").into()) }
    }
}
