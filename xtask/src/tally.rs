//! Reads what `cargo test` says: one line for each test program that is well, everything for one that is not.
//!
//! Counts come from the lines `test result: …`, which libtest, doc tests and libtest-mimic all end with. A program that
//! ends without one has crashed, and counts as one failure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::shell::Stopwatch;

/// What a number of test programs amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// The numbers of a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`.
    fn read(line: &str) -> Option<Self> {
        let (_, numbers) = line.trim_start().strip_prefix("test result: ")?.split_once(". ")?;
        let number = |word: &str| {
            numbers.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse::<u64>().ok())
        };
        Some(Self { passed: number("passed")?, failed: number("failed")?, ignored: number("ignored")? })
    }
}

/// Whether the output of programs that are well is shown too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Troubled,
    All,
}

/// A test program whose end has not been seen.
struct Program {
    name: String,
    watch: Stopwatch,
    counts: Counts,
    results: u32,
    said: Vec<String>,
}

/// Reads line by line.
pub(crate) struct Tally {
    show: Show,
    /// The folder of the package that each program belongs to, by the program's file name.
    packages: BTreeMap<String, String>,
    current: Option<Program>,
    pub(crate) all: Counts,
    pub(crate) programs: u64,
    /// Names of programs with a failure.
    pub(crate) troubled: Vec<String>,
}

impl Tally {
    pub(crate) fn new(show: Show) -> Self {
        let (packages, troubled) = (BTreeMap::new(), Vec::new());
        Self { show, packages, current: None, all: Counts::default(), programs: 0, troubled }
    }

    /// Takes in one line of `cargo test --message-format json-render-diagnostics`.
    pub(crate) fn line(&mut self, line: &str) {
        if line.starts_with("{\"reason\":") {
            self.artifact(line);
        } else if let Some(name) = self.header(line) {
            self.close();
            let (counts, said) = (Counts::default(), vec![line.to_owned()]);
            self.current = Some(Program { name, watch: Stopwatch::start(), counts, results: 0, said });
        } else if let Some(program) = &mut self.current {
            if let Some(counts) = Counts::read(line) {
                program.counts.add(counts);
                program.results += 1;
            }
            program.said.push(line.to_owned());
        } else {
            println!("{line}");
        }
    }

    /// Ends the last program.
    pub(crate) fn close(&mut self) {
        let Some(mut program) = self.current.take() else { return };
        let crashed = program.results == 0;
        if crashed {
            program.counts.failed += 1;
        }
        let troubled = program.counts.failed > 0;
        if troubled || self.show == Show::All {
            program.said.iter().for_each(|line| println!("{line}"));
        }
        let Counts { passed, failed, ignored } = program.counts;
        let mut line = format!("{:<52} {passed:>5} passed", program.name);
        for (count, word) in [(failed, "failed"), (ignored, "ignored")] {
            if count > 0 {
                line.push_str(&format!(", {count} {word}"));
            }
        }
        println!(
            "{line}  {:.1} s{}",
            program.watch.seconds(),
            if crashed { "  ended without a result" } else { "" }
        );
        if troubled {
            self.troubled.push(program.name);
        }
        self.all.add(program.counts);
        self.programs += 1;
    }

    fn artifact(&mut self, line: &str) {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return };
        let (Some(program), Some(manifest)) =
            (message["executable"].as_str(), message["manifest_path"].as_str())
        else {
            return;
        };
        let folder = manifest.rsplit(['/', '\\']).skip(1).take(2).collect::<Vec<_>>();
        let package = match folder.as_slice() {
            [name, "crates"] => format!("crates/{name}"),
            [name, ..] => (*name).to_owned(),
            [] => return,
        };
        self.packages.insert(file_name(program).to_owned(), package);
    }

    /// The name of the program that a line such as `Running tests/a.rs (target/debug/deps/a-1f)` begins.
    fn header(&self, line: &str) -> Option<String> {
        let line = line.trim();
        if let Some(package) = line.strip_prefix("Doc-tests ") {
            return (!package.contains(' ')).then(|| format!("{} doc tests", package.replace('_', "-")));
        }
        let (source, program) = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
        if !program.contains("deps") {
            return None;
        }
        let source = source.strip_prefix("unittests ").unwrap_or(source);
        let package = self.packages.get(file_name(program)).map_or("", String::as_str);
        Some(format!("{package} {source}").trim().to_owned())
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tally {
        let mut tally = Tally::new(Show::Troubled);
        text.lines().for_each(|line| tally.line(line));
        tally.close();
        tally
    }

    #[test]
    fn numbers_are_summed_over_all_programs() {
        let tally = read(
            "   Compiling a v0.1.0\n\
             {\"reason\":\"compiler-artifact\",\"manifest_path\":\"/x/crates/core/Cargo.toml\",\
              \"executable\":\"/x/target/debug/deps/a-1f\"}\n\
             \x20    Running unittests src/lib.rs (target/debug/deps/a-1f)\n\
             running 2 tests\n\
             test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             \x20  Doc-tests a_b\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(tally.all, Counts { passed: 9, failed: 0, ignored: 1 });
        assert_eq!((tally.programs, tally.troubled.len()), (2, 0));
    }

    #[test]
    fn a_program_is_named_after_its_package() {
        let mut tally = Tally::new(Show::Troubled);
        tally.line("{\"reason\":\"x\",\"manifest_path\":\"/x/crates/core/Cargo.toml\",\"executable\":\"/t/deps/m-1\"}");
        assert_eq!(
            tally.header("     Running tests/m.rs (target/debug/deps/m-1)").unwrap(),
            "crates/core tests/m.rs"
        );
        assert_eq!(tally.header("Running late (again)"), None);
    }

    #[test]
    fn failures_are_counted_and_named() {
        let tally = read(
            "     Running tests/a.rs (target/debug/deps/a-1f)\n\
             test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(tally.all.failed, 5);
        assert_eq!(tally.troubled, ["tests/a.rs"]);
    }

    #[test]
    fn a_program_that_crashed_is_a_failure() {
        let tally = read("     Running tests/a.rs (target/debug/deps/a-1f)\nrunning 9 tests\n");
        assert_eq!(tally.all, Counts { passed: 0, failed: 1, ignored: 0 });
    }
}
