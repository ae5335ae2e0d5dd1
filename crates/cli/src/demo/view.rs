//! What the viewer sees while the demo runs: a picture that is redrawn in place, or a line a second.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use punctual_core::BootInstant;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::cluster::Status;
use super::watch::Remark;

/// How often the picture is drawn anew.
const FRAME: Duration = Duration::from_millis(250);
/// How often a line is printed.
const LINE: Duration = Duration::from_secs(1);

/// One node, as the viewer sees it.
#[derive(Clone, Debug)]
pub(crate) struct NodeLine {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) status: Status,
    /// What the cluster thinks of it.
    pub(crate) standing: &'static str,
    /// How old its last beat is.
    pub(crate) beat: Option<Duration>,
    pub(crate) running: usize,
}

/// A moment of the run.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) now: BootInstant,
    pub(crate) elapsed: Duration,
    pub(crate) whole: Duration,
    /// What the demo is doing.
    pub(crate) phase: &'static str,
    pub(crate) nodes: Vec<NodeLine>,
    pub(crate) per_second: Vec<u64>,
    pub(crate) fired: u64,
    pub(crate) skipped: u64,
    pub(crate) exclusive: usize,
    pub(crate) takeovers: usize,
    pub(crate) fenced: u64,
    pub(crate) remarks: Vec<Remark>,
}

/// Shows moments.
#[derive(Debug)]
pub(crate) enum View {
    /// A terminal that can be drawn on, and a viewer who has keys.
    Picture(Picture),
    /// Anything else.
    Lines {
        /// Where to: standard output belongs to the JSON object, if one was asked for.
        to_stderr: bool,
        /// When the last line was printed.
        last: Option<BootInstant>,
    },
}

/// A picture on a terminal.
#[derive(Debug)]
pub(crate) struct Picture {
    /// How many lines the last one has.
    height: usize,
    drawn: Option<BootInstant>,
    keys: Receiver<u8>,
    /// Dropped last: puts the terminal back as it was.
    _terminal: Terminal,
}

impl View {
    /// Draws on standard output if that is a terminal and free; else prints lines.
    pub(crate) fn new(json: bool) -> Self {
        if json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Self::Lines { to_stderr: json, last: None };
        }
        match Terminal::take() {
            Ok(terminal) => {
                Self::Picture(Picture { height: 0, drawn: None, keys: keys(), _terminal: terminal })
            }
            Err(_) => Self::Lines { to_stderr: false, last: None },
        }
    }

    /// Shows a moment, unless the last one was shown just before.
    pub(crate) fn show(&mut self, now: BootInstant, moment: impl FnOnce() -> Moment) {
        match self {
            Self::Picture(picture) => {
                if picture.drawn.is_none_or(|last| now.since(last) >= FRAME) {
                    picture.drawn = Some(now);
                    picture.draw(&moment());
                }
            }
            Self::Lines { to_stderr, last } => {
                if last.is_none_or(|last| now.since(last) >= LINE) {
                    *last = Some(now);
                    say(*to_stderr, &line(&moment()));
                }
            }
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&mut self, text: &str) {
        match self {
            Self::Picture(picture) => {
                picture.erase();
                say(false, text);
            }
            Self::Lines { to_stderr, .. } => say(*to_stderr, text),
        }
    }

    /// The next key that was pressed.
    pub(crate) fn key(&self) -> Option<u8> {
        match self {
            Self::Picture(picture) => picture.keys.try_recv().ok(),
            Self::Lines { .. } => None,
        }
    }
}

/// Who watches may have gone: that ends nothing.
fn say(to_stderr: bool, text: &str) {
    let _ = if to_stderr { writeln!(io::stderr(), "{text}") } else { writeln!(io::stdout(), "{text}") };
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Running => "runs",
        Status::Frozen => "frozen",
        Status::Killed => "killed",
        Status::Ended => "ended",
    }
}

fn line(moment: &Moment) -> String {
    let count = |status| moment.nodes.iter().filter(|node| node.status == status).count();
    let rate = moment.per_second.last().copied().unwrap_or(0);
    let mut line = format!(
        "{:5.1} s  {:<8} nodes {}/{}  fired {:>5} ({rate:>3}/s)  skipped {:>4}  exclusive {:>2}  take-overs {}",
        moment.elapsed.as_secs_f64(),
        moment.phase,
        count(Status::Running),
        moment.nodes.len(),
        moment.fired,
        moment.skipped,
        moment.exclusive,
        moment.takeovers,
    );
    for (status, what) in [(Status::Killed, "killed"), (Status::Frozen, "frozen")] {
        if count(status) > 0 {
            let _ = write!(line, "  {} {what}", count(status));
        }
    }
    if moment.fenced > 0 {
        let _ = write!(line, "  late results refused {}", moment.fenced);
    }
    line
}

impl Picture {
    fn erase(&mut self) {
        if self.height > 0 {
            let _ = write!(io::stdout(), "\x1b[{}A\x1b[J", self.height);
            self.height = 0;
        }
    }

    fn draw(&mut self, moment: &Moment) {
        let width = tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col)).max(40);
        let lines = lines(moment, width.min(120));
        let mut frame = String::new();
        if self.height > 0 {
            let _ = write!(frame, "\x1b[{}A", self.height);
        }
        for line in &lines {
            // A line that wraps would break the arithmetic of the next frame.
            let _ = writeln!(frame, "\x1b[K{}", clipped(line, width));
        }
        frame.push_str("\x1b[J");
        self.height = lines.len();
        let mut out = io::stdout().lock();
        let _ = out.write_all(frame.as_bytes()).and_then(|()| out.flush());
    }
}

fn lines(moment: &Moment, width: usize) -> Vec<String> {
    let mut lines = vec![
        format!(
            "\x1b[1mpunctual demo\x1b[0m  {} of {} s  {}",
            moment.elapsed.as_secs(),
            moment.whole.as_secs(),
            moment.phase
        ),
        String::new(),
        "\x1b[2m  node        pid  process  cluster  last beat  running\x1b[0m".to_owned(),
    ];
    for node in &moment.nodes {
        let colour = match node.status {
            Status::Running => "32",
            Status::Frozen => "36",
            Status::Killed | Status::Ended => "31",
        };
        let beat = node.beat.map_or_else(|| "-".to_owned(), |beat| format!("{:.1} s", beat.as_secs_f64()));
        lines.push(format!(
            "  {:<8} {:>6}  \x1b[{colour}m{:<7}\x1b[0m  {:<7}  {beat:>9}  {:>7}",
            node.name,
            node.pid,
            word(node.status),
            node.standing,
            node.running
        ));
    }
    let rate = moment.per_second.last().copied().unwrap_or(0);
    let room = width.saturating_sub(24);
    let seconds = moment.per_second.iter().skip(moment.per_second.len().saturating_sub(room));
    let shown: Vec<u64> = seconds.copied().skip_while(|fired| *fired == 0).collect();
    lines.push(String::new());
    lines.push(format!("  firings    {rate:>3}/s  \x1b[36m{}\x1b[0m", sparkline(&shown)));
    lines.push(format!(
        "  so far     {} fired, {} skipped, {} exclusive bodies run now",
        moment.fired, moment.skipped, moment.exclusive
    ));
    lines.push(format!("  take-overs {}, late results refused {}", moment.takeovers, moment.fenced));
    lines.push(String::new());
    for remark in &moment.remarks {
        let ago = moment.now.since(remark.boot).as_secs();
        lines.push(format!("  {ago:>3} s ago  {} {}", super::cluster::name(remark.seat), remark.text));
    }
    lines.push(String::new());
    let keys = [
        ("k", "kill -9 a node"),
        ("f", "freeze one"),
        ("t", "thaw"),
        ("r", "start a dead one"),
        ("q", "verdict now"),
    ];
    lines.push(keys.map(|(key, what)| format!("  \x1b[7m {key} \x1b[0m {what}")).concat());
    lines
}

/// Eight heights of a bar for each number, the largest one full.
fn sparkline(values: &[u64]) -> String {
    let bars = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    values
        .iter()
        .map(|value| {
            if *value == 0 {
                ' '
            } else {
                bars.get(usize::try_from(value * 7 / most).unwrap_or(7)).copied().unwrap_or('█')
            }
        })
        .collect()
}

/// Cuts a line to `width` columns; what it is coloured with takes none.
fn clipped(line: &str, width: usize) -> String {
    let mut out = String::new();
    let (mut column, mut in_code) = (0, false);
    for letter in line.chars() {
        if letter == '\x1b' {
            in_code = true;
        } else if in_code {
            in_code = letter != 'm';
        } else if column == width {
            continue;
        } else {
            column += 1;
        }
        out.push(letter);
    }
    out
}

/// The terminal without echo and line editing, so that keys arrive at once; Ctrl-C keeps its meaning.
#[derive(Debug)]
struct Terminal {
    before: Termios,
}

impl Terminal {
    fn take() -> rustix::io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let _ = write!(io::stdout(), "\x1b[?25l");
        Ok(Self { before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        let _ = writeln!(io::stdout(), "\x1b[?25h");
    }
}

/// Reads keys on a thread, which waits for one that never comes when the process ends.
fn keys() -> Receiver<u8> {
    let (sender, keys) = mpsc::channel();
    std::thread::spawn(move || {
        let mut key = [0];
        while io::stdin().read_exact(&mut key).is_ok() && sender.send(key[0]).is_ok() {}
    });
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_room() {
        assert_eq!(clipped("\x1b[32mgreen\x1b[0m tree", 7), "\x1b[32mgreen\x1b[0m t");
        assert_eq!(clipped("plain", 80), "plain");
    }

    #[test]
    fn the_largest_bar_is_full_and_nothing_is_empty() {
        assert_eq!(sparkline(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(sparkline(&[]), "");
    }
}
