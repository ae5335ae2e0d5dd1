//! `cargo xtask contract`: the chapter of the book that has every sentence of the contract, from the cases that prove them.
//!
//! It reads the source of the conformance kit as text, so that the rule of `tidy` about it needs no build.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use clap::Args;

use crate::shell::{self, Result, Verdict};

/// Where the chapter is.
pub(crate) const CHAPTER: &str = "docs/contract.md";
/// Where the cases are.
const CASES: &str = "crates/conformance/src/cases/";

/// The sections of the kit, and what each is about.
const SECTIONS: &[(&str, &str)] = &[
    ("A", "semantics: one step after the other"),
    ("B", "concurrency: steps that meet"),
    ("C", "crashes: connections that are cut, processes that die"),
    ("D", "clocks that jump"),
    ("E", "migrations"),
    ("F", "limits: sizes, names, crowds"),
    ("G", "plans of the hot statements"),
];

/// What a case needs of a store or its harness, by the word in the source.
const NEEDS: &[(&str, &str)] = &[
    ("Clock", "a clock that can be set"),
    ("Locks", "locks"),
    ("LockFences", "claims that compare the fences of locks"),
    ("Wake", "a wake-up"),
    ("Statements", "a hook for statements"),
    ("Process", "a second process"),
    ("Plans", "the database's plans"),
    ("Spoil", "rows that can be made unreadable"),
    ("Check", "checks"),
    ("Contradict", "a way to write into the store behind its back"),
    ("Migrations", "migrations"),
];

const INTRODUCTION: &str = "# The contract, sentence by sentence

<!-- Written by `cargo xtask contract` from the cases of the conformance kit; edit those. -->

Each line is a case of the conformance kit: its name, what it asserts, and what it needs of a store to be asked.
The kit runs them on every store; [Writing a store](stores.md) says how to run them on yours.
";

#[derive(Debug, Args)]
pub(crate) struct Options {}

pub(crate) fn run(_: &Options) -> Result<Verdict> {
    let root = shell::root();
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(CASES))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((format!("{CASES}{name}"), fs::read_to_string(path)?));
    }
    let text = chapter(files.iter().map(|(path, text)| (path.as_str(), text.as_str())));
    fs::write(root.join(CHAPTER), text)?;
    println!("{CHAPTER} is written");
    Ok(Verdict::Good)
}

/// A case as its source shows it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Case {
    name: String,
    sentence: String,
    needs: Vec<String>,
}

/// A group of cases: the contents of one file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    section: String,
    name: String,
    cases: Vec<Case>,
}

/// The chapter, from the files of the workspace; those that have no cases are passed over.
pub(crate) fn chapter<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut groups = BTreeMap::new();
    let mut order = String::new();
    for (path, text) in files {
        match path.strip_prefix(CASES).and_then(|name| name.strip_suffix(".rs")) {
            Some("mod") => text.clone_into(&mut order),
            Some(module) => drop(groups.insert(module.to_owned(), group(text))),
            None => {}
        }
    }
    let modules: Vec<&str> = order.lines().filter_map(|line| line.trim().strip_suffix("::CASES,")).collect();
    let in_order: Vec<&Group> = modules.iter().filter_map(|module| groups.get(*module)).collect();
    let mut chapter = INTRODUCTION.to_owned();
    for (letter, about) in SECTIONS {
        let of_section: Vec<_> = in_order.iter().filter(|group| group.section == *letter).collect();
        if of_section.is_empty() {
            continue;
        }
        let _ = write!(chapter, "\n## {letter}: {about}\n");
        for group in of_section {
            let _ = write!(chapter, "\n### {}\n\n", group.name);
            for Case { name, sentence, needs } in &group.cases {
                let _ = write!(chapter, "* `{name}`: {sentence}");
                let needs: Vec<&str> = needs.iter().map(|need| in_words(need)).collect();
                if !needs.is_empty() {
                    let _ = write!(chapter, " *Needs {}.*", needs.join(", "));
                }
                chapter.push('\n');
            }
        }
    }
    chapter
}

fn in_words(need: &str) -> &str {
    NEEDS.iter().find(|(word, _)| *word == need).map_or(need, |(_, words)| words)
}

/// The cases of one file: what stands, indented once, between `cases! {` and its end.
fn group(text: &str) -> Group {
    let mut group = Group::default();
    let mut case = Case::default();
    let inside = text.lines().skip_while(|line| *line != "cases! {").skip(1).take_while(|line| *line != "}");
    for line in inside.filter_map(|line| line.strip_prefix("    ")) {
        if let Some(words) = line.strip_prefix("/// ") {
            if !case.sentence.is_empty() {
                case.sentence.push(' ');
            }
            case.sentence.push_str(words);
        } else if let Some(needs) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            case.needs = needs.split(", ").map(str::to_owned).collect();
        } else if let Some((name, _)) = line.strip_prefix("async fn ").and_then(|rest| rest.split_once('(')) {
            name.clone_into(&mut case.name);
            group.cases.push(std::mem::take(&mut case));
        } else if let Some((section, name)) =
            line.strip_suffix("\";").and_then(|line| line.split_once(" \"")).filter(|_| group.name.is_empty())
        {
            (group.section, group.name) = (section.to_owned(), name.to_owned());
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "//! A file.\n\ncases! {\n    B \"g\";\n\n    /// One thing\n    /// is so.\n    [Clock, Locks]\n    \
        async fn one(bench) {\n        let x = \"a \\\"b\";\n    }\n\n    /// Another is.\n    async fn other(bench) {\n    }\n}\n";

    #[test]
    fn a_case_has_its_sentence_and_its_needs() {
        let group = group(FILE);
        assert_eq!((group.section.as_str(), group.name.as_str(), group.cases.len()), ("B", "g", 2));
        assert_eq!(
            (group.cases[0].name.as_str(), group.cases[0].sentence.as_str()),
            ("one", "One thing is so.")
        );
        assert_eq!(group.cases[0].needs, ["Clock", "Locks"]);
        assert!(group.cases[1].needs.is_empty());
    }

    #[test]
    fn the_chapter_has_the_groups_in_the_order_of_the_kit() {
        let second = FILE.replace("\"g\"", "\"h\"");
        let order = "    h::CASES,\n    g::CASES,\n";
        let files = [("g", FILE), ("h", second.as_str()), ("mod", order)];
        let files: Vec<_> = files.iter().map(|(name, text)| (format!("{CASES}{name}.rs"), *text)).collect();
        let chapter = chapter(files.iter().map(|(path, text)| (path.as_str(), *text)));
        let [h, g] = ["### h", "### g"].map(|heading| chapter.find(heading).unwrap());
        assert!(h < g);
        assert!(
            chapter.contains("* `one`: One thing is so. *Needs a clock that can be set, locks.*\n"),
            "{chapter}"
        );
    }
}
