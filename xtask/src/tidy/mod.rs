//! `cargo xtask tidy`: rules of the house that no compiler checks. Also a test, so that nobody has to think of it.
//!
//! Each rule is a function from the tree to what is wrong with it, and a sentence about what to do. A new rule is a
//! function and a row in [`RULES`], with a test that shows it a tree that breaks it.

mod layout;
mod links;
mod source;
mod stores;

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Args;
use serde_json::{Value, json};

use crate::shell::{self, Result, Verdict};

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Print the result as one JSON object in the last line.
    #[arg(long)]
    json: bool,
}

/// A rule of the house.
struct Rule {
    name: &'static str,
    /// What to do about a breach.
    advice: &'static str,
    /// Every breach, each with its place.
    check: fn(&Tree) -> Vec<String>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "module_docs",
        advice: "begin the file with `//!`: what it is for, and what it does not know",
        check: source::module_docs,
    },
    Rule {
        name: "unfinished",
        advice: "finish it, or leave it out and say so in an issue",
        check: source::unfinished,
    },
    Rule {
        name: "file_size",
        advice: "split it: a file of more than 800 lines has two subjects",
        check: source::file_size,
    },
    Rule { name: "ignored_tests", advice: "write `#[ignore = \"why\"]`", check: source::ignored_tests },
    Rule {
        name: "seams",
        advice: "wait through the injected Clock or for an event; a new seam is a row in SEAMS, with its reason",
        check: source::seams,
    },
    Rule {
        name: "machine_paths",
        advice: "name no folder of a person's machine; use a relative path or one that everybody has",
        check: source::machine_paths,
    },
    Rule { name: "conflict_markers", advice: "resolve the conflict", check: source::conflict_markers },
    Rule {
        name: "pure_core",
        advice: "core does no I/O: move what needs the crate to a store or to the runtime",
        check: links::pure_core,
    },
    Rule {
        name: "arrows",
        advice: "turn the dependency round, or move what both need to core; a new member is a row in ARROWS",
        check: links::arrows,
    },
    Rule {
        name: "one_sqlite",
        advice: "only rusqlite may bring SQLite; look for a feature that pulls in another one",
        check: links::one_sqlite,
    },
    Rule {
        name: "sources",
        advice: "dependencies come from crates.io or from this workspace",
        check: links::sources,
    },
    Rule {
        name: "lints",
        advice: "add `[lints]` with `workspace = true` to the manifest",
        check: layout::lints,
    },
    Rule {
        name: "migrations",
        advice: "give every database the same numbers and names, without gaps, and name each file in migrations/src/lib.rs",
        check: layout::migrations,
    },
    Rule {
        name: "same_statements",
        advice: "give a statement the same name in all SQL stores; what one database alone needs goes to its sql/own.rs",
        check: stores::same_statements,
    },
    Rule {
        name: "codes_in_record",
        advice: "let core's record.rs translate the value; a store writes and reads numbers",
        check: stores::codes_in_record,
    },
    Rule { name: "lock_file", advice: "commit Cargo.lock", check: layout::lock_file },
    Rule {
        name: "front_door",
        advice: "README.md and .ci/run must name the same test command, and .ci/run must be executable",
        check: layout::front_door,
    },
    Rule {
        name: "contract",
        advice: "run `cargo xtask contract`, so that the book has the sentences that the kit asserts",
        check: layout::contract,
    },
    Rule {
        name: "evidence",
        advice: "run `cargo xtask evidence page`, so that the book has the figures that were measured",
        check: layout::evidence,
    },
    Rule { name: "links", advice: "correct the link, or write what it points at", check: layout::links },
];

/// The files of the workspace, and what cargo knows of it.
struct Tree {
    files: Vec<File>,
    metadata: Value,
    /// Whether version control was there to say which files belong.
    tracked: bool,
}

/// A text file.
struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Tree {
    fn read() -> Result<Self> {
        let root = shell::root();
        let (paths, tracked) = paths(&root);
        let read = |path: String| {
            // What is no text is nothing that a rule could read.
            let text = fs::read_to_string(root.join(&path)).ok()?;
            Some(File { path, text })
        };
        Ok(Self {
            files: paths.into_iter().filter_map(read).collect(),
            metadata: shell::metadata()?,
            tracked,
        })
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    fn with_ending<'a>(&'a self, endings: &'a [&str]) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| endings.iter().any(|ending| file.path.ends_with(ending)))
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.with_ending(&[".rs"])
    }
}

/// The files that belong to the workspace: those that git tracks or would track; without git, all but build folders.
pub(crate) fn paths(root: &Path) -> (Vec<String>, bool) {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let (mut paths, tracked) = match shell::capture(&mut git) {
        Ok(list) => (list.split_terminator('\0').map(str::to_owned).collect(), true),
        Err(_) => (walked(root), false),
    };
    paths.retain(|path: &String| root.join(path).is_file());
    paths.sort_unstable();
    (paths, tracked)
}

/// All files below a folder, build folders left out.
pub(crate) fn walked(root: &Path) -> Vec<String> {
    walk(root, "")
}

fn walk(root: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return Vec::new() };
    let mut paths = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && (name == ".git" || name.starts_with("target")) => {}
            Ok(kind) if kind.is_dir() => paths.extend(walk(root, &path)),
            _ => paths.push(path),
        }
    }
    paths
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let tree = Tree::read()?;
    let mut broken = serde_json::Map::new();
    for rule in RULES {
        let breaches = (rule.check)(&tree);
        println!("{:<18} {}", rule.name, if breaches.is_empty() { "ok" } else { "BROKEN" });
        for breach in &breaches {
            println!("  {breach}");
        }
        if !breaches.is_empty() {
            println!("  -> {}", rule.advice);
            broken.insert(rule.name.to_owned(), breaches.into());
        }
    }
    for (path, lines) in source::long_files(&tree) {
        println!("note: {path} has {lines} lines; think about splitting it");
    }
    let good = broken.is_empty();
    if options.json {
        println!("{}", json!({"rules": RULES.len(), "files": tree.files.len(), "broken": broken}));
    }
    Ok(Verdict::of(good))
}

#[cfg(test)]
impl Tree {
    fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { files: files.iter().map(file).collect(), metadata: Value::Null, tracked: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let tree = Tree::read().unwrap();
        let breaches: Vec<String> = RULES
            .iter()
            .flat_map(|rule| {
                (rule.check)(&tree)
                    .into_iter()
                    .map(|breach| format!("{}: {breach}\n  -> {}", rule.name, rule.advice))
            })
            .collect();
        assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
    }

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }
}
