//! What the kernel knows of processes: processor time, memory, bytes written. Linux only; elsewhere there are no figures.

use std::fs;

/// Parts of a second in which `/proc` counts, on every architecture that there is a Rust for.
const TICKS: f64 = 100.0;

/// A line of `/proc/PID/stat`, after the name of the program.
fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Negative numbers stand in fields that nobody asks for.
    Some(text.rsplit_once(')')?.1.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect())
}

fn seconds(ticks: impl IntoIterator<Item = u64>) -> f64 {
    let ticks: u64 = ticks.into_iter().sum();
    f64::from(u32::try_from(ticks).unwrap_or(u32::MAX)) / TICKS
}

/// Seconds of processor that a process has used, all of its threads together.
pub(crate) fn cpu(pid: u32) -> Option<f64> {
    Some(seconds(stat(pid)?.get(11..13)?.iter().copied()))
}

/// The same with its children, those that are gone included.
pub(crate) fn cpu_of_family(pid: u32) -> Option<f64> {
    let own = seconds(stat(pid)?.get(11..15)?.iter().copied());
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = pids.filter(|child| parent(*child) == Some(pid));
    Some(own + children.filter_map(cpu).sum::<f64>())
}

/// The process that started another one.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    u32::try_from(*stat(pid)?.get(1)?).ok()
}

/// The name of the program that a process runs.
pub(crate) fn program(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// Seconds of processor that anybody has used on this machine.
pub(crate) fn cpu_of_all() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let words = text.lines().next()?.split_whitespace().skip(1);
    let fields: Vec<u64> = words.map(|word| word.parse().unwrap_or(0)).collect();
    // The fourth and the fifth are idle time; those after the eighth are in the first two already.
    let busy = fields.iter().take(8).enumerate().filter(|(at, _)| *at != 3 && *at != 4);
    Some(seconds(busy.map(|(_, ticks)| *ticks)))
}

/// Bytes that a process has handed to the kernel to be written.
pub(crate) fn written(pid: u32) -> Option<u64> {
    field(&format!("/proc/{pid}/io"), "wchar:")
}

/// The most memory that this process has had, in KiB.
pub(crate) fn peak_memory() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_figures() {
        let pid = std::process::id();
        assert!(cpu(pid).is_some_and(|seconds| seconds < 3_600.0));
        assert!(cpu_of_family(pid) >= cpu(pid));
        assert!(cpu_of_all() >= cpu(pid));
        assert!(parent(pid).is_some_and(|parent| parent > 0));
        assert!(written(pid).is_some());
        assert!(peak_memory().is_some_and(|kib| kib > 100));
    }

    #[test]
    fn who_is_not_there_has_none() {
        assert_eq!(cpu(u32::MAX), None);
    }
}
